"""What naive analyses find where there is nothing to find, beside Duet on the same simulated sessions.

    python benchmarks/traps.py [--sessions 10] [--units 160] [--minutes 20] [--processes 1]

Sessions are simulated without files (`pipeline.simulation.counts`) and mapped by default settings. Four traps:

- a song that fades while units drift, no link: sound against spikes, with shuffled bins and with circular shifts of the
  series as they are, beside `p_vocal`;
- units that fire to any call: bands against spikes, with calls shuffled over the session and with the pitch of a bout
  rolled along it, responses as they are, beside `p_band`;
- the first kind again: R2 of sound decoded from spikes by nearest neighbours, in folds that are shuffled and in Duet's
  blocks with guards;
- eight tuned units among many others: how many are found at q <= 0.05 with one stage of surrogates and with two.

Two more traps are measured elsewhere: spike times on the edges of bins in `benchmarks/binning.py`, latents that a
rotation changes in tests/mapping/test_coupling.py. Prints a table in Markdown.
"""

import argparse

import numpy as np
import pandas as pd
from calibration import SCENARIOS, share
from recovery import located_session
from simulated import MAPPING, each, edges_hz, plan_of, simulated, tables, tuned
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from pipeline.clipping.splits import affordable_splits, blocks_of_time
from pipeline.config import Clips, Neural
from pipeline.mapping.band_sums import WIDTHS, BandSums, over_windows
from pipeline.mapping.nulls import correlations_at_shifts, permutation_p, q_values, shift_candidates
from pipeline.mapping.responses import lagged
from pipeline.mapping.stages import first_stage
from pipeline.mapping.tuning import MIN_SOUND_S, band_p

N_SURROGATES = 199
SHORTEST_SHIFT_S = 5.0
WINDOW_S, STEP_S = 0.5, 0.1
N_NEIGHBOURS = 5
N_TUNED = 8
BIN_WIDTH_S = Neural().bin_width_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=10, help="sessions of each kind")
    parser.add_argument("--units", type=int, default=160, help="units of a session")
    parser.add_argument("--minutes", type=float, default=20, help="length of a session, min")
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args()
    kinds = (fading_song, any_call, few_tuned)
    jobs = [(kind, seed, args.units, 60 * args.minutes) for kind in kinds for seed in range(args.sessions)]
    rows = pd.concat([pd.DataFrame(found) for found in each(measured, jobs, n_processes=args.processes)])
    print(f"\nMean ± standard error over {args.sessions} sessions of {args.units} units.\n")
    print("| trap | way | measured |\n|---|---|---|")
    for (trap, way, unit), values in rows.groupby(["trap", "way", "unit"], sort=False)["value"]:
        scale = 100 if unit == "%" else 1
        error = values.std(ddof=1) / np.sqrt(len(values))
        print(f"| {trap} | {way} | {scale * values.mean():.3g} ± {scale * error:.2g} {unit} |")


def measured(kind, seed: int, n_units: int, duration_s: float) -> list[dict]:
    return [dict(zip(("trap", "way", "unit", "value"), row, strict=True)) for row in kind(seed, n_units, duration_s)]


def fading_song(seed: int, n_units: int, duration_s: float):
    """A song that fades while units drift: links by correlation, and decoding."""
    nobody = {"units_per_band": 0, "n_vocal": 0, "n_unrelated": n_units, "duration_s": duration_s}
    session = simulated(seed, plan_of(**nobody, **SCENARIOS["habituation and drift"]))
    rng = np.random.default_rng(seed)
    counts = session.neural.counts.astype(np.float32)
    counts -= counts.mean(axis=0)
    sound = sounding(session)
    centred = sound - sound.mean()
    observed = (centred @ counts) ** 2
    shuffled = np.array([(rng.permutation(centred) @ counts) ** 2 for _ in range(N_SURROGATES)])
    trap = "song fades, units drift: linked units"
    yield trap, "shuffled bins", "%", share(permutation_p(observed, shuffled))
    shortest = round(SHORTEST_SHIFT_S / BIN_WIDTH_S)
    shifts = shift_candidates(len(sound), shortest=shortest, n_shifts=N_SURROGATES)
    shifted = correlations_at_shifts(centred, counts)[shifts] ** 2
    yield trap, "circular shifts", "%", share(permutation_p(observed, shifted))
    yield trap, "Duet, p_vocal", "%", share(tables(tuned(session, seed), seed)[0]["p_vocal"])
    trap = "the same: sound decoded from spikes"
    for way, r2 in decoded(session.neural.counts, sound, seed).items():
        yield trap, way, "R2", r2


