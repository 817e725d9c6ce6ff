"""What of the latents repeats over seeds, in names and in a sentence."""

import numpy as np

from pipeline.report.results import Results


def latent_name(latent: int, reported_as: str | None) -> str:
    """z3, and (z3) for a latent that is part of a subspace only."""
    return f"(z{latent})" if reported_as == "subspace" else f"z{latent}"


def latent_notes(results: Results) -> list[str]:
    """How many active latents repeat over seeds as dimensions, and how well their subspace does; none without any."""
    table = results.table("latents")
    active = table[table["reported_as"].ne("inactive")] if len(table) else table
    if active.empty:
        return []
    n, family = len(active), active["objective"].iloc[0]
    named = f"{n} active latent{'s' if n != 1 else ''} of {family}"
    if active["stability_r"].isna().all():
        return [f"One seed was trained: none of the {named} can be said to repeat, so none is read on its own."]
    n_dimensions = int(active["reported_as"].eq("dimension").sum())
    told = (
        f"Of the {named}, {n_dimensions or 'none'} repeat{'s' if n_dimensions == 1 else ''} over seeds as "
        f"{'a dimension' if n_dimensions == 1 else 'dimensions'} (matched |r| of 0.8 or more in held-out clips)"
    )
    told += "; only such are named beside clusters" if n_dimensions else "; none is named beside a cluster"
    subspace_r = active["subspace_r"].iloc[0]
    if np.isfinite(subspace_r):
        told += (
            f". Their subspace repeats with a mean canonical correlation of {subspace_r:.2f} (1: one seed's are "
            "a turned copy of another's, 0: unrelated)"
        )
    return [f"{told}."]
