"""Sessions as counts and calls in memory: the same songs and units as the files have, in seconds instead of minutes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.covariates import Covariates
from pipeline.errors import InputError
from pipeline.mapping.tuning_file import Counts
from pipeline.seeds import numpy_generator
from pipeline.simulation.detected import detected_calls
from pipeline.simulation.firing import Heard, draw_counts
from pipeline.simulation.movement import SPEED_RATE_HZ, running_speed
from pipeline.simulation.nwb_file import SPEED_SERIES
from pipeline.simulation.plan import Plan, draw_cast
from pipeline.simulation.truth import unit_truth


@dataclass(frozen=True)
class CountedSession:
    """A session whose audio and session clocks are equal.

    `neural`: counts from time 0, (n_bins, n_units), all valid; `calls`: as the detector measures them, like
    calls.parquet; `units`: by unit_id, as in truth.json; `speed`: running speed, as in covariates.nc.
    """

    neural: Counts
    calls: pd.DataFrame
    units: dict[str, dict]
    speed: Covariates


def simulate_counts(name: str, *, seed: int, plan: Plan, bin_width_s: float) -> CountedSession:
    """Simulate the session `name`, with the songs and units that `simulate_session` gives it, without any files.

    `bin_width_s` is a whole number of milliseconds. What depends on the sound itself (`plan.rate_hz`, `harmonic_db`)
    has no effect; `noise_db` decides which calls are found.
    """
    if abs(1000 * bin_width_s - round(1000 * bin_width_s)) > 1e-6 or bin_width_s < 5e-4:
        raise InputError("bins must be whole milliseconds wide", where="simulate_counts", found=f"{bin_width_s:g} s")
    cast = draw_cast(name, seed=seed, plan=plan)
    clock = {"offset_s": 0.0, "drift_ppm": 0.0}
    speed_m_s = running_speed(
        cast.calls,
        duration_s=plan.duration_s,
        correlation=plan.movement_correlation,
        generator=numpy_generator(seed, name, "movement"),
        **clock,
    )
    heard = Heard.of(cast.heard_calls, **clock)
    n_bins = int(plan.duration_s / bin_width_s + 1e-6)
    counts = [
        draw_counts(
            unit,
            heard,
            speed_m_s=speed_m_s,
            n_bins=n_bins,
            bin_width_s=bin_width_s,
            drift_sd=plan.drift_sd,
            generator=numpy_generator(seed, name, "spikes", row),
        ).astype(np.uint16)
        for row, unit in enumerate(cast.units)
    ]
    counts = np.array(counts, np.uint16).reshape(-1, n_bins).T.copy()
    start_s = bin_width_s * np.arange(n_bins)
    sample_s = np.arange(len(speed_m_s)) / SPEED_RATE_HZ
    speed = np.interp(start_s + bin_width_s / 2, sample_s, speed_m_s).astype(np.float32)
    units = {f"{name}|units|{row}": unit_truth(unit, plan) for row, unit in enumerate(cast.units)}
    return CountedSession(
        neural=Counts(counts, np.ones(counts.shape, bool), start_s, bin_width_s, list(units)),
        calls=detected_calls(cast.all_calls, noise_db=plan.noise_db, generator=numpy_generator(seed, name, "detector")),
        units=units,
        speed=Covariates([SPEED_SERIES.rsplit("/", 1)[-1]], ["m/s"], speed[:, None], start_s, bin_width_s),
    )