def sounding(session) -> np.ndarray:
    """1 in bins inside calls, else 0, (n_bins,)."""
    edges = np.searchsorted(session.neural.start_s, session.calls[["start_s", "stop_s"]].to_numpy(float))
    sound = np.zeros(len(session.neural.start_s), np.float32)
    for first, last in edges:
        sound[first:last] = 1
    return sound


def decoded(counts: np.ndarray, sound: np.ndarray, seed: int) -> dict[str, float]:
    """Held-out R2 of the share of windows that sounds, from the counts of all units in them."""
    width, step = round(WINDOW_S / BIN_WIDTH_S), round(STEP_S / BIN_WIDTH_S)
    first = np.arange(0, len(sound) - width, step)
    x, y = (
        np.add.reduceat(values, np.column_stack([first, first + width]).ravel(), axis=0)[::2]
        for values in (counts.astype(np.float32), sound)
    )
    x /= np.maximum(x.std(axis=0), 1e-9)
    model, split = KNeighborsRegressor(N_NEIGHBOURS), Clips().split
    start_s = first * BIN_WIDTH_S
    roles, _ = affordable_splits(
        blocks_of_time(start_s, n_blocks=split.n_blocks),
        start_s,
        start_s + WINDOW_S,
        validation_fraction=split.validation_fraction,
        test_fraction=split.test_fraction,
        guard_s=split.guard_s,
        seed=seed,
        session="windows",
    )
    train, test = roles == "train", roles == "test"
    shuffled = cross_val_predict(model, x, y, cv=KFold(5, shuffle=True, random_state=seed))
    in_blocks = model.fit(x[train], y[train]).predict(x[test])
    return {
        "shuffled folds": r2_score(y, shuffled),
        "Duet's blocks with guards": r2_score(y[test], in_blocks),
    }


def any_call(seed: int, n_units: int, duration_s: float):
    """Units that fire to any call, and not to bands."""
    plan = plan_of(units_per_band=0, n_vocal=n_units, n_unrelated=0, duration_s=duration_s, scenario="vocal_only")
    session = simulated(seed, plan)
    rng = np.random.default_rng(seed)
    calls, _, rates, enough, lags = located_session(session)
    sums = BandSums(calls, edges_hz())
    everywhere = np.array(
        [
            sums.band_of_contour[rng.permutation(len(calls.call_bout))[calls.call], calls.position]
            for _ in range(N_SURROGATES)
        ]
    )
    bouts = np.split(sums.bands()[0], np.flatnonzero(np.diff(calls.bout)) + 1)
    rolled = [np.concatenate([np.roll(bout, rng.integers(len(bout))) for bout in bouts]) for _ in range(N_SURROGATES)]
    response = np.stack([lagged(rates, enough, calls.bin, lag)[0] for lag in lags])
    response -= response.mean(axis=1, keepdims=True)
    tested = over_windows(sums.sizes(sums.bands())[0], WIDTHS)[0] * BIN_WIDTH_S >= MIN_SOUND_S
    observed = sums.scores(sums.bands(), response)[1][0, 0]
    trap = "units fire to any call: selective units"
    for way, bands in {"calls shuffled": everywhere, "pitch rolled in its bout": np.array(rolled)}.items():
        drawn = np.concatenate([sums.scores(one[None], response)[1][:, 0] for one in bands])
        yield trap, way, "%", share(first_stage(observed, drawn, tested).p)
    yield trap, "Duet, p_band", "%", share(tables(tuned(session, seed), seed)[0]["p_band"])


def few_tuned(seed: int, n_units: int, duration_s: float):
    """A few tuned units among many others."""
    plan = plan_of(
        units_per_band=N_TUNED // 4, n_vocal=0, n_unrelated=n_units - N_TUNED, duration_s=duration_s, gain=3.0
    )
    session = simulated(seed, plan)
    is_tuned = np.array([unit["kind"] == "tuned" for unit in session.units.values()])
    calls, nuisance, rates, enough, lags = located_session(session)
    p = band_p(
        calls,
        rates,
        enough,
        nuisance=nuisance,
        edges_hz=edges_hz(),
        lags=lags,
        bin_width_s=BIN_WIDTH_S,
        n_surrogates=N_SURROGATES,
        generator=np.random.default_rng(seed),
    )
    trap = f"{N_TUNED} tuned units among {n_units}: found at q <= {MAPPING.q:g}"
    q = tables(tuned(session, seed), seed)[0]["q_band"].to_numpy()
    for way, found in {f"{N_SURROGATES} surrogates": q_values(p), "Duet, two stages": q}.items():
        yield trap, way, "tuned", (found[is_tuned] <= MAPPING.q).sum()
        yield trap, way, "others", (found[~is_tuned] <= MAPPING.q).sum()


if __name__ == "__main__":
    main()
