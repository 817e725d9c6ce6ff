"""Kinds of neural signals, one file each, found by its name.

A kind offers `usable(nwb) -> bool` (whether the file holds it), `open_signal(nwb, choice) -> Units | Traces`, whose
spikes or values are read as they are asked for while the file is open, and `look(nwb, choice) -> UnitsHeader`.
Both raise InputError where the file does not hold what is chosen.
"""
