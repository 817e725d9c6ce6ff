"""Multimodal variational autoencoders: one contract (base), one file a family."""

from pathlib import Path

# What families are built from; every other file of this folder is a family, named by its file.
PARTS = frozenset(
    {"base", "gaussians", "networks", "modality", "posterior", "spec", "assembly", "joint", "options", "pseudo_samples"}
)


def families() -> list[str]:
    """Names of the model families, one a file of this folder."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(f.stem for f in files if not f.stem.startswith("_") and f.stem not in PARTS)
