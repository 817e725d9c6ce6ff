"""Simulated sessions without files (`pipeline.simulation.counts`), and the model-free tables of them."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.clipping.splits import affordable_splits, blocks_of_bouts
from pipeline.config import Audio, Clips, Mapping, Neural, Simulation
from pipeline.mapping.bands import band_grid_hz
from pipeline.mapping.profile import profile_calls
from pipeline.mapping.tuning_file import Options
from pipeline.mapping.units import Tunings, assign_clusters, cluster_table, unit_table
from pipeline.seeds import numpy_generator
from pipeline.simulation.counts import CountedSession, simulate_counts
from pipeline.simulation.plan import Plan

MAPPING = Mapping()
NAME = "mouse1"
NOT_OF_A_PLAN = {"out_dir", "n_sessions", "sessions_per_animal"}


def plan_of(**changes) -> Plan:
    """The default simulation but for `changes`."""
    return Plan(**Simulation(**changes).model_dump(exclude=NOT_OF_A_PLAN))


def simulated(seed: int, plan: Plan) -> CountedSession:
    return simulate_counts(NAME, seed=seed, plan=plan, bin_width_s=Neural().bin_width_s)


def options(seed: int, *, session: str = NAME) -> Options:
    """Options of `duet tune` by default settings."""
    return Options(
        n_surrogates=MAPPING.n_surrogates,
        n_surrogates_fine=MAPPING.n_surrogates_fine,
        n_bootstrap=MAPPING.n_bootstrap,
        max_lag_s=MAPPING.max_lag_s,
        seed=seed,
        session=session,
    )


def edges_hz() -> np.ndarray:
    """Edges of the tuning bands by default settings."""
    audio = Audio()
    return band_grid_hz(np.empty(0), low_hz=audio.low_hz, high_hz=audio.high_hz, width_hz=MAPPING.band_hz, linear=True)


def tuned(session: CountedSession, seed: int, *, speed_given: bool = False) -> xr.Dataset:
    """tuning.nc of a session by default settings; calls stand for clips in its split.

    `speed_given`: running speed is a covariate.
    """
    calls, split = session.calls, Clips().split
    start_s, stop_s = (calls[name].to_numpy(float) for name in ("start_s", "stop_s"))
    roles, _ = affordable_splits(
        blocks_of_bouts(calls["bout"].to_numpy(int), n_blocks=split.n_blocks),
        start_s,
        stop_s,
        validation_fraction=split.validation_fraction,
        test_fraction=split.test_fraction,
        guard_s=split.guard_s,
        seed=seed,
        session=NAME,
    )
    tuning = profile_calls(
        session.neural.beside(session.speed) if speed_given else session.neural,
        calls,
        to_session=np.asarray,
        clip_start_s=start_s,
        clip_split=roles,
        edges_hz=edges_hz(),
        options=options(seed),
    )
    tuning.attrs["subject"] = NAME
    tuning["region"] = ("unit", np.full(tuning.sizes["unit"], "", object))
    return tuning


def tables(tuning: xr.Dataset, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`unit_clusters` and `cluster_bands` of a session without a model."""
    tunings = Tunings({NAME: tuning})
    units = unit_table(tunings, q=MAPPING.q)
    nothing = np.zeros((len(units), len(tunings.centre_hz)))
    units, clustering = assign_clusters(
        tunings,
        units,
        nothing,
        np.zeros(len(units), bool),
        q=MAPPING.q,
        n_consensus=MAPPING.n_consensus,
        max_clusters=MAPPING.max_clusters,
        min_units=MAPPING.min_cluster_units,
        max_lag_s=MAPPING.max_lag_s,
        seed=seed,
    )
    bands = cluster_table(
        tunings,
        units,
        clustering,
        subjects={NAME: NAME},
        clips=[],
        n_bootstrap=MAPPING.n_bootstrap,
        generator=numpy_generator(seed, "cluster bands"),
    )
    return units, bands


def each(work: Callable, jobs: Iterable[tuple], *, n_processes: int) -> Iterator:
    """`work(*job)` of every job, in order."""
    if n_processes == 1:
        yield from (work(*job) for job in jobs)
        return
    with ProcessPoolExecutor(n_processes) as pool:
        for job in [pool.submit(work, *job) for job in jobs]:
            yield job.result()
