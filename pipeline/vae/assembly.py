"""From a spec to a model, and from a model to a file and back."""

import math
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.clips import SessionClips
from pipeline.errors import InputError
from pipeline.seeds import torch_generator
from pipeline.storage import written_whole
from pipeline.vae.base import Batch, MultimodalVAE
from pipeline.vae.joint import JointEncoder
from pipeline.vae.modality import Modality
from pipeline.vae.networks import (
    CountDecoder,
    CountEncoder,
    CountFeatures,
    SpectrogramDecoder,
    SpectrogramEncoder,
    SpectrogramFeatures,
    TimeCourses,
    lag_hats,
)
from pipeline.vae.spec import GEOMETRY, extend, family_class

# What a likelihood of counts learns for each unit beside the mean, and whether its mean is on a log scale.
NEURAL_LIKELIHOODS = {
    "poisson": {"log_link": True, "spread": None},
    "negative_binomial": {"log_link": True, "spread": "log_dispersion"},
    "gaussian": {"log_link": False, "spread": "log_scale"},
}


@dataclass(frozen=True)
class LoadedModel:
    """A trained model in evaluation mode and what it was trained on."""

    model: MultimodalVAE
    spec: dict[str, Any]
    family: str
    latent_dim: int
    seed: int
    modalities: tuple[str, ...]
    sessions: dict[str, list[str]]  # unit_ids of each session that has units
    extra: dict[str, dict[str, Any]]  # kind, and channels by session, of each modality beside sound and neural
    frequency_hz: np.ndarray
    frame_s: np.ndarray
    bin_s: np.ndarray
    bin_width_s: float
    kind: str  # of the neural side: spikes or traces

    def channels(self, modality: str) -> dict[str, list[str]]:
        """Names of the units, or of what else a modality but sound measures, in each session that was trained on."""
        return self.sessions if modality == "neural" else self.extra[modality]["sessions"]

    def known(self, session: str) -> tuple[str, ...]:
        """The modalities that the model can decode for a session."""
        return tuple(name for name in self.modalities if name == "audio" or session in self.channels(name))


def assemble(spec: dict[str, Any], generator: torch.Generator | None = None) -> MultimodalVAE:
    """Build the model of a spec with weights from `generator` (by default the one of the spec's seed)."""
    generator = generator or torch_generator(spec["seed"], "weights")
    private = spec["options"].get("private_dim") or {}
    cls = family_class(spec["family"])
    n_frames = len(spec["frame_s"])
    modalities, courses = [], None
    for name in spec["modalities"]:
        likelihood = spec["likelihoods"][name]
        n_latents = spec["latent_dim"] + private.get(name, 0)
        common = {"hidden": spec["hidden"], "n_latents": n_latents, "generator": generator}
        if courses is None or not cls.cross_generates or private:
            courses = TimeCourses(n_frames=n_frames, **common)
        if name == "audio":
            n_frequencies = len(spec["frequency_hz"])
            encoder = SpectrogramEncoder(n_frequencies=n_frequencies, n_frames=n_frames, **common)
            decoder = SpectrogramDecoder(n_frequencies=n_frequencies, courses=courses, generator=generator)
        else:
            shared = {"sessions": _sizes(spec, name), "n_factors": spec["n_factors"]}
            encoder = CountEncoder(dropout=spec["count_dropout"], n_bins=len(spec["bin_s"]), **shared, **common)
            lags = lag_hats(**{k: spec[k] for k in ("frame_s", "bin_s", "bin_width_s", "n_basis")})
            decoder = CountDecoder(
                lag_basis=lags, courses=courses, generator=generator, **NEURAL_LIKELIHOODS[likelihood], **shared
            )
        modalities.append(Modality(name, encoder, decoder, likelihood, spec["weights"][name]))
    needs = {"joint_encoder": cls.needs_joint_encoder, "surrogate_encoder": cls.needs_surrogate_encoder}
    joint = {name: _joint_encoder(spec, generator) for name, needed in needs.items() if needed}
    return cls(
        modalities,
        latent_dim=spec["latent_dim"],
        beta=spec["beta"],
        warmup_fraction=spec["warmup_fraction"],
        **joint,
        **spec["options"],
    )


