"""What Duet's map recovers of planted tuning, beside simpler methods on the same sessions.

    python benchmarks/recovery.py [--seeds 5] [--first-seed 0] [--gains 1.5 2 3] [--worlds bands] [--minutes 20]
        [--out TABLE.csv] [--figure PICTURE]

Sessions of 160 units (80 tuned in 4 bands, 30 that fire to any vocalization, 50 unrelated; median 4 Hz) are simulated
without files (`pipeline.simulation.counts`); `--worlds` names others, as `WORLDS` changes them. Methods, none with a
trained model:

- Duet: `duet tune` and the unit and cluster tables of `duet map`, by default settings.
- single bins: the same null, but every 3 kHz bin tested by itself (the model-free reference).
- GLM: ridge regression of smoothed counts on band indicators at all lags (an STRF).
- reduced rank: the same regression cut to the rank that predicts best, units clustered by k-means on its loadings.
- PLS: partial least squares on the same regressors, likewise.

The last three score a unit by what bands explain of its held-out counts beyond bout means and the onset/offset
response, as Duet's nuisances do: parts A and B are each predicted from the other. Their bands and clusters are those of
the strongest weights of a fit to all data.
Detection is compared at one false-positive rate: the threshold of each method is what 5 % of the vocal and unrelated
units of all seeds of a difficulty reach. Prints tables in Markdown.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from simulated import MAPPING, each, edges_hz, plan_of, simulated, tables, tuned
from sklearn.cluster import KMeans
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import adjusted_rand_score, silhouette_score

from pipeline.config import Neural
from pipeline.mapping.band_sums import BandSums
from pipeline.mapping.bands import overlap, peak_bands
from pipeline.mapping.nulls import q_values
from pipeline.mapping.profile import LAG_STEP_S, SMOOTHING_SD_S
from pipeline.mapping.responses import Nuisance, lagged, locate_calls, smoothed
from pipeline.mapping.tuning import band_selectivity
from pipeline.simulation.truth import bands_truth
from pipeline.storage import write_table

CENTRE_HZ = (edges_hz()[1:] + edges_hz()[:-1]) / 2
RANKS = (1, 2, 3, 4, 6, 8, 12)
PENALTIES = np.logspace(1, 6, 11)
FALSE_POSITIVES = 0.05
MOST_CLUSTERS = 12
WORLDS = {
    "bands": {},
    "overlapping bands": {"band_width": 1.5},
    "continuum": {"tuning": "continuum"},
    "multiplexed, suppressed": {"n_multiplexed": 20, "n_suppressed": 20},
    "running": {"n_movement": 20, "movement_correlation": 0.6},
    "strong drift": {"drift_sd": 0.5, "habituation": 6.0},
    "40 units": {"units_per_band": 5, "n_vocal": 8, "n_unrelated": 12},
    "noise, second animal": {"noise_db": 10.0, "second_animal_db": -6.0},
    "level jitter": {"level_jitter_db": 8.0},
}
SIZES = {"units_per_band": 20, "n_vocal": 30, "n_unrelated": 50}
LEVELS = ["world", "gain", "method"]
NOT_SELECTIVE = ("vocal", "unrelated", "movement")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--gains", type=float, nargs="+", default=[1.5, 2.0, 3.0])
    parser.add_argument("--worlds", nargs="+", default=["bands"], choices=list(WORLDS))
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="table with one row a unit and method")
    parser.add_argument("--figure", type=Path, help="picture of power against gain in the first world")
    args = parser.parse_args()
    jobs = [
        (world, gain, args.first_seed + seed, args.minutes)
        for world in args.worlds
        for gain in args.gains
        for seed in range(args.seeds)
    ]
    units, sessions = zip(*each(recovered, jobs, n_processes=args.processes), strict=True)
    units, sessions = pd.concat(units, ignore_index=True), pd.concat(sessions, ignore_index=True)
    if args.out:
        write_table(units, args.out)
    power = detected(units)
    report(power, units, sessions)
    if args.figure:
        draw(power[power["world"].eq(args.worlds[0])], args.figure)


def recovered(world: str, gain: float, seed: int, minutes: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a unit and method (score, best_khz, lag_ms, q), and one row a method (clusters), of one session."""
    plan = plan_of(gain=gain, duration_s=60 * minutes, **SIZES | WORLDS[world])
    session = simulated(seed, plan)
    columns = ["kind", "cluster", "best_hz", "low_hz", "high_hz", "lag_s", "baseline_hz"]
    truth = pd.DataFrame.from_dict(session.units, orient="index")[columns]
    song_s = (session.calls["stop_s"] - session.calls["start_s"]).sum()
    truth["signal"] = (gain - 1) * np.sqrt(truth["baseline_hz"] * song_s)  # that of pipeline/mapping/power.py
    planted = [(band["low_hz"] / 1e3, band["high_hz"] / 1e3) for band in bands_truth(plan)]
    tuning = tuned(session, seed)
    of_units, bands = tables(tuning, seed)
    parts = tuning["bout_part"].values.astype(str)
    found = {"Duet": (of_duet(of_units), clusters_of(bands, of_units["cluster"].to_numpy()))}
    found["single bins"] = (single_bins(session, seed), None)
    found |= regressions(session, parts, seed)
    units, rows = [], []
    for method, (scores, clusters) in found.items():
        labels = {"world": world, "gain": gain, "seed": seed, "method": method}
        units.append(truth.reset_index(names="unit_id").assign(**labels, **scores))
        if clusters is not None:
            rows.append(labels | judged(clusters, truth, planted))
    return pd.concat(units), pd.DataFrame(rows)


