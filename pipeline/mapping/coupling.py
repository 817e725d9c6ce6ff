"""The rotation-invariant map: which bands a model moves together with which units.

C = mean over held-out posterior samples of J_audio Cov(z) J_neural^T, with J_audio = d(log spectrogram, dB)/dz and
J_neural = d(log expected count)/dz. Under z -> A z it does not change: the Jacobians take A^-1 and the covariance A.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pipeline.clips import MODALITIES, SessionClips
from pipeline.seeds import torch_generator
from pipeline.vae.assembly import LoadedModel, to_batch

MAX_CLIPS = 256
CLIPS_AT_ONCE = 64  # bounds memory: CLIPS_AT_ONCE x n_units x n_frames x n_latents x 4 bytes
N_SAMPLES = 4  # of each clip's posterior, for the covariance; one of them for the Jacobians
SMALLEST_COUNT = 1e-8


def drive(expected: Tensor, *, kind: str) -> Tensor:
    """What couplings and gains are changes of: the log of expected counts, or traces as they are, in SDs."""
    return expected.clamp(min=SMALLEST_COUNT).log() if kind == "spikes" else expected


@dataclass
class LatentChanges:
    """What a step along each latent changes, at a posterior sample of some held-out clips of a session.

    `audio` (n_clips, n_bands, n_latents): dB a unit of z, mean over frames, and `audio_square`, that of the squares;
    `neural` (n_clips, n_units, n_latents): log rate (traces: SDs), mean over bins. `block` (n_clips,): see
    `held_out_clips`.
    """

    audio: np.ndarray
    audio_square: np.ndarray
    neural: np.ndarray
    block: np.ndarray


@dataclass
class ClipCoupling:
    """Coupling of one model in one session by clip: `coupling` (n_clips, n_bands, n_units), dB x log rate; `changes`
    along single latents on the same clips."""

    coupling: np.ndarray
    changes: LatentChanges


def jacobians(decode: Callable[[Tensor], tuple[Tensor, Tensor]], z: Tensor) -> tuple[Tensor, Tensor]:
    """J_audio (n, n_bands, n_frames, d) and J_neural (n, n_units, n_bins, d) at each z (n, d).

    `decode` maps z to dB (n, n_bands, n_frames) and log expected counts (n, n_units, n_bins).
    """
    columns = []
    for latent in range(z.shape[1]):
        tangent = torch.zeros_like(z)
        tangent[:, latent] = 1
        columns.append(torch.func.jvp(decode, (z,), (tangent,))[1])
    audio, neural = zip(*columns, strict=True)
    return torch.stack(audio, dim=-1), torch.stack(neural, dim=-1)


def coupling(
    audio: Tensor,
    neural: Tensor,
    covariance: Tensor,
    *,
    frame_s: np.ndarray,
    bin_centre_s: np.ndarray,
    lag_s: np.ndarray,
) -> Tensor:
    """J_audio Cov J_neural^T of `jacobians`, shape (n, n_bands, n_units).

    For each unit the product is averaged over its bins, each paired with the frames of a bin's length at its own
    `lag_s` (n_units,) before it (positive: the unit follows); pairs that leave the clip do not count, and a lag that
    leaves no pair is shortened.
    """
    turned = neural @ covariance.T
    heard = neural.new_zeros(
        *neural.shape[:2], len(frame_s), neural.shape[3]
    )  # each bin moved to the frames it follows
    for lag in np.unique(lag_s):
        units = torch.as_tensor(np.flatnonzero(lag_s == lag))
        pairing = torch.as_tensor(_pairing(frame_s, bin_centre_s, float(lag)), dtype=neural.dtype)  # (n_bins, n_frames)
        pairing /= max(int((pairing.sum(dim=1) > 0).sum()), 1)
        heard[:, units] = torch.einsum("tf,nutd->nufd", pairing, turned[:, units])
    return audio.flatten(2) @ heard.flatten(2).mT


def _pairing(frame_s: np.ndarray, bin_centre_s: np.ndarray, lag_s: float) -> np.ndarray:
    """Weights (n_bins, n_frames): each bin averages the frames within half a bin of `lag_s` before it."""
    width = np.diff(bin_centre_s).min() if len(bin_centre_s) > 1 else np.ptp(frame_s) + 1e-9
    half = max(width, np.diff(frame_s).min() if len(frame_s) > 1 else 0) / 2 * (1 + 1e-6)
    near = np.zeros((len(bin_centre_s), len(frame_s)))
    while not near.any():  # lags longer than the clip reaches
        near = (np.abs(frame_s - (bin_centre_s[:, None] - lag_s)) <= half).astype(float)
        if lag_s == 0:
            break
        lag_s = 0.0 if abs(lag_s) <= width else lag_s - np.sign(lag_s) * width
    return near / np.maximum(near.sum(axis=1, keepdims=True), 1)


def held_out_clips(clips: SessionClips, *, n_most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `n_most` clips of the validation and test blocks with both sides, evenly spread, and the block that each
    is resampled with: its bout, or a number of its own."""
    chosen = np.flatnonzero(np.isin(clips.split, ["validation", "test"]) & clips.present[:, :2].all(axis=1))
    if len(chosen) > n_most:
        chosen = chosen[np.linspace(0, len(chosen) - 1, n_most).astype(int)]
    bout = clips.bout[chosen]
    return chosen, np.where(bout >= 0, bout, (clips.start_s[chosen] // 10).astype(int))


def model_coupling(loaded: LoadedModel, clips: SessionClips, *, lag_s: np.ndarray, seed: int) -> ClipCoupling | None:
    """Coupling of a trained model over the held-out clips (validation and test) of a session; None without any.

    Points are drawn from q(z | audio): spikes of these clips do not enter.
    """
    model = loaded.model
    held_out, block = held_out_clips(clips, n_most=MAX_CLIPS)
    if not len(held_out) or clips.session not in loaded.sessions or not model.cross_generates:
        return None
    generator = torch_generator(seed, "coupling", clips.session)
    with torch.no_grad():
        posterior = model.posterior(to_batch(clips, held_out), ("audio",))
        samples = posterior.rsample(N_SAMPLES, generator=generator)  # (k, n, d)
    covariance = torch.atleast_2d(torch.cov(samples.flatten(0, 1).T))

    def decode(z: Tensor) -> tuple[Tensor, Tensor]:
        decoded = model.decode(z, session=clips.session, names=MODALITIES)
        return decoded["audio"].mean, drive(decoded["neural"].mean, kind=loaded.kind)

    places = {"frame_s": clips.frame_s, "bin_centre_s": clips.bin_s + clips.bin_width_s / 2, "lag_s": lag_s}
    parts = []
    with torch.no_grad():
        for z in samples[0].split(CLIPS_AT_ONCE):
            audio, neural = jacobians(decode, z)
            means = (audio.mean(dim=2), audio.square().mean(dim=2), neural.mean(dim=2))
            parts.append((coupling(audio, neural, covariance, **places), *means))
    value, *means = (torch.cat(of_clips).numpy() for of_clips in zip(*parts, strict=True))
    return ClipCoupling(value, LatentChanges(*means, block))


def pooled_coupling(
    seeds: list[ClipCoupling], *, n_draws: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds, and a 95 % interval from draws of seeds and of blocks; each (n_bands, n_units).

    All seeds are read on the same clips: what a draw of blocks does it does to all of them, and more seeds do not
    average it away.
    """
    mean = np.mean([s.coupling.mean(axis=0) for s in seeds], axis=0)
    names, block = np.unique(seeds[0].changes.block, return_inverse=True)
    member = np.equal.outer(np.arange(len(names)), block).astype(np.float32)
    blocks, runs = (generator.multinomial(n, np.full(n, 1 / n), n_draws) for n in (len(names), len(seeds)))
    of_blocks = blocks / (blocks @ member.sum(axis=1))[:, None]
    draws = 0.0
    for seed, one in enumerate(seeds):
        weights = (of_blocks * runs[:, seed, None] / len(seeds)).astype(np.float32)
        draws = draws + np.tensordot(weights, np.tensordot(member, one.coupling, 1), 1)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return mean, low, high


def profile_p(profiles: np.ndarray, z_b: np.ndarray, surrogate_z_b: np.ndarray) -> np.ndarray:
    """p of each unit's coupling profile agreeing with its held-out tuning (part B) no better than with surrogates.

    `profiles` and `z_b` (n_units, n_bands), `surrogate_z_b` (n_surrogates, n_units, n_bands): contours swapped inside
    bouts. The weights of the model that gave the profiles were fitted on training blocks (part A), and the points at
    which they are read come from sound alone. Yet its epoch and its family were chosen on the validation blocks, which
    are half of part B: part B is held out from the fit, and only its test blocks from these choices.
    """
    usable = np.isfinite(z_b) & np.isfinite(profiles)
    size = np.maximum(usable.sum(axis=1, keepdims=True), 1)
    weights = np.where(usable, profiles, 0)
    weights = np.where(usable, weights - weights.sum(axis=1, keepdims=True) / size, 0)
    observed = (weights * np.where(usable, z_b, 0)).sum(axis=1)
    null = np.einsum("ub,sub->su", weights, np.where(usable, surrogate_z_b, 0))
    p = (1 + (null >= observed).sum(axis=0)) / (1 + len(null))
    return np.where(np.any(weights != 0, axis=1) & (len(null) > 0), p, np.nan)


def held_out_p(profiles: np.ndarray, tuning: xr.Dataset, unit_ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """`profile_p` of these units of a tuning.nc, and the smallest p that their surrogates allow, each (n_units,).

    Units with a second stage of the band test are compared with its surrogates, the others with those of the first.
    """
    z_b = tuning["tuning_z"].sel(part="B", unit=unit_ids).values
    drawn = tuning["surrogate_z_b"].sel(unit=unit_ids).values
    p, p_floor = profile_p(profiles, z_b, drawn), np.full(len(unit_ids), 1 / (1 + len(drawn)))
    fine = np.flatnonzero(np.isin(unit_ids, tuning["unit_fine"].values.astype(str)))
    if len(fine):
        drawn = tuning["surrogate_z_b_fine"].sel(unit_fine=np.array(unit_ids, object)[fine]).values
        p[fine], p_floor[fine] = profile_p(profiles[fine], z_b[fine], drawn), 1 / (1 + len(drawn))
    return p, np.where(np.isnan(p), np.nan, p_floor)
