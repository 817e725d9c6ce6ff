"""What each cluster of units stands for: its band, how sure that is, and whether it holds in held-out data."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from sklearn.linear_model import RidgeCV

from pipeline.clips import SessionClips
from pipeline.mapping.bands import overlap, peak_bands
from pipeline.mapping.tuning import gains
from pipeline.mapping.tuning_file import RIDGE_BINS

PENALTIES = np.logspace(-1, 5, 13)
MIN_CLIPS = 20


@dataclass
class Members:
    """Units of one cluster in one session: its tuning (tuning.nc) and their indices there."""

    tuning: xr.Dataset
    units: np.ndarray


def cluster_gain(members: list[Members], weights: list[np.ndarray]) -> np.ndarray:
    """Tuning of a cluster, relative change of rate, shape (..., n_bands).

    `weights[s]` (..., n_bouts_s): how often each bout of session s counts. Units are weighted by the root of their mean
    count (their signal-to-noise ratio), bands by the units of sessions with enough sound there.
    """
    total, size = 0.0, 0.0
    for member, weight in zip(members, weights, strict=True):
        tuning = member.tuning
        mean_count = tuning["mean_count"].values[member.units]
        response = np.tensordot(weight, tuning["bout_response"].values[:, member.units].astype(float), 1)
        gram = np.tensordot(weight, tuning["bout_gram"].values.astype(float), 1)
        tested = tuning["band_tested"].values.astype(bool)
        curves = gains(response, gram, mean_count, tested=tested, ridge_bins=RIDGE_BINS)
        share = np.sqrt(np.maximum(mean_count, 1e-9))
        total = total + np.where(tested, np.nan_to_num(share @ curves), 0.0)
        size = size + share.sum() * tested
    return np.divide(
        total, size, out=np.full(np.shape(total), np.nan), where=np.broadcast_to(size > 0, np.shape(total))
    )


def describe_cluster(
    members: list[Members], *, centre_hz: np.ndarray, edges_hz: np.ndarray, n_bootstrap: int, generator
) -> dict[str, float]:
    """Band of a cluster from all data with a bootstrap interval over bouts, the overlap of parts A and B, and p.

    p: the cluster's band is read from part A; statistic in part B is the units' mean z inside that band minus outside,
    against surrogates that swap contours within bouts for all units of a session together (so that their shared
    response counts once). The units themselves were admitted by their own q over the whole session.
    """
    parts = [member.tuning["bout_part"].values.astype(str) for member in members]
    everywhere = [np.ones(len(part)) for part in parts]
    halves = [[(part == name).astype(float) for part in parts] for name in ("A", "B")]
    curves = np.stack([cluster_gain(members, w) for w in (everywhere, *halves)])
    found = {name: values.astype(float) for name, values in peak_bands(curves, centre_hz, edges_hz).items()}
    low, high = found["low_hz"], found["high_hz"]
    draws = [
        generator.multinomial(len(part), np.full(len(part), 1 / max(len(part), 1)), n_bootstrap).astype(float)
        for part in parts
    ]
    drawn = peak_bands(cluster_gain(members, draws), centre_hz, edges_hz)
    row = {name: found[name][0] for name in ("peak_hz", "low_hz", "high_hz", "height")}
    for name in ("peak_hz", "low_hz", "high_hz"):
        row[f"{name}_ci_low"], row[f"{name}_ci_high"] = np.quantile(drawn[name], [0.025, 0.975])
    row["edge_open"] = bool(found["open_low"][0] or found["open_high"][0])
    row["heldout_iou"] = overlap(low[1], high[1], low[2], high[2])
    row["p"], row["p_floor"] = _held_out_p(members, centre_hz, low[1], high[1])
    return row


def _held_out_p(members: list[Members], centre_hz, low_hz: float, high_hz: float) -> tuple[float, float]:
    inside = (centre_hz >= low_hz) & (centre_hz <= high_hz)
    inside[np.abs(centre_hz - (low_hz + high_hz) / 2).argmin()] = True
    n_surrogates = min(member.tuning.sizes["surrogate"] for member in members)
    if n_surrogates < 19:
        return float("nan"), float("nan")
    observed, null = 0.0, np.zeros(n_surrogates)
    for member in members:
        z = member.tuning["tuning_z"].sel(part="B").values[member.units]
        usable = np.isfinite(z).any(axis=0)
        weight = np.where(inside & usable, 1 / max((inside & usable).sum(), 1), 0.0)
        weight -= np.where(~inside & usable, 1 / max((~inside & usable).sum(), 1), 0.0)
        observed += (np.nan_to_num(z) @ weight).sum()
        null += (member.tuning["surrogate_z_b"].values[:n_surrogates][:, member.units] @ weight).sum(axis=1)
    return float((1 + (null >= observed).sum()) / (1 + n_surrogates)), 1 / (1 + n_surrogates)


def decoding_r2(clips: list[SessionClips], members: dict[str, list[str]], *, low_hz: float, high_hz: float) -> float:
    """R2 on held-out clips of the band's energy decoded from these units, averaged over sessions.

    Energy: mean dB inside the band minus mean dB over all bands (so that loudness alone is no success). Ridge
    regression of it on the units' counts in the clip, penalty by leave-one-out on the training clips; `members` maps
    sessions to unit ids. NaN where no session has units and enough clips.
    """
    total, weight = 0.0, 0
    for session in clips:
        rows = [session.unit_ids.index(unit) for unit in members.get(session.session, []) if unit in session.unit_ids]
        whole = session.present.all(axis=1)
        train = whole & (session.split == "train")
        test = whole & np.isin(session.split, ["validation", "test"])
        if not rows or min(train.sum(), test.sum()) < MIN_CLIPS:
            continue
        inside = (session.frequency_hz >= low_hz) & (session.frequency_hz <= high_hz)
        inside[np.abs(session.frequency_hz - (low_hz + high_hz) / 2).argmin()] = True
        level_db = session.spectrogram.mean(axis=2)
        energy = level_db[:, inside].mean(axis=1) - level_db.mean(axis=1)
        counts = np.nansum(session.counts[:, rows], axis=2)
        model = RidgeCV(alphas=PENALTIES).fit(counts[train], energy[train])
        rest = ((energy[test] - model.predict(counts[test])) ** 2).sum()
        total += test.sum() * (1 - rest / max(((energy[test] - energy[train].mean()) ** 2).sum(), 1e-12))
        weight += test.sum()
    return float(total / weight) if weight else float("nan")
