"""units.parquet: every unit of a session, whether it takes part, and what was left out."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pipeline.neural.grid import Grid

DROP_REASONS = ("nonfinite", "duplicate", "outlier", "no_audio", "unobserved", "invalid_times")
UNIT_COLUMNS = {
    "unit_id": "str",
    "session": "str",
    "subject": "str",
    "nwb_id": "str",
    "region": "str",
    "n_spikes": "int64",
    "rate_hz": "float64",
    "observed_s": "float64",
    "n_dropped": "int64",
    **{f"n_dropped_{reason}": "int64" for reason in DROP_REASONS},
    "included": "bool",
    "exclusion_reason": "str",
}


@dataclass
class Observed:
    """What was found of the units on a grid.

    `values`, `valid`   Shape (n_bins, n_included): counts or traces, and where they count.
    `exclusion_reason`  one text a unit of the file, "" where it is included.
    `n_spikes`, `rate_hz`, `observed_s`, `n_dropped[reason]`  Shape (n_units,), of all units of the file.
    `recorded_s`        when anything of the units was recorded, session seconds; NaN: never.
    """

    grid: Grid
    kind: str
    unit: str
    table: str
    nwb_id: list[str]
    region: list[str]
    values: np.ndarray
    valid: np.ndarray
    recorded_s: tuple[float, float]
    exclusion_reason: list[str]
    n_spikes: np.ndarray
    rate_hz: np.ndarray
    observed_s: np.ndarray
    n_dropped: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def nothing(cls, grid: Grid) -> "Observed":
        """A session without neural recording."""
        none = np.zeros((grid.n_bins, 0))
        return cls(
            grid=grid,
            kind="spikes",
            unit="1",
            table="units",
            nwb_id=[],
            region=[],
            values=none.astype(np.uint8),
            valid=none.astype(bool),
            recorded_s=(np.nan, np.nan),
            exclusion_reason=[],
            n_spikes=np.zeros(0, int),
            rate_hz=np.zeros(0),
            observed_s=np.zeros(0),
        )


def unit_table(observed: Observed, *, session: str, subject: str) -> pd.DataFrame:
    """One row a unit of the file, in its order; columns as in the data dictionary."""
    n_units = len(observed.nwb_id)
    dropped = {name: observed.n_dropped.get(name, np.zeros(n_units, int)) for name in DROP_REASONS}
    table = pd.DataFrame(
        {
            "unit_id": [f"{session}|{observed.table}|{row}" for row in range(n_units)],
            "session": [session] * n_units,
            "subject": [subject] * n_units,
            "nwb_id": observed.nwb_id,
            "region": observed.region,
            "n_spikes": observed.n_spikes,
            "rate_hz": observed.rate_hz,
            "observed_s": observed.observed_s,
            "n_dropped": sum(dropped.values()),
            **{f"n_dropped_{name}": n for name, n in dropped.items()},
            "included": [not reason for reason in observed.exclusion_reason],
            "exclusion_reason": observed.exclusion_reason,
        },
        columns=list(UNIT_COLUMNS),
    )
    return table.astype(UNIT_COLUMNS)
