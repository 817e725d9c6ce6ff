"""Names of families and baselines for readers. Nothing heavy is imported: the data dictionary rests on it."""

BASELINES = {
    "mean": "mean",
    "drift": "slow drift",
    "psth": "syllable PSTH",  # round the edges of any call, whatever its pitch
    "level": "loudness",
    "poisson_glm": "Poisson regression",
    "ridge": "ridge regression",
    "reduced_rank": "reduced-rank regression",
    "cca": "canonical correlation",
}


def readable(objective: str) -> str:
    """A family by its name, a baseline (baseline:name) in plain words."""
    name = objective.removeprefix("baseline:")
    return name if name == objective else BASELINES.get(name, name.replace("_", " "))
