"""Duet: binds vocalization audio and neural recordings, and maps latents to frequencies and neurons."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("duet")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "unknown"
