"""Containers of NWB files, one file each, found by its name.

A container offers `reads(location) -> bool` (a look, no more) and `opened(location)`, a context manager that yields
the root group. Roots are h5py's or zarr's groups: both have groups, datasets and `attrs`, and what is written for one
reads the other.
"""
