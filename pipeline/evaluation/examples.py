"""A few held-out clips as the model reconstructs and cross-generates them, and a few draws from its prior."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from pipeline.clips import SessionClips
from pipeline.evaluation.generation import joint_draws
from pipeline.evaluation.heldout import with_modalities
from pipeline.evaluation.predictions import expected_data, possible_givens, possible_targets
from pipeline.evaluation.scores import mean_counts
from pipeline.seeds import torch_generator
from pipeline.vae.assembly import LoadedModel, to_batch

N_CLIPS, N_DRAWS = 5, 8
FIELDS = {"audio": "audio_db", "neural": "expected_count"}
_SHORT = {"audio": "audio_db", "neural": "count"}


def example_clips(loaded: LoadedModel, clips: Sequence[SessionClips], *, n_samples: int) -> xr.Dataset:
    """Real test clips of the first session that has all modalities, what the model makes of them, and joint draws.

    Returns `mean_count` (unit), a bin, of the training clips; `true_audio_db` (clip, frequency, frame) and `true_count`
    (clip, unit, bin); `audio_db` (given, clip, frequency, frame) and `expected_count` (given, clip, unit, bin), NaN
    where the model cannot infer the target; `drawn_audio_db` and `drawn_count` (draw, ...) of one draw from the prior
    each, where the family shares latents. No clips where no session has what it takes. n_samples: posterior samples.
    """
    model, modalities = loaded.model, loaded.modalities
    session, chosen = _chosen(loaded, clips)
    has = {"audio": "audio" in modalities, "neural": "neural" in modalities}
    frequency_hz, frame_s = (
        getattr(loaded, name) if has["audio"] else np.zeros(0) for name in ("frequency_hz", "frame_s")
    )
    bin_s = loaded.bin_s if has["neural"] else np.zeros(0)
    units = session.unit_ids if has["neural"] and session is not None else []
    shapes = {"audio": (len(frequency_hz), len(frame_s)), "neural": (len(units), len(bin_s))}
    axes = {"audio": ("frequency", "frame"), "neural": ("unit", "bin")}
    givens = possible_givens(model, modalities)
    n_clips = 0 if chosen is None else len(chosen)
    mean_count = np.zeros(len(units))
    n_draws = N_DRAWS if n_clips and all(has.values()) and model.cross_generates else 0

    true = {name: np.zeros((n_clips, *shape), np.float32) for name, shape in shapes.items()}
    made = {name: np.full((len(givens), n_clips, *shape), np.nan, np.float32) for name, shape in shapes.items()}
    drawn = [np.zeros((n_draws, *shape), np.float32) for shape in shapes.values()]
    if chosen is not None:
        generator = torch_generator(loaded.seed, "examples", chosen.session)
        batch = to_batch(chosen)
        if has["neural"]:
            training = with_modalities(session.where("train"), ("neural",))
            mean_count = mean_counts(training.counts, kind=session.kind)
        for name in modalities:
            true[name] = chosen.spectrogram if name == "audio" else chosen.counts
        for row, given in enumerate(givens):
            targets = possible_targets(model, modalities, given)
            found = expected_data(model, batch, given=given, targets=targets, n_samples=n_samples, generator=generator)
            for name, values in found.items():
                made[name][row] = values
        if n_draws:
            drawn = joint_draws(model, chosen, n=n_draws, generator=generator)

    arrays = {f"true_{short}": (("clip", *axes[name]), true[name]) for name, short in _SHORT.items()}
    arrays["mean_count"] = ("unit", mean_count)
    arrays |= {FIELDS[name]: (("given", "clip", *axes[name]), made[name]) for name in FIELDS}
    arrays |= {f"drawn_{short}": (("draw", *axes[n]), x) for (n, short), x in zip(_SHORT.items(), drawn, strict=True)}
    return xr.Dataset(
        arrays,
        coords={
            "given": np.array(["+".join(given) for given in givens], dtype=object),
            "start_s": ("clip", np.zeros(0) if chosen is None else chosen.start_s, {"units": "s, session time"}),
            "frequency": ("frequency", frequency_hz, {"units": "Hz"}),
            "frame": ("frame", frame_s, {"units": "s after the clip's start"}),
            "unit": np.array(units, dtype=object),
            "bin": ("bin", bin_s, {"units": "s after the clip's start"}),
        },
        attrs={
            "objective": loaded.family,
            "seed": loaded.seed,
            "session": "" if chosen is None else chosen.session,
            "bin_width_s": loaded.bin_width_s,
            "kind": loaded.kind,
        },
    )


def _chosen(loaded: LoadedModel, clips: Sequence[SessionClips]) -> tuple[SessionClips | None, SessionClips | None]:
    """The first session whose test clips have all modalities, and the loudest clip of each fifth of them."""
    for session in clips:
        if "neural" in loaded.modalities and session.session not in loaded.sessions:
            continue
        held = with_modalities(session.where("test"), loaded.modalities)
        if not len(held):
            continue
        if "audio" not in loaded.modalities:
            return session, held.take(np.linspace(0, len(held) - 1, min(N_CLIPS, len(held))).astype(int))
        level_db = held.spectrogram.mean(axis=(1, 2))
        parts = np.array_split(np.arange(len(held)), min(N_CLIPS, len(held)))
        return session, held.take([part[level_db[part].argmax()] for part in parts])
    return None, None
