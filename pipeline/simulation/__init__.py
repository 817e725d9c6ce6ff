"""Sessions with a known truth: a vocal organ, neurons, and the files that a lab would have."""
