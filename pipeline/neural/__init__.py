"""Neural recordings: spikes, traces and potentials from NWB, in bins of the session's clock."""
