"""Example calls, from low to high

One call from each eighteenth of the calls ranked by peak frequency, always the one found with most confidence, all on
the same scales: grey is dB above the noise floor, the line is the frequency contour that was traced.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.report.results import NoData, Results
from pipeline.report.style import CLUSTER_COLOURS, khz, new_figure

PLACE = 30
N_ROWS, N_COLUMNS = 3, 6
MARGIN_S = 0.015


def draw(results: Results) -> Figure:
    """Spectrogram cut-outs of calls that span the repertoire."""
    parts = [results.calls(s.name).assign(session=s.name) for s in results.sessions if len(results.calls(s.name))]
    parts = [part for part in parts if results.spectrogram(part["session"].iloc[0]) is not None]
    calls = pd.concat(parts, ignore_index=True).dropna(subset=["peak_hz"]) if parts else pd.DataFrame()
    if calls.empty:
        raise NoData("No calls were detected or annotated.")
    chosen = _span(calls, N_ROWS * N_COLUMNS)
    spectrograms = {name: results.spectrogram(name) for name in chosen["session"].unique()}
    length_s = float(np.quantile(chosen["duration_s"], 0.9)) + 2 * MARGIN_S
    n_rows = -(-len(chosen) // N_COLUMNS)
    figure = new_figure(0.35 + 1.15 * n_rows)
    grid = figure.subplots(n_rows, N_COLUMNS, sharex=True, sharey=True, squeeze=False)
    for axes, call in zip(grid.flat, chosen.itertuples(), strict=False):
        spectrogram = spectrograms[call.session]
        middle_s = (call.start_s + call.stop_s) / 2
        part = spectrogram.sel(time=slice(middle_s - length_s / 2, middle_s + length_s / 2))
        above_db = part["power_db"].values.astype(np.float32) - spectrogram["noise_floor_db"].values
        if part.sizes["time"]:
            axes.pcolormesh(
                (part["time"].values - middle_s) * 1e3, part["frequency"].values / 1e3, above_db.T, cmap="Greys",
                vmin=0, vmax=30, shading="nearest", rasterized=True,
            )  # fmt: skip
        axes.plot(
            (np.asarray(call.contour_s, float) - middle_s) * 1e3, np.asarray(call.contour_hz, float) / 1e3,
            color=CLUSTER_COLOURS[4], lw=0.6,
        )  # fmt: skip
        axes.set_title(f"{khz(call.peak_hz / 1e3)} kHz, {call.duration_s * 1e3:.0f} ms", size=7)
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    grid[0, 0].set_xlim(-length_s / 2 * 1e3, length_s / 2 * 1e3)
    figure.supxlabel("time from the middle of the call (ms)", size=8)
    figure.supylabel("frequency (kHz)", size=8)
    return figure


def _span(calls: pd.DataFrame, n: int) -> pd.DataFrame:
    """At most `n` calls, the most confident of each n-th part of the ranking by peak frequency."""
    ranked = calls.sort_values("peak_hz", kind="stable").reset_index(drop=True)
    part = np.arange(len(ranked)) * n // len(ranked) if len(ranked) > n else np.arange(len(ranked))
    best = ranked.groupby(part)["confidence"].idxmax()
    return ranked.loc[best].reset_index(drop=True)
