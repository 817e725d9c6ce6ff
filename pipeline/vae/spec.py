"""What a model is, in plain values: a dict that says all that is needed to build it without the data."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from pipeline.clips import MODALITIES, SessionClips
from pipeline.errors import InputError, InputErrors
from pipeline.vae import families
from pipeline.vae.base import MultimodalVAE
from pipeline.vae.options import option_problems, options_of

LIKELIHOOD_OF = {"spikes": "poisson", "traces": "gaussian"}  # where the configuration leaves it to the data
GEOMETRY = ("frequency_hz", "frame_s", "bin_s")


def family_class(name: str) -> type[MultimodalVAE]:
    """The model class in the file `name` of this folder.

    Raises InputError, with the families that exist, where there is none.
    """
    if name not in families():
        raise InputError("no such family of models", found=name, allowed=families())
    module = importlib.import_module(f"pipeline.vae.{name}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, MultimodalVAE) and value.__module__ == module.__name__
    )


def describe(
    clips: Sequence[SessionClips],
    *,
    family: str,
    latent_dim: int,
    seed: int,
    audio_likelihood: str,
    neural_likelihood: str,
    audio_weight: float | str,
    neural_weight: float | str,
    extra_weight: float | str,
    hidden: int,
    n_factors: int,
    n_basis: int,
    count_dropout: float,
    beta: float,
    warmup_fraction: float,
    options: dict[str, Any],
) -> dict[str, Any]:
    """The spec of a model for these clips; a modality that no clip holds is left out.

    Modalities beside sound and neural have the likelihood of their kind.

    Raises InputError where the sessions' clips differ in shape or kind, the likelihood is not for that kind, an option
    is not the family's, or no clip has a label that is asked for.
    """
    check_geometry(clips)
    kind = _common_kind(clips, "neural")
    if kind == "traces" and neural_likelihood not in ("auto", "gaussian"):
        raise InputError(
            "traces are no counts",
            where="models.neural_likelihood",
            found=neural_likelihood,
            allowed=["auto", "gaussian"],
        )
    if neural_likelihood == "auto":
        neural_likelihood = LIKELIHOOD_OF[kind]
    first = clips[0]
    extra = {}
    for name in dict.fromkeys(name for session in clips for name in session.extra):
        sessions = _channels(clips, name)
        if sessions:
            _check_name(name)
            extra[name] = {"kind": _common_kind(clips, name), "sessions": sessions}
    modalities = [name for name in MODALITIES if any(session.has([name]).any() for session in clips)] + list(extra)
    cls = family_class(family)
    if problems := option_problems(cls, options, modalities=[*MODALITIES, *extra]):
        raise problems[0] if len(problems) == 1 else InputErrors(problems)
    if "labels" in options_of(cls):
        options = options | {"labels": _labels(clips, options.get("labels"), where=f"models.options.{family}.labels")}
    private = cls.default_private_dim(modalities, latent_dim)
    if private and options.get("private_dim") is None:
        options = options | {"private_dim": private}
    sessions = _channels(clips, "neural")
    dims = {"audio": first.frequency_hz.size * first.frame_s.size, "neural": _mean_size(sessions) * first.bin_s.size}
    dims |= {name: _mean_size(known["sessions"]) * first.bin_s.size for name, known in extra.items()}
    largest = max(dims[name] for name in modalities)
    weights = {"audio": audio_weight, "neural": neural_weight} | dict.fromkeys(extra, extra_weight)
    return {
        "family": family,
        "latent_dim": latent_dim,
        "seed": seed,
        "modalities": modalities,
        "sessions": sessions,
        "extra": extra,
        **{name: np.asarray(getattr(first, name), float).tolist() for name in GEOMETRY},
        "bin_width_s": float(first.bin_width_s),
        "kind": kind,
        "likelihoods": {"audio": audio_likelihood, "neural": neural_likelihood}
        | {name: LIKELIHOOD_OF[known["kind"]] for name, known in extra.items()},
        "weights": {m: largest / dims[m] if weights[m] == "dim" else float(weights[m]) for m in modalities},
        "hidden": hidden,
        "n_factors": n_factors,
        "n_basis": n_basis,
        "count_dropout": count_dropout,
        "beta": beta,
        "warmup_fraction": warmup_fraction,
        "options": options,
    }


def extend(spec: dict[str, Any], clips: Sequence[SessionClips]) -> dict[str, Any]:
    """The spec with the sessions of `clips` that it lacks, after its own, and what these have of its modalities.

    Raises InputError where the clips do not fit the model or none of them brings new units.
    """
    for name in GEOMETRY:
        for session in clips:
            here, there = np.asarray(getattr(session, name)), np.asarray(spec[name])
            if here.shape != there.shape or not np.allclose(here, there):
                raise InputError(
                    f"these clips do not fit the trained model: {name} differs",
                    where=session.session,
                    found=f"{here.size} values from {here.flat[0]:g}",
                    allowed=f"{there.size} values from {there.flat[0]:g}",
                    mend="cut them with the configuration that the model was trained with",
                )
    new = [session for session in clips if session.session not in spec["sessions"]]
    units = _channels(new, "neural")
    if "neural" not in spec["modalities"] or not units:
        raise InputError(
            "nothing to fit: no session brings units that the model does not have",
            found=[c.session for c in clips],
            mend="give the clips of a session that the model was not trained with",
        )
    new = [session for session in new if session.session in units]
    extra = {
        name: known | {"sessions": known["sessions"] | _channels(new, name)} for name, known in spec["extra"].items()
    }
    return spec | {"sessions": spec["sessions"] | units, "extra": extra}


def check_geometry(clips: Sequence[SessionClips]) -> None:
    """Raise InputError unless all sessions' clips have the same bands, frames and bins."""
    first = clips[0]
    for session in clips[1:]:
        for name in (*GEOMETRY, "bin_width_s"):
            here, there = np.asarray(getattr(session, name)), np.asarray(getattr(first, name))
            if here.shape != there.shape or not np.allclose(here, there):
                raise InputError(
                    f"the clips of two sessions differ in {name}",
                    where=session.session,
                    found=f"{here.size} values from {here.flat[0]:g}",
                    allowed=f"{there.size} values from {there.flat[0]:g}, as in {first.session}",
                    mend="cut all sessions with one configuration",
                )


