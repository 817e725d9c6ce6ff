"""What each cluster of units stands for: its bands, how sure that is, and whether they hold in held-out data."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from sklearn.linear_model import RidgeCV

from pipeline.clips import SessionClips
from pipeline.mapping.bands import band_runs, bins_inside, interval, overlap, peak_bands
from pipeline.mapping.nulls import permutation_p
from pipeline.mapping.tuning import pooled_gains
from pipeline.mapping.tuning_file import RIDGE_BINS

PENALTIES = np.logspace(-1, 5, 13)
MIN_CLIPS = 20
ALPHA = 0.05


@dataclass
class Members:
    """Some units of one session: its tuning (tuning.nc), their indices there, and the animal."""

    tuning: xr.Dataset
    units: np.ndarray
    animal: str


def cluster_gain(
    members: list[Members], weights: list[np.ndarray], counted: list[np.ndarray] | None = None
) -> np.ndarray:
    """Tuning of a cluster, relative change of rate, shape (..., n_bands).

    `weights[s]` (..., n_bouts_s): how often each bout of session s counts; `counted[s]` (...): how often its units do,
    by default once. Units are weighted by the root of their mean count (their signal-to-noise ratio), bands by the
    units of sessions with enough sound there.
    """
    total, size = 0.0, 0.0
    for session, (member, weight) in enumerate(zip(members, weights, strict=True)):
        tuning = member.tuning
        mean_count = tuning["mean_count"].values[member.units]
        response, observed = (tuning[name].values[:, member.units] for name in ("bout_response", "bout_observed"))
        tested = tuning["band_tested"].values.astype(bool)
        sums = response, tuning["bout_gram"].values, observed, mean_count
        curves = pooled_gains(weight, *sums, tested=tested, ridge_bins=RIDGE_BINS)
        share = np.sqrt(np.maximum(mean_count, 1e-9))
        times = np.ones(1) if counted is None else counted[session][..., None]
        total = total + times * np.where(tested, np.nan_to_num(share @ curves), 0.0)
        size = size + times * share.sum() * tested
    size = np.broadcast_to(size, np.shape(total))
    return np.divide(total, size, out=np.full(np.shape(total), np.nan), where=size > 0)


def describe_cluster(
    members: list[Members],
    voters: list[Members],
    *,
    centre_hz: np.ndarray,
    edges_hz: np.ndarray,
    n_bootstrap: int,
    generator,
) -> list[dict[str, float]]:
    """The bands of a cluster, the highest of part A first: edges and peak from all data of its `members` with a
    bootstrap interval, and of its `voters` the overlap of parts A and B, and p in part B.

    The members were admitted by the whole session. Of the voters, part B may have chosen none: only so is their test
    held out. How many bands there may be, where, and which comes first, is read from their part A (`band_runs`);
    without voters from the members', and nothing is tested. Without any band in part A there is one row, of NaN. The
    draws are of animals, where there are several, and of
    bouts within their sessions. `is_band`: whether the band's peak in the voters' part B exceeds 95 % of the maxima
    over all bands of the surrogates; of several bands only those count, beside the first.
    """
    halves = [[(part == name).astype(float) for part in _parts(voters or members)] for name in ("A", "B")]
    everywhere = [np.ones(len(part)) for part in _parts(members)]
    curves = np.stack([cluster_gain(members, everywhere), *(cluster_gain(voters or members, w) for w in halves)])
    drawn = cluster_gain(members, *_draws(members, n_bootstrap, generator))
    places = band_runs(curves[1]) or [np.ones(len(centre_hz), bool)]
    found = [peak_bands(curves, centre_hz, edges_hz, within=within) for within in places]
    inside = np.array([bins_inside(centre_hz, one["low_hz"][1], one["high_hz"][1]) for one in found])
    tests = _held_out(voters, inside, replicates={member.animal for member in members})
    rows = []
    for within, one, test in zip(places, found, tests, strict=True):
        low, high = one["low_hz"], one["high_hz"]
        row = {name: float(one[name][0]) for name in ("peak_hz", "low_hz", "high_hz", "height")}
        draws = peak_bands(drawn, centre_hz, edges_hz, within=within)
        for name in ("peak_hz", "low_hz", "high_hz"):
            row[f"{name}_ci_low"], row[f"{name}_ci_high"] = interval(draws[name])
        row["edge_open"] = bool(one["open_low"][0] or one["open_high"][0])
        row["heldout_iou"] = overlap(low[1], high[1], low[2], high[2]) if voters else np.nan
        rows.append(row | test)
    return rows


def _parts(members: list[Members]) -> list[np.ndarray]:
    """Part of each bout, (n_bouts,) by session."""
    return [member.tuning["bout_part"].values.astype(str) for member in members]


def _draws(members: list[Members], n_draws: int, generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """How often each bout, (n_draws, n_bouts) by session, and each session, (n_draws,), counts: animals are drawn with
    replacement, and bouts within sessions."""
    animals, of_session = np.unique([member.animal for member in members], return_inverse=True)
    drawn = generator.multinomial(len(animals), np.full(len(animals), 1 / len(animals)), n_draws).astype(float)
    bouts = [
        generator.multinomial(len(part), np.full(len(part), 1 / max(len(part), 1)), n_draws).astype(float)
        for part in _parts(members)
    ]
    return bouts, [drawn[:, animal] for animal in of_session]


def _held_out(voters: list[Members], inside: np.ndarray, *, replicates: set[str]) -> list[dict[str, float]]:
    """p, p_floor, n_animals_agree and is_band of each band; `inside` (n_runs, n_bands): the bins of part A's bands.

    Statistic in part B: the mean over animals of z inside the band minus outside of all bands, where each animal's is
    the sum over its units, in SDs of its surrogates. Those swap contours within bouts for all units of a session
    together, so that their shared response counts once, and animals weigh the same however many units they have. An
    animal without enough sound in a band has no say in it: NaN, as without voters. Of the
    animals that have members (`replicates`) those agree whose own p <= ALPHA.
    """
    n_surrogates = min((member.tuning.sizes["surrogate"] for member in voters), default=0)
    if n_surrogates < 19 or not any(member.tuning["band_tested"].values.any() for member in voters):
        return [{"p": np.nan, "p_floor": np.nan, "n_animals_agree": 0, "is_band": False}] * len(inside)
    animals = {member.animal: [] for member in voters}
    for member in voters:
        animals[member.animal].append(_summed_z(member, n_surrogates))
    curves, contrasts = [], []
    for sums in animals.values():
        z = np.nansum(sums, axis=0)  # (1 + n_surrogates, n_bands), as it was first
        usable = np.isfinite(sums).any(axis=(0, 1))
        outside = ~inside.any(axis=0) & usable
        weights = [
            _mean_of(one & usable) - _mean_of(outside) if (one & usable).any() else np.full(len(one), np.nan)
            for one in inside
        ]
        contrasts.append(_in_sds(z @ np.transpose(weights)))
        curves.append(np.where(usable, _in_sds(z), np.nan))
    contrasts = np.array(contrasts)  # (n_animals, 1 + n_surrogates, n_runs)
    pooled = _mean_of_finite(contrasts)
    curve = np.nan_to_num(_mean_of_finite(np.array(curves)), nan=-np.inf)
    own_p = permutation_p(contrasts[:, 0], contrasts[:, 1:].swapaxes(0, 1))  # (n_animals, n_runs)
    counted = [animal in replicates for animal in animals]
    p = permutation_p(pooled[0], pooled[1:])
    highest = np.quantile(curve[1:].max(axis=1), 1 - ALPHA)
    return [
        {
            "p": float(p[run]),
            "p_floor": 1 / (1 + n_surrogates),
            "n_animals_agree": int((own_p[counted, run] <= ALPHA).sum()),
            "is_band": bool(curve[0, inside[run]].max(initial=-np.inf) > highest),
        }
        for run in range(len(inside))
    ]


def _summed_z(member: Members, n_surrogates: int) -> np.ndarray:
    """z in part B summed over the units, as it was and of surrogates, (1 + n_surrogates, n_bands); NaN: too little
    sound."""
    z = member.tuning["tuning_z"].sel(part="B").values[member.units].astype(float)
    drawn = member.tuning["surrogate_z_b"].values[:n_surrogates][:, member.units].astype(float)
    tested = np.isfinite(z).any(axis=0)
    return np.where(tested, np.concatenate([np.nan_to_num(z)[None], drawn]).sum(axis=1), np.nan)


def _mean_of(bins: np.ndarray) -> np.ndarray:
    return bins / max(bins.sum(), 1)


def _mean_of_finite(values: np.ndarray) -> np.ndarray:
    """Mean of the finite along the first axis, NaN where there is none."""
    n = np.isfinite(values).sum(axis=0)
    return np.divide(np.nansum(values, axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)


def _in_sds(values: np.ndarray) -> np.ndarray:
    """Values (1 + n_surrogates, ...) less the surrogates' mean, in their SDs."""
    return (values - values[1:].mean(axis=0)) / np.maximum(values[1:].std(axis=0), 1e-9)


