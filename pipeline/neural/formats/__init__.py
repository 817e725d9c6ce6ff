"""Formats of neural recordings, one file each, found by its name.

A format offers `reads(path) -> bool` (a look at the file, no more), `read_units(path) -> Units` and
`read_header(path) -> UnitsHeader`.
"""
