"""False positives of Duet's p values and tables where there is nothing to find.

    python benchmarks/calibration.py [--sessions 20] [--units 200] [--minutes 20] [--processes 1] [--out TABLE.csv]

Sessions of each null scenario are simulated without files (`pipeline.simulation.counts`) and mapped by default
settings. For every p value the share at or below 0.05 over units (mean over sessions, standard error over sessions);
for tables the share of sessions that hold anything at q <= 0.05. The band of a cluster is only tested where units were
clustered, which hardly ever happens; so it is also tested for groups, as if they were clusters: five units
at random, and three by three the 5 % that the whole session makes look most selective, by their peak in part A (those
groups are there because of part B too, and only the choice of who votes keeps their p honest). Coupling profiles are
drawn at random (smooth over bands), as a model that learned nothing of the held-out spikes could bring forth. In the
scenarios of movement all units follow running speed, which goes with singing; in that of four animals the units of a
session are dealt out to four, and the groups hold five of each. "Six sessions" stands for ten jobs of six sessions of
10 minutes whose song fades while units drift, and counts the jobs in which session permutation finds a link. In the
"continuum" the best frequencies of two thirds of the units fill the range evenly: one cluster is the truth, and what
counts is how often it is refused.
Prints a table in Markdown; `--out` keeps one row a session as they come, and a call that finds it goes on from there.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d
from simulated import MAPPING, NAME, each, options, plan_of, simulated, tables, tuned

from pipeline.mapping.cluster_bands import Members, describe_cluster
from pipeline.mapping.clusters import NONE, Clustering
from pipeline.mapping.controls import CONTROLS, LEVELS
from pipeline.mapping.coupling import held_out_p
from pipeline.mapping.songs import followed_songs, session_permutation
from pipeline.mapping.units import Tunings, cluster_table, votes
from pipeline.storage import read_table, write_table

NOMINAL = 0.05
SCENARIOS = {
    "stationary": {"scenario": "unrelated", "drift_sd": 0.0, "habituation": 1.0},
    "drift": {"scenario": "unrelated", "habituation": 1.0},
    "habituation and drift": {"scenario": "drift_and_habituation", "habituation": 6.0},
    "any vocalization": {"scenario": "vocal_only"},
    "another session": {"scenario": "other_session", "gain": 3.0},
    "drift, four animals": {"scenario": "unrelated", "habituation": 1.0},
    "six sessions": {"scenario": "drift_and_habituation"},
    "continuum": {"tuning": "continuum", "gain": 3.0},
    "movement, not given": {"movement_correlation": 0.6},
    "movement, given as covariate": {"movement_correlation": 0.6},
}
SPEED_GIVEN = "movement, given as covariate"
N_ANIMALS = {"drift, four animals": 4}
SIX_SESSIONS = "six sessions"
CONTINUUM = "continuum"
N_JOBS = 10
VOCAL_IS_TRUE = {"any vocalization"}
GROUP = 5  # units
SELECTED_SHARE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=20, help="sessions of each scenario")
    parser.add_argument("--units", type=int, default=200, help="units of a session")
    parser.add_argument("--minutes", type=float, default=20, help="length of a session, min")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--scenarios", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--out", type=Path, help="table with one row a session")
    args = parser.parse_args()
    rows = read_table(args.out).to_dict("records") if args.out and args.out.exists() else []
    done = {(row["scenario"], row["seed"]) for row in rows}
    jobs = [(name, seed, args.units, args.minutes) for seed in range(args.sessions) for name in args.scenarios]
    for row in each(false_positives, [job for job in jobs if job[:2] not in done], n_processes=args.processes):
        rows.append(row)
        if args.out:
            write_table(pd.DataFrame(rows), args.out)
    report(pd.DataFrame(rows))


def false_positives(scenario: str, seed: int, n_units: int, minutes: float) -> dict:
    """Shares of p <= 0.05 in one session, and whether its tables hold anything at q <= 0.05."""
    rng = np.random.default_rng(seed)
    row = {"scenario": scenario, "seed": seed, "units": n_units}
    if scenario == SIX_SESSIONS:
        return row | {"session permutation": share([song_p(N_JOBS * seed + job) for job in range(N_JOBS)])}
    if (n_animals := N_ANIMALS.get(scenario, 1)) > 1:
        plan = plan_of(
            duration_s=60 * minutes,
            units_per_band=0,
            n_vocal=0,
            n_unrelated=n_units // n_animals,
            **SCENARIOS[scenario],
        )
        animals = [tuned(simulated(n_animals * seed + i, plan), seed) for i in range(n_animals)]
        return row | {"band of a cluster": share(group_p(animals, rng))}
    moving = "movement_correlation" in SCENARIOS[scenario]
    each_kind = 0 if moving else n_units // 6
    n_others = n_units - 5 * each_kind
    plan = plan_of(
        duration_s=60 * minutes,
        units_per_band=each_kind,
        n_vocal=each_kind,
        n_movement=n_others if moving else 0,
        n_unrelated=0 if moving else n_others,
        **SCENARIOS[scenario],
    )
    session = simulated(seed, plan)
    tuning = tuned(session, seed, speed_given=scenario == SPEED_GIVEN)
    units, bands = tables(tuning, seed)
    if scenario == CONTINUUM:
        return row | {"one cluster": share(bands["p_one_cluster"].iloc[:1])}
    controls = tuning["control_fraction"].to_pandas().stack()
    row["vocal modulation"] = share(units["p_vocal"])
    row["band selectivity"] = share(units["p_band"])
    row["coupling"] = share(held_out_p(random_profiles(rng, tuning), tuning, list(units["unit_id"]))[0])
    row["band of a cluster"] = share(group_p([tuning], rng))
    row["band of selected units"] = share(selected_p(tuning, units, rng))
    row |= {f"control {control}, {level}": controls[control, level] for control in CONTROLS for level in LEVELS}
    row["any unit, vocal"] = (units["q_vocal"] <= MAPPING.q).any()
    row["any unit, band"] = (units["q_band"] <= MAPPING.q).any()
    row["any cluster"] = len(bands) > 0 and bool((bands["q"] <= MAPPING.q).any())
    return row


def song_p(job: int) -> float:
    """p of session permutation of six short sessions without a link."""
    plan = plan_of(duration_s=600, units_per_band=4, n_vocal=4, n_unrelated=10, **SCENARIOS[SIX_SESSIONS])
    sessions = {f"mouse{i}": simulated(6 * job + i, plan) for i in range(6)}
    songs = {name: session.calls for name, session in sessions.items()}
    followed = {
        name: followed_songs(session.neural, songs, to_session=np.asarray, options=options(job, session=name))
        for name, session in sessions.items()
    }
    return session_permutation(followed, generator=np.random.default_rng(job)).p


def share(p) -> float:
    p = np.asarray(p, float)
    return float((p[np.isfinite(p)] <= NOMINAL).mean())


def random_profiles(rng: np.random.Generator, tuning) -> np.ndarray:
    return gaussian_filter1d(rng.standard_normal((tuning.sizes["unit"], tuning.sizes["band"])), 1.5, axis=1)


def group_p(animals: list, rng: np.random.Generator) -> list[float]:
    """p of the bands of random groups of units, some of each animal; `animals`: the tuning of each."""
    grid = Tunings({"session": animals[0]})
    sizes = [tuning.sizes["unit"] for tuning in animals]
    dealt = [np.array_split(rng.permutation(size), min(sizes) // GROUP) for size in sizes]
    p = []
    for group in zip(*dealt, strict=True):
        members = [Members(*one, f"animal{i}") for i, one in enumerate(zip(animals, group, strict=True))]
        bounds = {"centre_hz": grid.centre_hz, "edges_hz": grid.edges_hz, "n_bootstrap": 1, "generator": rng}
        p.append(describe_cluster(members, members, **bounds)[0]["p"])
    return p


def selected_p(tuning, units: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """p of the bands of the units that look most selective over the whole session, grouped by their peak in part A."""
    tunings = Tunings({NAME: tuning})
    order = np.lexsort((-tuning["band_statistic"].values, units["p_band"]))
    size = MAPPING.min_cluster_units
    best = order[: max(size, round(SELECTED_SHARE * len(units)))]
    peak = np.nan_to_num(tuning["tuning_z"].sel(part="A").values[best], nan=-np.inf).argmax(axis=1)
    cluster = np.full(len(units), NONE)
    for number, group in enumerate(np.array_split(best[np.argsort(peak, kind="stable")], len(best) // size)):
        cluster[group] = number
    table = cluster_table(
        tunings,
        units.assign(cluster=cluster, votes_for=votes(tunings, cluster, max_lag_s=MAPPING.max_lag_s)),
        Clustering(cluster, cluster.max() + 1, np.nan),
        subjects={NAME: NAME},
        clips=[],
        n_bootstrap=1,
        generator=rng,
    )
    return table.loc[table["run"].eq(0), "p"].to_numpy()


def report(rows: pd.DataFrame) -> None:
    measures = [name for name in rows.columns if name not in ("scenario", "seed", "units")]
    groups = rows.groupby("scenario", sort=False)
    print(f"\n{len(rows)} sessions of {rows['units'].iloc[0]} units; false positives at {NOMINAL:g}, %\n")
    print("| test | " + " | ".join(f"{name} ({len(group)})" for name, group in groups) + " |")
    print("|---|" + "---|" * len(groups))
    for measure in measures:
        if rows[measure].isna().all():  # no other session's song here
            continue
        cells = []
        for name, group in groups:
            values = group[measure].astype(float)
            error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
            true = name in VOCAL_IS_TRUE and measure in ("vocal modulation", "any unit, vocal")
            shown = f"{100 * values.mean():.1f} ± {100 * error:.1f}" if values.notna().any() else "-"
            cells.append("(true)" if true else shown)
        print(f"| {measure} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