def of_duet(units: pd.DataFrame) -> dict[str, np.ndarray]:
    columns = ("best_khz", "low_khz", "high_khz", "lag_ms")
    return {"score": -units["p_band"].to_numpy(), "q": units["q_band"].to_numpy()} | {
        name: units[name].to_numpy() for name in columns
    }


def clusters_of(bands: pd.DataFrame, labels: np.ndarray) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Label of each unit, and low and high edge (kHz) of each cluster."""
    return labels, [(row.low_khz, row.high_khz) for row in bands.itertuples()]


def located_session(session):
    dt = Neural().bin_width_s
    calls = locate_calls(session.calls, to_session=np.asarray, bin_start_s=session.neural.start_s, bin_width_s=dt)
    rates, enough = smoothed(session.neural.counts, session.neural.valid, sd_bins=SMOOTHING_SD_S / dt)
    step, reach = round(LAG_STEP_S / dt), round(MAPPING.max_lag_s / dt)
    lags = np.arange(-(reach // step), reach // step + 1) * step
    return calls, Nuisance(calls), rates, enough, lags


def single_bins(session, seed: int) -> dict[str, np.ndarray]:
    calls, nuisance, rates, enough, lags = located_session(session)
    found = band_selectivity(
        calls,
        rates,
        enough,
        nuisance=nuisance,
        part=np.zeros(len(calls.bout_id), int),
        edges_hz=edges_hz(),
        lags=lags,
        bin_width_s=Neural().bin_width_s,
        n_surrogates=MAPPING.n_surrogates,
        n_surrogates_fine=MAPPING.n_surrogates_fine,
        generator=np.random.default_rng(seed),
        widths=(1,),
    )
    lag_ms = 1e3 * Neural().bin_width_s * found.lag
    return {"score": -found.p, "q": q_values(found.p), "lag_ms": lag_ms} | read_bands(found.z[2])


def read_bands(curves: np.ndarray) -> dict[str, np.ndarray]:
    """Best frequency and half-height edges, kHz, of curves (n_units, n_bands)."""
    found = peak_bands(curves, CENTRE_HZ, edges_hz())
    return {f"{new}_khz": found[f"{old}_hz"] / 1e3 for new, old in (("best", "peak"), ("low", "low"), ("high", "high"))}


def regressions(session, parts: np.ndarray, seed: int) -> dict[str, tuple[dict, tuple]]:
    """GLM, reduced-rank regression and PLS on band indicators at all lags."""
    calls, nuisance, rates, enough, lags = located_session(session)
    band = BandSums(calls, edges_hz()).bands()[0]
    indicators = np.zeros((len(rates), len(CENTRE_HZ) + 1), np.float32)
    indicators[calls.bin, band] = 1
    everywhere = np.ones(indicators.shape, bool)
    # The response of a bin may follow what sounded up to the longest lag before it, or precede it.
    columns = [lagged(indicators, everywhere, calls.bin, -lag)[0][:, :-1] for lag in lags]
    x = nuisance.remove(np.concatenate(columns, axis=1), np.ones((len(band), len(lags) * len(CENTRE_HZ)), bool))
    y = nuisance.remove(*lagged(rates, enough, calls.bin, 0))
    y /= np.maximum(y.std(axis=0), 1e-9)
    halves = [parts[calls.bout] == name for name in ("A", "B")]
    scores = {name: 0.0 for name in ("GLM", "reduced rank", "PLS")}
    for fit, held_out in (halves, halves[::-1]):
        for name, predict in regressed(x[fit], y[fit])[0].items():
            rest = np.square(y[held_out] - x[held_out] @ predict).sum(axis=0)
            scores[name] = scores[name] + 1 - rest / np.maximum(np.square(y[held_out]).sum(axis=0), 1e-9)
    weights, loadings = regressed(x, y)
    found = {}
    for name, score in scores.items():
        curves, lag = strongest(weights[name].T, lags)
        read = {"score": score, "q": np.nan, "lag_ms": 1e3 * Neural().bin_width_s * lag} | read_bands(curves)
        found[name] = (read, k_means(loadings[name], curves, score, seed) if name in loadings else None)
    return found


def regressed(x: np.ndarray, y: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Weights (n_features, n_units) of each method, and loadings (n_units, rank) of those that have few directions.

    Penalty and rank are those that predict the last fifth of the time best from what comes before.
    """
    n_first = int(0.8 * len(x))
    first, last = slice(n_first), slice(n_first, None)

    def rest(weights: np.ndarray) -> float:
        return np.square(y[last] - x[last] @ weights).sum()

    path = {penalty: ridge(x[first], y[first], penalty) for penalty in PENALTIES}
    penalty = min(path, key=lambda each: rest(path[each]))
    axes = directions(x[first] @ path[penalty])
    rank = min(RANKS, key=lambda r: rest(path[penalty] @ axes[:, :r] @ axes[:, :r].T))
    whole = ridge(x, y, penalty)
    axes = directions(x @ whole)[:, :rank]
    pls = PLSRegression(n_components=rank, scale=False).fit(x, y)
    weights = {"GLM": whole, "reduced rank": whole @ axes @ axes.T, "PLS": pls.coef_.T}
    return weights, {"reduced rank": axes, "PLS": pls.y_loadings_}


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    return Ridge(alpha=penalty, fit_intercept=False, solver="cholesky").fit(x, y).coef_.T