def _sizes(spec: dict[str, Any], modality: str) -> dict[str, int]:
    """How many units, or what else the modality measures, each session has."""
    sessions = spec["sessions"] if modality == "neural" else spec["extra"][modality]["sessions"]
    return {session: len(channels) for session, channels in sessions.items()}


def _joint_encoder(spec: dict[str, Any], generator: torch.Generator) -> JointEncoder:
    private = spec["options"].get("private_dim") or {}
    trunks = {}
    for name in spec["modalities"]:
        common = {"hidden": spec["hidden"], "generator": generator}
        if name == "audio":
            n_frequencies, n_frames = len(spec["frequency_hz"]), len(spec["frame_s"])
            trunks[name] = SpectrogramFeatures(n_frequencies=n_frequencies, n_frames=n_frames, **common)
        else:
            trunks[name] = CountFeatures(
                sessions=_sizes(spec, name),
                n_bins=len(spec["bin_s"]),
                n_factors=spec["n_factors"],
                dropout=spec["count_dropout"],
                **common,
            )
    return JointEncoder(
        trunks,
        hidden=spec["hidden"],
        n_latents=spec["latent_dim"] + sum(private.get(name, 0) for name in spec["modalities"]),
        generator=generator,
    )


def standardise(model: MultimodalVAE, clips: Sequence[SessionClips], sessions: Sequence[str] | None = None) -> None:
    """Set centres, scales, the units' starting rates and what else starts from data, from training clips.

    With `sessions`, only what belongs to those sessions' units.
    """
    chosen = [c for c in clips if sessions is None or c.session in sessions]
    model.start([to_batch(c, labels=model.labels) for c in chosen], shared=sessions is None)
    if "audio" in model.modalities and sessions is None:
        heard = np.concatenate([c.spectrogram[c.has(["audio"])] for c in clips])  # (n, f, t)
        center = np.nanmean(heard, axis=(0, 2), dtype=np.float64)[:, None]
        scale = math.sqrt(np.nanmean((heard - center.astype(np.float32)) ** 2, dtype=np.float64))
        for network in model.modules():
            if isinstance(network, SpectrogramFeatures | SpectrogramDecoder):
                network.center_db.copy_(torch.as_tensor(center))
                network.scale_db.fill_(max(scale, 1e-3))
    for name, modality in model.modalities.items():
        if name == "audio":
            continue
        readers = [network for part in _parts(model, name) for network in part.modules()]
        readers = [network for network in readers if isinstance(network, CountFeatures)]
        for session in clips:
            if session.session in modality.decoder.sessions and (sessions is None or session.session in sessions):
                values = session.series(name).values[session.has([name])]
                _start_units(readers, modality.decoder, modality.decoder.sessions[session.session], values)


def _parts(model: MultimodalVAE, name: str) -> list[nn.Module]:
    """Every network that belongs to one modality."""
    joint = [
        getattr(model, encoder).trunks for encoder in ("joint_encoder", "surrogate_encoder") if hasattr(model, encoder)
    ]
    pseudo = [model.pseudo] if hasattr(model, "pseudo") else []
    return [networks[name] for networks in (model.modalities, *joint, *pseudo)]


