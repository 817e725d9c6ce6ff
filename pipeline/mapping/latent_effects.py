"""What a latent stands for, on held-out clips: the bands and the units that it moves, and what is lost without it.

Bands and gains are mean Jacobians over posterior samples. Moving the latent far (traversal) and setting it to its mean
(ablation) must say the same; where they do not, the row is flagged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from pipeline.clips import MODALITIES, SessionClips
from pipeline.evaluation.scores import bits_per_bin, bits_per_spike, block_sums
from pipeline.mapping.bands import band_columns, band_runs, bins_inside, edges_between, interval, peak_bands
from pipeline.mapping.coupling import MAX_CLIPS, SMALLEST_COUNT, LatentChanges, held_out_clips
from pipeline.mapping.latent_links import Link
from pipeline.mapping.latents import Traversal
from pipeline.mapping.nulls import q_values
from pipeline.vae.assembly import LoadedModel, to_batch

ALPHA = 0.05
ENDS = (0.025, 0.975)


@dataclass
class Ablation:
    """What is lost on held-out clips of a session when a latent, inferred from sound, is set to its mean there.

    `db2` (n_bands, n_latents): growth of the squared error of the decoded spectrogram, mean over clips and frames;
    `bits`, `bits_se` (n_units, n_latents): bits/spike (traces: bits/bin) of the prediction, and its error over bouts.
    """

    db2: np.ndarray
    bits: np.ndarray
    bits_se: np.ndarray


def ablate(loaded: LoadedModel, clips: SessionClips) -> Ablation:
    """Leave each latent out on held-out clips of a session."""
    chosen, block = held_out_clips(clips, n_most=MAX_CLIPS)
    held_out, blocks = clips.take(chosen), np.unique(block, return_inverse=True)[1]
    nothing = np.zeros(len(clips.unit_ids))  # a reference, which is the same for both predictions

    def decoded(z: torch.Tensor):
        expected = loaded.model.decode(z, session=clips.session, names=MODALITIES)
        error = np.square(held_out.spectrogram - expected["audio"].mean.numpy()).mean(axis=(0, 2))
        counts = expected["neural"].mean
        if loaded.kind == "traces":
            common = {"predicted": counts.numpy(), "reference": nothing, "blocks": blocks}
            return error, bits_per_bin(traces=held_out.counts, **common)
        common = {"predicted": counts.clamp(min=SMALLEST_COUNT).numpy(), "reference": nothing + 1, "blocks": blocks}
        return error, bits_per_spike(counts=held_out.counts, **common)

    with torch.inference_mode():
        z = loaded.model.posterior(to_batch(held_out), ("audio",)).mean
        error, bits = decoded(z)
        db2, lost = [], []
        for latent in range(z.shape[1]):
            without = z.clone()
            without[:, latent] = z[:, latent].mean()
            error_without, bits_without = decoded(without)
            db2.append(error_without - error)
            lost.append(bits.minus(bits_without))
    return Ablation(
        np.stack(db2, axis=-1),
        np.stack([score.value for score in lost], axis=-1),
        np.stack([score.se for score in lost], axis=-1),
    )


def bout_draws(values: np.ndarray, block: np.ndarray, *, n_draws: int, generator: np.random.Generator) -> np.ndarray:
    """Means of `values` (n_clips, ...) over clips, their bouts (`block`, (n_clips,)) drawn anew, (n_draws, ...)."""
    blocks = np.unique(block, return_inverse=True)[1]
    totals, sizes = block_sums(values, blocks).astype(np.float32), np.bincount(blocks)
    weight = generator.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), n_draws).astype(np.float32)
    return np.tensordot(weight / (weight @ sizes)[:, None], totals, 1)


def latent_bands(
    changes: Sequence[LatentChanges],
    ablations: Sequence[Ablation],
    far: Traversal,
    link: Link,
    *,
    sd: np.ndarray,
    active: np.ndarray,
    frequency_hz: np.ndarray,
    n_draws: int,
    generator: np.random.Generator,
) -> pd.DataFrame:
    """Bands of each active latent, of all sessions' clips together; `sd` (n_latents,) of its posterior means.

    A band is a run above half of its own peak in the mean Jacobian, of one sign. Beside the highest, those count that
    rise above half of it and exceed 95 % of the maxima of the null; q is over all that were tested.
    """
    audio, square = (np.concatenate(parts) for parts in zip(*((c.audio, c.audio_square) for c in changes), strict=True))
    db2 = np.mean([one.db2 for one in ablations], axis=0)
    block = np.concatenate([f"{session} " + c.block.astype(str).astype(object) for session, c in enumerate(changes)])
    mean, rms = audio.mean(axis=0) * sd, np.sqrt(square.mean(axis=0)) * sd  # (n_bands, n_latents)
    drawn = bout_draws(audio, block, n_draws=n_draws, generator=generator) * sd
    grid = (frequency_hz, edges_between(frequency_hz))
    rows = []
    for latent in np.flatnonzero(active):
        curve, top = mean[:, latent], np.abs(mean[:, latent]).max()
        runs = [(sign, within) for sign in (1, -1) for within in band_runs(sign * curve, top=top)]
        runs.sort(key=lambda run: -(run[0] * curve)[run[1]].max())
        for run, (sign, within) in enumerate(runs):
            found = {name: values[0] for name, values in peak_bands(sign * curve[None], *grid, within=within).items()}
            draws = peak_bands(sign * drawn[:, :, latent], *grid, within=within)
            for name in ("peak_hz", "low_hz", "high_hz"):
                found[f"{name}_ci_low"], found[f"{name}_ci_high"] = interval(draws[name])
            found["edge_open"] = found["open_low"] or found["open_high"]
            peak = np.where(within, sign * curve, -np.inf).argmax()
            inside = bins_inside(frequency_hz, found["low_hz"], found["high_hz"])
            ablation_db2 = db2[inside, latent].mean()
            effect_low, effect_high = np.quantile(drawn[:, peak, latent], ENDS)
            rows.append(
                {
                    "latent": latent,
                    "run": run,
                    **band_columns(found),
                    "effect_db_per_sd": curve[peak],
                    "effect_ci_low_db_per_sd": effect_low,
                    "effect_ci_high_db_per_sd": effect_high,
                    "effect_rms_db_per_sd": rms[peak, latent],
                    "ablation_db2": ablation_db2,
                    "sign_agrees": bool(np.sign(far.audio_db[latent, peak]) == sign and ablation_db2 > 0),
                    "p": link.band_p(latent, inside, sign),
                }
            )
    if not rows:  # no latent reaches the sound
        return pd.DataFrame()
    table = pd.DataFrame(rows)
    table = table.assign(q=q_values(table["p"].to_numpy()), p_floor=link.p_floor)
    table = table[table["run"].eq(0) | (table["p"] <= ALPHA)].reset_index(drop=True)
    return table.assign(run=table.groupby("latent").cumcount())


def latent_units(
    changes: LatentChanges,
    ablation: Ablation,
    far_log_rate: np.ndarray,
    linked: tuple[np.ndarray, np.ndarray, float] | None,
    *,
    unit_ids: list[str],
    kind: str,
    sd: np.ndarray,
    active: np.ndarray,
    n_draws: int,
    generator: np.random.Generator,
) -> pd.DataFrame:
    """Gain of each unit of a session along each active latent; `linked`: as in `Link.units`, None where the session has
    too few clips."""
    latents = np.flatnonzero(active)
    neural = changes.neural[:, :, latents] * sd[latents]  # (n_clips, n_units, n_active)
    gain = neural.mean(axis=0).T
    low, high = np.quantile(
        bout_draws(neural, changes.block, n_draws=n_draws, generator=generator), ENDS, axis=0
    ).swapaxes(1, 2)
    lost = ablation.bits[:, latents].T
    table = pd.DataFrame(
        {
            "latent": np.repeat(latents, len(unit_ids)),
            "unit_id": np.tile(unit_ids, len(latents)),
            "gain_log_rate_per_sd": gain.ravel(),
            "ci_low_log_rate_per_sd": low.ravel(),
            "ci_high_log_rate_per_sd": high.ravel(),
            "gain_percent_per_sd": 100 * np.expm1(gain.ravel()) if kind == "spikes" else np.nan,
            "delta_bits_per_spike": lost.ravel(),
            "delta_se": ablation.bits_se[:, latents].T.ravel(),
            "p": np.nan,
            "p_floor": np.nan,
            "sign_agrees": pd.array(np.full(gain.size, None), dtype="boolean"),
        }
    )
    if linked is None:
        return table
    r, p, p_floor = linked
    sign = np.sign(gain)
    agrees = (np.sign(r[latents]) == sign) & (np.sign(far_log_rate[latents]) == sign) & (lost > 0)
    return table.assign(p=p[latents].ravel(), p_floor=p_floor, sign_agrees=pd.array(agrees.ravel(), dtype="boolean"))