def directions(fitted: np.ndarray) -> np.ndarray:
    """Directions among the units (n_units, n) of what is predicted of them, the strongest first."""
    return np.linalg.svd(fitted, full_matrices=False)[2].T


def strongest(weights: np.ndarray, lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the bands at the lag of the largest one, (n_units, n_bands), and that lag (n_units,), bins."""
    at_lags = weights.reshape(len(weights), len(lags), -1)
    best = at_lags.max(axis=2).argmax(axis=1)
    return at_lags[np.arange(len(weights)), best], lags[best]


def k_means(loadings: np.ndarray, curves: np.ndarray, score: np.ndarray, seed: int):
    """Clusters of the units that held-out data speak for (score > 0), their number by the silhouette."""
    labels = np.full(len(loadings), -1)
    chosen = np.flatnonzero(score > 0)
    if len(chosen) < 4:
        return labels, []
    points = loadings[chosen] / np.maximum(np.linalg.norm(loadings[chosen], axis=1, keepdims=True), 1e-12)
    fits = [
        KMeans(k, n_init=10, random_state=seed).fit(points).labels_
        for k in range(2, min(MOST_CLUSTERS, len(chosen) - 1) + 1)
    ]
    labels[chosen] = max(fits, key=lambda fit: silhouette_score(points, fit))
    means = np.array([curves[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
    bands = read_bands(means)
    return labels, list(zip(bands["low_khz"], bands["high_khz"], strict=True))


def judged(clusters: tuple, truth: pd.DataFrame, planted: list[tuple[float, float]]) -> dict[str, float]:
    """Agreement of clusters (labels, bands in kHz) with the `planted` ones; units with two signs or bands aside."""
    labels, bands = clusters
    tuned, nothing = truth["kind"].eq("tuned").to_numpy(), truth["kind"].isin(NOT_SELECTIVE).to_numpy()
    assigned = (labels >= 0) & (tuned | nothing)
    true = np.where(tuned, truth["cluster"].to_numpy(int), len(planted) + np.arange(len(truth)))  # others: one each
    best = [max((overlap(*band, *own) for band in bands), default=0.0) for own in planted]
    return {
        "ari": adjusted_rand_score(true[assigned], labels[assigned]) if assigned.any() else np.nan,
        "assigned": assigned[tuned].mean(),
        "forced": assigned[nothing].mean(),
        "iou": float(np.median(best)),
        "planted": len(planted),
        "n_clusters": labels.max(initial=-1) + 1,
    }


def detected(units: pd.DataFrame) -> pd.DataFrame:
    """Power of each method, gain and seed at the false-positive rate that all share, and by q."""
    rows = []
    for (world, gain, method), group in units.groupby(LEVELS, sort=False):
        # among equal scores, as p at its floor, none is preferred
        threshold = np.quantile(group.loc[group["kind"].isin(NOT_SELECTIVE), "score"], 1 - FALSE_POSITIVES)
        for seed, one in group[group["kind"].eq("tuned")].groupby("seed"):
            passed = one["score"] > threshold
            error_khz = (one["best_khz"] - one["best_hz"].astype(float) / 1e3).abs()[passed].median()
            error_ms = (one["lag_ms"] - one["lag_s"].astype(float) * 1e3).abs()[passed].median()
            iou = [overlap(r.low_khz, r.high_khz, r.low_hz / 1e3, r.high_hz / 1e3) for r in one[passed].itertuples()]
            rows.append(
                {
                    "world": world,
                    "gain": gain,
                    "method": method,
                    "seed": seed,
                    "power": passed.mean(),
                    "power_q": (one["q"] <= MAPPING.q).mean() if one["q"].notna().any() else np.nan,
                    "peak_error_khz": error_khz,
                    "lag_error_ms": error_ms,
                    "unit_iou": np.nanmedian(iou) if iou else np.nan,
                }
            )
    return pd.DataFrame(rows)


def report(power: pd.DataFrame, units: pd.DataFrame, sessions: pd.DataFrame) -> None:
    n_seeds = power["seed"].nunique()
    print(f"\nMean ± standard error over {n_seeds} seeds; power at {FALSE_POSITIVES:.0%} false positives.\n")
    measures = {"power_q": "power at q <= 0.05", "peak_error_khz": "peak error kHz", "lag_error_ms": "lag error ms"}
    table(power, {"power": "power"} | measures | {"unit_iou": "unit IoU"})
    false = units[units["kind"].isin(NOT_SELECTIVE) & units["q"].notna()].assign(false=lambda t: t["q"] <= MAPPING.q)
    by_seed = false.groupby([*LEVELS, "seed"], sort=False)["false"].mean().reset_index()
    table(by_seed, {"false": "units without a band at q <= 0.05"})
    found = units[units["method"].eq("Duet") & units["kind"].eq("tuned")]
    for world, group in found.groupby("world", sort=False):
        passed = group["q"].le(MAPPING.q)
        if 0 < passed.sum() < len(group):
            line = LogisticRegression(C=1e6).fit(group[["signal"]], passed)
            half = -line.intercept_[0] / line.coef_[0, 0]
            print(f"\n{world}: half of the units are found at (gain - 1) sqrt(spikes expected in song) = {half:.1f}")
    measures = {"ari": "cluster ARI", "assigned": "tuned units in a cluster", "forced": "others in one"}
    table(sessions, measures | {"iou": "cluster IoU", "planted": "clusters planted", "n_clusters": "found"})


def table(rows: pd.DataFrame, columns: dict[str, str]) -> None:
    """Print means of `columns` by world, gain and method under the headings that these give."""
    print("\n| " + " | ".join([*LEVELS, *columns.values()]) + " |\n" + "|---" * (len(LEVELS) + len(columns)) + "|")
    for (world, gain, method), group in rows.groupby(LEVELS, sort=False):
        cells = " | ".join(shown(group[name]) for name in columns)
        print(f"| {world} | {gain:g} | {method} | {cells} |")


def shown(values: pd.Series) -> str:
    values = values.dropna()
    if not len(values):
        return "-"
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():.2f} ± {error:.2f}"


def draw(power: pd.DataFrame, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    for method, group in power.groupby("method", sort=False):
        by_gain = group.groupby("gain")["power"]
        error = by_gain.std(ddof=1) / np.sqrt(by_gain.count())
        axes.errorbar(by_gain.mean().index, by_gain.mean(), error, marker="o", capsize=2, label=method)
    axes.axhline(FALSE_POSITIVES, color="0.6", lw=0.8, ls=":")
    axes.set(xlabel="gain at the best frequency", ylabel="tuned units found", ylim=(0, 1.02))
    axes.set_title(f"at {FALSE_POSITIVES:.0%} false positives", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
