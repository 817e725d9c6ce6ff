"""Traces on the grid of a session: where they count, and which take part."""

import numpy as np

from pipeline.errors import InputError
from pipeline.neural.grid import Grid, grid_over
from pipeline.neural.recording import Traces
from pipeline.neural.unit_table import Observed

MAX_BYTES = 2**34


def sample_traces(traces: Traces, *, audio_s: np.ndarray, bin_width_s: float, where: str) -> Observed:
    """Traces in the bins of a grid over the audio, or, without any, over what was recorded.

    `audio_s`: Shape (n_files, 2), session seconds. A bin is valid where it lies wholly in the audio (if there is any),
    touches no invalid time, and has a value. Rates mean nothing for traces and are NaN.
    """
    n = len(traces)
    common = {"bin_width_s": bin_width_s, "n_units": n, "where": where}
    if len(audio_s):
        grid = grid_over(audio_s.min(), audio_s.max(), closed=False, **common)
    else:
        grid = grid_over(traces.start_s, traces.stop_s, closed=True, **common)
    if grid.n_bins * n * 4 > MAX_BYTES:
        raise InputError(
            "the traces would take too much memory",
            where=where,
            found=f"{grid.n_bins} bins of {n} traces, {grid.n_bins * n * 4e-9:.3g} GB",
            allowed=f"up to {MAX_BYTES * 1e-9:.3g} GB",
            mend="a larger neural.bin_width_s: not shorter than the frames",
        )
    values = traces.on_grid(grid)
    heard = grid.inside(audio_s) if len(audio_s) else np.ones(grid.n_bins, bool)
    values[~(heard & ~grid.touched(traces.invalid_times_s))] = np.nan
    valid = np.isfinite(values)
    n_valid = np.count_nonzero(valid, axis=0)
    reasons = [traces.excluded[unit] or _exclusion(values[:, unit], traces, grid) for unit in range(n)]
    chosen = [unit for unit in range(n) if not reasons[unit]]
    if len(chosen) < n:
        values, valid = values[:, chosen], valid[:, chosen]
    return Observed(
        grid=grid,
        kind="traces",
        unit=traces.unit,
        table=traces.table,
        nwb_id=traces.nwb_id,
        region=traces.region,
        values=values,
        valid=valid,
        recorded_s=(traces.start_s, traces.stop_s),
        exclusion_reason=reasons,
        n_spikes=np.zeros(n, int),
        rate_hz=np.full(n, np.nan),
        observed_s=n_valid * bin_width_s,
    )


def _exclusion(values: np.ndarray, traces: Traces, grid: Grid) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "no value in the time that is analysed"
    if known.min() == known.max():
        return f"flat: always {known[0]:g} {traces.unit}"
    return ""