def decoding_r2(clips: list[SessionClips], members: dict[str, list[str]], *, low_hz: float, high_hz: float) -> float:
    """R2 on held-out clips of the band's energy decoded from these units, averaged over sessions.

    Energy: mean dB inside the band minus mean dB over all bands (so that loudness alone is no success). Ridge
    regression of it on the units' counts in the clip, penalty by leave-one-out on the training clips; `members` maps
    sessions to unit ids. NaN where no session has units and enough clips.
    """
    total, weight = 0.0, 0
    for session in clips:
        rows = [session.unit_ids.index(unit) for unit in members.get(session.session, []) if unit in session.unit_ids]
        whole = session.present[:, :2].all(axis=1)
        train = whole & (session.split == "train")
        test = whole & np.isin(session.split, ["validation", "test"])
        inside = bins_inside(session.frequency_hz, low_hz, high_hz)
        if not rows or min(train.sum(), test.sum()) < MIN_CLIPS or not inside.any():
            continue
        level_db = session.spectrogram.mean(axis=2)
        energy = level_db[:, inside].mean(axis=1) - level_db.mean(axis=1)
        counts = np.nansum(session.counts[:, rows], axis=2)
        model = RidgeCV(alphas=PENALTIES).fit(counts[train], energy[train])
        rest = ((energy[test] - model.predict(counts[test])) ** 2).sum()
        total += test.sum() * (1 - rest / max(((energy[test] - energy[train].mean()) ** 2).sum(), 1e-12))
        weight += test.sum()
    return float(total / weight) if weight else float("nan")
