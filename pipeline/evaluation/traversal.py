"""Latent traversals: each latent moved over its aggregate posterior, decoded to all modalities."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from pipeline.clips import SessionClips
from pipeline.vae.assembly import LoadedModel, to_batch
from pipeline.vae.base import Batch, MultimodalVAE

SD_STEPS = np.linspace(-2, 2, 9)


def aggregate_posterior(
    model: MultimodalVAE, batches: Sequence[Batch], given: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and SD of z over the clips that have any modality of `given`, and their posteriors; (n_latents,) each."""
    means, squares = [], []
    with torch.inference_mode():
        for batch in batches:
            rows = model.presence(batch, given).any(dim=0)
            if rows.any():
                posterior = model.posterior(batch.take(rows), given)
                means.append(posterior.mean)
                squares.append(posterior.variance + posterior.mean**2)
    mean = torch.cat(means).mean(dim=0)
    return mean, (torch.cat(squares).mean(dim=0) - mean**2).clamp(min=0).sqrt()


def traverse(loaded: LoadedModel, clips: Sequence[SessionClips]) -> xr.Dataset:
    """Decode -2 to +2 SD of each latent, the others at their mean, from the training clips' aggregate posterior.

    Returns `audio_db` (latent, step, frequency, frame), dB above the noise floor, and `expected_count` (latent, step,
    unit, bin), units of all sessions one after the other; a modality that the model lacks has size 0. A further
    modality m has `expected_m` (latent, step, m_channel, bin), channels named session|channel. Families without shared
    latents are traversed in each modality's own latent space.
    """
    model = loaded.model
    batches = [to_batch(session.where("train")) for session in clips]
    trained = {
        name: [c.session for c in clips if c.session in loaded.channels(name)] for name in ("neural", *loaded.extra)
    }
    sessions = trained["neural"]
    frequency_hz = loaded.frequency_hz if "audio" in loaded.modalities else np.zeros(0)
    frame_s = loaded.frame_s if "audio" in loaded.modalities else np.zeros(0)
    bin_s = loaded.bin_s if set(loaded.modalities) - {"audio"} else np.zeros(0)
    shape = (model.n_latents, len(SD_STEPS))
    audio_db = np.zeros((*shape, len(frequency_hz), len(frame_s)), np.float32)
    expected = {name: [np.zeros((*shape, 0, len(bin_s)), np.float32)] for name in trained}
    for target in loaded.modalities:
        z = _grid(*aggregate_posterior(model, batches, loaded.modalities if model.cross_generates else (target,)))
        with torch.inference_mode():
            if target == "audio":
                first = sessions[0] if sessions else clips[0].session
                audio_db = model.decode(z, session=first, names=["audio"])["audio"].mean.numpy()
            else:
                decoded = (model.decode(z, session=s, names=[target])[target] for s in trained[target])
                expected[target] += [likelihood.mean.numpy() for likelihood in decoded]
    arrays = {"audio_db": (("latent", "step", "frequency", "frame"), audio_db, {"units": "dB above the noise floor"})}
    channels = {}
    for name, parts in expected.items():
        is_neural = name == "neural"
        kind = loaded.kind if is_neural else loaded.extra[name]["kind"]
        axis, array = ("unit", "expected_count") if is_neural else (f"{name}_channel", f"expected_{name}")
        units = {"units": "spikes per bin" if kind == "spikes" else "SD"}
        arrays[array] = (("latent", "step", axis, "bin"), np.concatenate(parts, axis=2), units)
        of_sessions = [(s, channel) for s in trained[name] for channel in loaded.channels(name)[s]]
        channels[axis] = np.array([c if is_neural else f"{s}|{c}" for s, c in of_sessions], dtype=object)
    return xr.Dataset(
        arrays,
        coords={
            "latent": [f"z{index}" for index in range(model.n_latents)],
            "sd_steps": ("step", SD_STEPS, {"units": "SD of the aggregate posterior"}),
            "frequency": ("frequency", frequency_hz, {"units": "Hz"}),
            "frame": ("frame", frame_s, {"units": "s after the clip's start"}),
            "unit": channels.pop("unit"),
            "bin": ("bin", bin_s, {"units": "s after the clip's start"}),
            **channels,
        },
        attrs={"objective": loaded.family, "seed": loaded.seed, "bin_width_s": loaded.bin_width_s, "kind": loaded.kind},
    )


def _grid(mean: torch.Tensor, sd: torch.Tensor) -> torch.Tensor:
    """z (n_latents, n_steps, n_latents): row j moves latent j only."""
    moved = torch.as_tensor(SD_STEPS, dtype=mean.dtype)[:, None, None] * torch.diag(
        sd
    )  # (n_steps, n_latents, n_latents)
    return mean + moved.transpose(0, 1)
