"""A few held-out clips as the model reconstructs and cross-generates them, and a few draws from its prior."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from pipeline.clips import MODALITIES, SessionClips
from pipeline.evaluation.generation import joint_draws
from pipeline.evaluation.heldout import with_modalities
from pipeline.evaluation.predictions import expected_data, possible_givens, possible_targets
from pipeline.evaluation.scores import mean_counts
from pipeline.seeds import torch_generator
from pipeline.vae.assembly import LoadedModel, to_batch

N_CLIPS, N_DRAWS = 5, 8
# names of the arrays: what a model makes of a modality, and the end of those of true and drawn data
MADE = {"audio": "audio_db", "neural": "expected_count"}
SHORT = {"audio": "audio_db", "neural": "count"}


def example_clips(loaded: LoadedModel, clips: Sequence[SessionClips], *, n_samples: int) -> xr.Dataset:
    """Real test clips of the first session that has all modalities, what the model makes of them, and joint draws.

    Returns `mean_count` (unit), a bin, of the training clips; `true_audio_db` (clip, frequency, frame) and `true_count`
    (clip, unit, bin); `audio_db` (given, clip, frequency, frame) and `expected_count` (given, clip, unit, bin), NaN
    where the model cannot infer the target; `drawn_audio_db` and `drawn_count` (draw, ...) of one draw from the prior
    each, where the family shares latents. A further modality m has `true_m`, `expected_m` and `drawn_m` over
    `m_channel` and bin. No clips where no session has what it takes. n_samples: posterior samples.
    """
    model = loaded.model
    session, chosen, modalities = _chosen(loaded, clips)
    has = {name: name in modalities for name in (*MODALITIES, *loaded.extra)}
    frequency_hz, frame_s = (
        getattr(loaded, name) if has["audio"] else np.zeros(0) for name in ("frequency_hz", "frame_s")
    )
    bin_s = loaded.bin_s if set(modalities) - {"audio"} else np.zeros(0)
    channels = {
        name: list(session.series(name).channels) if has[name] and session is not None else []
        for name in has
        if name != "audio"
    }
    shapes = {"audio": (len(frequency_hz), len(frame_s))}
    axes = {"audio": ("frequency", "frame"), "neural": ("unit", "bin")}
    for name, known in channels.items():
        shapes[name] = (len(known), len(bin_s))
        axes.setdefault(name, (f"{name}_channel", "bin"))
    givens = possible_givens(model, modalities)
    n_clips = 0 if chosen is None else len(chosen)
    mean_count = np.zeros(len(channels["neural"]))
    n_draws = N_DRAWS if n_clips and has["audio"] and has["neural"] and model.cross_generates else 0

    true = {name: np.zeros((n_clips, *shape), np.float32) for name, shape in shapes.items()}
    made = {name: np.full((len(givens), n_clips, *shape), np.nan, np.float32) for name, shape in shapes.items()}
    drawn = {name: np.zeros((n_draws, *shape), np.float32) for name, shape in shapes.items()}
    if chosen is not None:
        generator = torch_generator(loaded.seed, "examples", chosen.session)
        batch = to_batch(chosen)
        if has["neural"]:
            training = with_modalities(session.where("train"), ("neural",))
            mean_count = mean_counts(training.counts, kind=session.kind)
        for name in modalities:
            true[name] = chosen.spectrogram if name == "audio" else chosen.series(name).values
        for row, given in enumerate(givens):
            targets = possible_targets(model, modalities, given)
            found = expected_data(model, batch, given=given, targets=targets, n_samples=n_samples, generator=generator)
            for name, values in found.items():
                made[name][row] = values
        if n_draws:
            draws = joint_draws(model, chosen, n=n_draws, generator=generator)
            drawn |= {name: draws[name] for name in modalities}

    arrays = {f"true_{SHORT.get(name, name)}": (("clip", *axes[name]), true[name]) for name in shapes}
    arrays["mean_count"] = ("unit", mean_count)
    arrays |= {MADE.get(name, f"expected_{name}"): (("given", "clip", *axes[name]), made[name]) for name in shapes}
    arrays |= {f"drawn_{SHORT.get(name, name)}": (("draw", *axes[name]), drawn[name]) for name in shapes}
    return xr.Dataset(
        arrays,
        coords={
            "given": np.array(["+".join(given) for given in givens], dtype=object),
            "start_s": ("clip", np.zeros(0) if chosen is None else chosen.start_s, {"units": "s, session time"}),
            "frequency": ("frequency", frequency_hz, {"units": "Hz"}),
            "frame": ("frame", frame_s, {"units": "s after the clip's start"}),
            "unit": np.array(channels["neural"], dtype=object),
            "bin": ("bin", bin_s, {"units": "s after the clip's start"}),
            **{axes[name][0]: np.array(channels[name], dtype=object) for name in loaded.extra},
        },
        attrs={
            "objective": loaded.family,
            "seed": loaded.seed,
            "session": "" if chosen is None else chosen.session,
            "bin_width_s": loaded.bin_width_s,
            "kind": loaded.kind,
        },
    )


def _chosen(
    loaded: LoadedModel, clips: Sequence[SessionClips]
) -> tuple[SessionClips | None, SessionClips | None, tuple[str, ...]]:
    """The first session whose test clips have all modalities, the loudest clip of each fifth of them, and what it has.

    Where no session has them all, sound and neural will do.
    """
    core = tuple(name for name in loaded.modalities if name in MODALITIES)
    for wanted in filter(None, dict.fromkeys((loaded.modalities, core))):
        for session in clips:
            if not set(wanted) <= set(loaded.known(session.session)):
                continue
            held = with_modalities(session.where("test"), wanted)
            if not len(held):
                continue
            if "audio" not in wanted:
                return session, held.take(np.linspace(0, len(held) - 1, min(N_CLIPS, len(held))).astype(int)), wanted
            level_db = held.spectrogram.mean(axis=(1, 2))
            parts = np.array_split(np.arange(len(held)), min(N_CLIPS, len(held)))
            return session, held.take([part[level_db[part].argmax()] for part in parts]), wanted
    return None, None, loaded.modalities
