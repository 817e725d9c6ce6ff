"""Which units stand for which frequencies: tuning, nulls, coupling, bands, clusters, tables."""
