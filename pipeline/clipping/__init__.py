"""Making clips: windows placed, spectrograms pooled, roles given, all on the grid of the counts."""