def _channels(clips: Sequence[SessionClips], modality: str) -> dict[str, list[str]]:
    """Names of units, or of what else a modality measures, in each session that has any of it."""
    having = [session for session in clips if modality in session.modalities and session.has([modality]).any()]
    found = {session.session: list(session.series(modality).channels) for session in having}
    return {session: channels for session, channels in found.items() if channels}


def _mean_size(sessions: dict[str, list[str]]) -> float:
    return float(np.mean([len(channels) for channels in sessions.values()])) if sessions else 0.0


def _common_kind(clips: Sequence[SessionClips], modality: str) -> str:
    series = {c.session: c.series(modality) for c in clips if modality in c.modalities}
    kinds = {found.kind: session for session, found in series.items() if found.channels}
    if len(kinds) > 1:
        key = "neural.signal" if modality == "neural" else f"extra.{modality}.signal"
        raise InputError(
            "some sessions bring spikes, others traces",
            found=", ".join(f"{session}: {kind}" for kind, session in kinds.items()),
            mend=f"run them apart, or give all the same {key}",
        )
    return next(iter(kinds), "spikes")


def _check_name(name: str) -> None:
    """Modalities are submodules of the model, and these cannot be called as what a module has anyway."""
    if hasattr(nn.ModuleDict(), name):
        raise InputError("a modality cannot have this name", where="extra", found=name, mend="another name")


def _labels(clips: Sequence[SessionClips], chosen: list[str] | None, *, where: str) -> list[str]:
    """The labels to learn: those `chosen`, else all that the clips have; none where that is one."""
    found = sorted({str(label) for session in clips for label in session.label} - {""})
    if chosen is None:
        return found if len(found) > 1 else []
    for label in chosen:
        if str(label) not in found:
            raise InputError(
                "no training clip has this label",
                where=where,
                found=label,
                allowed=found or "none, since no call has a label",
                mend="choose labels that the calls have (clips.label names their column), or [] for none",
            )
    return [str(label) for label in chosen]
