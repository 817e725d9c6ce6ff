"""What can be read from the latents, and what cannot be from any sound, in sentences and for the figure."""

import pandas as pd

from pipeline.report.families import measured
from pipeline.report.results import Results

SOUND = ("pitch", "level", "duration")
PLANTED = ("planted_pitch", "pressure", "length")
DECODERS = ("linear", "nonlinear")
TOLD = 0.9  # explained variance from which a cause counts as identifiable
LAW = "the pitch fixes log n + 0.5 log p \N{MINUS SIGN} log h of mode n, pressure p and length h, not p and h apart"


def readings(results: Results) -> pd.DataFrame:
    """Explained variances of the primary model, or of the first where none is, of the data and of the planted sound.

    Rows of `model_comparison` on the test blocks with `source` (model, data, exact) and `decoder`; empty without any.
    """
    rows = results.table("model_comparison")
    models = pd.concat([measured(results, f"identifiability:{decoder}") for decoder in DECODERS])
    if models.empty:
        return models
    chosen = models[models["is_primary"]] if models["is_primary"].any() else models
    model = chosen[chosen["label"].eq(chosen["label"].iloc[0])].assign(source="model")
    simple = rows[rows["metric"].str.startswith("identifiability:")]
    simple = simple.assign(source=simple["objective"].map({"baseline:data": "data", "baseline:exact_sound": "exact"}))
    found = pd.concat([model, simple[simple["source"].notna()]], ignore_index=True)
    return found.assign(decoder=found["metric"].str.removeprefix("identifiability:"))


def identifiability_notes(results: Results) -> list[str]:
    """What the latents tell of the sound, and that they tell no pressure and length; none without sound."""
    rows = readings(results)
    if rows.empty or not rows["given"].eq("audio").any():
        return []
    rows = rows[rows["decoder"].eq("nonlinear")]
    latents, model = _values(rows, "model", "audio"), rows.loc[rows["source"].eq("model"), "label"].iloc[0]
    notes = [
        f"Read from the latents that {model} infers from sound, by kernel ridge regression: {_listed(latents, SOUND)} "
        "(explained variance in test blocks, 95 % interval over blocks)."
    ]
    data, exact = _values(rows, "data", "audio"), _values(rows, "exact", "planted sound")
    if not set(PLANTED) <= set(latents) & set(data) & set(exact):
        notes.append(
            "Pressure and length of the vocal organ cannot be told apart in the sound of a freely moving mouse: "
            f"{LAW}. No latent stands for either."
        )
        return notes
    told = (
        f"What made this simulated song: from the latents {_listed(latents, PLANTED)}; from the spectrogram itself "
        f"{_listed(data, PLANTED)}; from the planted pitch, level and duration, known exactly, "
        f"{_listed(exact, PLANTED[1:])}."
    )
    if max(exact[name][0] for name in PLANTED[1:]) < TOLD:
        told += f" Pressure and length cannot be identified from sound: {LAW}. No latent stands for either."
    notes.append(told)
    return notes


def _values(rows: pd.DataFrame, source: str, given: str) -> dict[str, tuple[float, float]]:
    found = rows[rows["source"].eq(source) & rows["given"].eq(given)]
    return {row.target: (float(row.value), float(row.se)) for row in found.itertuples()}


def _listed(values: dict[str, tuple[float, float]], names: tuple[str, ...]) -> str:
    told = [
        f"{name.replace('_', ' ')} {values[name][0]:.2f} \N{PLUS-MINUS SIGN} {1.96 * values[name][1]:.2f}"
        for name in names
        if name in values
    ]
    return ", ".join(told)