def _start_units(readers: Sequence[CountFeatures], decoder: CountDecoder, key: str, counts: np.ndarray) -> None:
    counts = counts.swapaxes(1, 2).reshape(-1, counts.shape[1]).astype(np.float64)  # (elements, units)
    n_seen = np.maximum((~np.isnan(counts)).sum(0), 1)
    mean = np.nansum(counts, 0) / n_seen
    variance = np.nansum((counts - mean) ** 2, 0) / n_seen
    floor = 0.5 / n_seen  # a unit that was silent in training may still fire once
    for reader in readers:
        getattr(reader, f"center_{key}").copy_(torch.as_tensor(mean[:, None]))
        getattr(reader, f"scale_{key}").copy_(torch.as_tensor(np.sqrt(np.maximum(variance, floor))[:, None]))
    with torch.no_grad():
        start = np.log(np.maximum(mean, floor)) if decoder.log_link else mean
        decoder.bias[key].copy_(torch.as_tensor(start))
        if decoder.spread == "log_dispersion":
            r = mean**2 / np.maximum(variance - mean, mean**2 / 100 + 1e-12)  # moments, at most 100
            decoder.log_spread[key].copy_(torch.as_tensor(np.log(np.maximum(r, 0.05))))
        elif decoder.spread == "log_scale":
            decoder.log_spread[key].copy_(torch.as_tensor(0.5 * np.log(np.maximum(variance, 1e-8))))


def save_model(path: str | Path, model: MultimodalVAE, spec: dict[str, Any]) -> None:
    """Write spec and weights; the file holds tensors and plain values only."""
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    with written_whole(path) as partial:
        torch.save({"spec": spec, "state": state}, partial)


def load_model(path: str | Path, device: str = "cpu") -> LoadedModel:
    """Read what `save_model` wrote, in evaluation mode.

    Raises InputError where the file is missing or is no model.
    """
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
        spec, state = saved["spec"], saved["state"]
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError("cannot read this model", where=path, found=error, mend="train it again") from error
    model = assemble(spec)
    model.load_state_dict(state)
    return LoadedModel(
        model=model.to(device).eval(),
        spec=spec,
        modalities=tuple(spec["modalities"]),
        **{n: spec[n] for n in ("family", "latent_dim", "seed", "sessions", "extra", "bin_width_s", "kind")},
        **{name: np.array(spec[name]) for name in GEOMETRY},
    )


def add_sessions(
    path: str | Path, clips: Sequence[SessionClips]
) -> tuple[MultimodalVAE, dict[str, Any], list[SessionClips]]:
    """The model at `path` with read-in and read-out for new sessions, all else frozen.

    Returns the model, its spec and those of `clips` that are new. Raises InputError as `extend` does.
    """
    trained = load_model(path)
    spec = extend(trained.spec, clips)
    model = assemble(spec)
    model.load_state_dict(trained.model.state_dict(), strict=False)
    new = [session for session in clips if session.session in spec["sessions"].keys() - trained.sessions.keys()]
    standardise(model, [c.where("train") for c in new], [c.session for c in new])
    model.requires_grad_(False)
    for modality, networks in model.modalities.items():
        sessions = networks.decoder.sessions if modality != "audio" else {}
        keys = {sessions[c.session] for c in new if c.session in sessions}
        for part in _parts(model, modality):
            for name, parameter in part.named_parameters():
                if name.rsplit(".", 1)[-1] in keys:
                    parameter.requires_grad_(True)
    return model, spec, new


def to_batch(
    clips: SessionClips,
    indices: Sequence[int] | np.ndarray | None = None,
    device: str = "cpu",
    *,
    labels: Sequence[str] = (),
) -> Batch:
    """The clips, or those at `indices`, as tensors on `device`; what a session has no channels of is not in the data.

    Where a model learns `labels`, the batch has each clip's place in them, -1 for any other label and for none.
    """
    chosen = clips if indices is None else clips.take(np.asarray(indices))

    def tensor(x: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(x), device=device)

    data = {"audio": tensor(chosen.spectrogram.astype(np.float32, copy=False))}
    data |= {
        name: tensor(chosen.series(name).values.astype(np.float32, copy=False))
        for name in chosen.modalities[1:]
        if chosen.series(name).channels
    }
    present = {name: tensor(chosen.has([name])) for name in data}
    places = {label: place for place, label in enumerate(labels)}
    known = tensor(np.array([places.get(str(label), -1) for label in chosen.label], int)) if places else None
    return Batch(data, present, chosen.session, known)
