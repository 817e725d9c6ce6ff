"""Sound: recordings read by blocks, spectrograms, calls and their features."""
