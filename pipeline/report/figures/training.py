"""Training: did the models settle?

Top: the objective a clip (higher is better), on the training blocks (thin) and on the validation blocks (thick), one
line a seed. Bottom: bits a spike from sound on the validation blocks, which decide when training stops; dots mark the
epoch whose weights were kept.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.report.results import NoData, Results
from pipeline.report.style import FAINT, INK, SERIES_COLOURS, new_figure

PLACE = 90
MAX_COLUMNS = 4


def draw(results: Results) -> Figure:
    """Objective and held-out bits a spike over the epochs, one column a model."""
    history = results.history
    if history.empty:
        raise NoData("No model was trained.")
    models = list(dict.fromkeys(zip(history["family"], history["latent_dim"], strict=True)))
    n_columns = min(MAX_COLUMNS, len(models))
    n_rows = 2 * -(-len(models) // n_columns)
    figure = new_figure(0.3 + 1.45 * n_rows)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex="col")
    for i, (family, latent_dim) in enumerate(models):
        row, column = 2 * (i // n_columns), i % n_columns
        rows = history[(history["family"] == family) & (history["latent_dim"] == latent_dim)]
        _model(grid[row, column], grid[row + 1, column], rows)
        grid[row, column].set_title(f"{family}, {latent_dim} latents", weight="bold", parse_math=False)
        grid[row + 1, column].set_xlabel("epoch")
        grid[row + 1, column].xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for i in range(len(models), n_rows // 2 * n_columns):
        row, column = 2 * (i // n_columns), i % n_columns
        grid[row, column].set_axis_off()
        grid[row + 1, column].set_axis_off()
    for row in range(0, n_rows, 2):
        grid[row, 0].set_ylabel("objective (nat a clip)")
        grid[row + 1, 0].set_ylabel("bits a spike (traces: a bin)")
    figure.align_ylabels(grid[:, 0])
    return figure


def _model(objective: Axes, bits: Axes, rows: pd.DataFrame) -> None:
    runs = list(rows.groupby("seed"))
    for i, (seed, run) in enumerate(runs):
        colour = SERIES_COLOURS[i % len(SERIES_COLOURS)]
        objective.plot(run["epoch"], run["train_objective"], color=colour, lw=0.6, alpha=0.8)
        objective.plot(run["epoch"], run["validation_objective"], color=colour, lw=1.3)
        has_bits = "neural_bits" in run and np.isfinite(run["neural_bits"]).any()
        best = run[run["epoch"] == run["best_epoch"].iloc[-1]]
        if has_bits:
            bits.plot(run["epoch"], run["neural_bits"], color=colour, lw=1.3)
            bits.plot(best["epoch"], best["neural_bits"], "o", ms=4, color=colour)
        else:
            objective.plot(best["epoch"], best["validation_objective"], "o", ms=4, color=colour)
        objective.text(
            0.98, 0.04 + 0.11 * (len(runs) - 1 - i), f"seed {seed}", color=colour, transform=objective.transAxes,
            ha="right", size=7,
        )  # fmt: skip
    # the first epochs lie far below the rest and would hide it
    settled = pd.concat([rows["train_objective"], rows["validation_objective"]])
    low, high = np.nanquantile(settled, 0.1), np.nanmax(settled)
    objective.set_ylim(low - 0.3 * (high - low) - 1e-6, high + 0.1 * (high - low) + 1e-6)
    if "neural_bits" in rows and np.isfinite(rows["neural_bits"]).any():
        bits.axhline(0, color=INK, lw=0.5)
        low = max(float(np.nanmin(rows["neural_bits"])), -0.2)
        bits.set_ylim(low - 0.03, max(float(np.nanmax(rows["neural_bits"])) * 1.15, 0.05))
    else:
        bits.text(0.5, 0.5, "no prediction of spikes\nfrom sound", transform=bits.transAxes, ha="center", va="center",
                  color=FAINT, size=7)  # fmt: skip
