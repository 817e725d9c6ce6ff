"""Neural recordings: units from NWB, binned on the session's clock."""
