"""Controls: the same tests where there can be nothing to find, and what their rate says about the result."""

import numpy as np
import pandas as pd
from scipy.stats import norm

CONTROLS = ("neural_shifted", "time_reversed", "other_session")
LEVELS = ("vocal", "band")
NOMINAL = 0.05
SHIFT_RANGE_S = (60.0, 300.0)
ALPHA = 0.05
# Units share what one placing of a song coincides with, so draws count for more than units. One costs as much as the
# test of vocal modulation itself, and several times as much for bands, for which every second one must do.
N_SHIFTS = 5
BAND_EVERY = 2


def control_shifts(n_bins: int, *, bin_width_s: float) -> np.ndarray:
    """Shifts of the neural side in bins: spread over 60-300 s, or in a shorter session over its second quarter."""
    duration_s = n_bins * bin_width_s
    low_s, high_s = min(SHIFT_RANGE_S[0], duration_s / 4), min(SHIFT_RANGE_S[1], duration_s / 2)
    return np.unique(np.linspace(low_s, high_s, N_SHIFTS) / bin_width_s).astype(int)


def fractions(p_values: dict[str, dict[str, list[np.ndarray]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of p <= 0.05, its standard error over draws, and number of tests; each (n_controls, n_levels).

    `p_values[level][control]` holds one array (n_units,) a draw. Units of one draw are not independent (they heard
    the same song), hence the error over draws.
    """
    shape = (len(CONTROLS), len(LEVELS))
    share, se, n = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, int)
    for column, level in enumerate(LEVELS):
        for row, control in enumerate(CONTROLS):
            draws = [p[np.isfinite(p)] for p in p_values[level].get(control, [])]
            rates = np.array([(p <= NOMINAL).mean() for p in draws if len(p)])
            n[row, column] = sum(len(p) for p in draws)
            if len(rates):
                share[row, column] = rates.mean()
            if len(rates) > 1:
                se[row, column] = rates.std(ddof=1) / np.sqrt(len(rates))
    return share, se, n


def pooled_controls(sessions: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """Controls of all sessions, one row a control and level: fraction, se, n, nominal, trust, doubtful_sessions.

    `sessions` maps names to what `fractions` returned. `trust` is low where the fraction is above twice nominal, and
    above nominal beyond its own error (one-sided 95 %: a handful of units passes twice nominal by chance alone); and
    where that is so in any one session, at a level corrected for their number (Bonferroni): the others must not hide
    it. `doubtful_sessions` names those, separated by semicolons.
    """
    rows = []
    for row, control in enumerate(CONTROLS):
        for column, level in enumerate(LEVELS):
            cells = {name: [values[row, column] for values in found] for name, found in sessions.items()}
            cells = {name: cell for name, cell in cells.items() if cell[2] > 0}
            if not cells:
                continue
            share, se, n = np.array(list(cells.values()), float).T
            weight = n / n.sum()
            fraction = float(weight @ share)
            # A few draws may happen to agree: never less than by chance alone. (Of one draw se is NaN.)
            error = np.fmax(se, np.sqrt(NOMINAL * (1 - NOMINAL) / n))
            pooled_se = float(np.sqrt((weight**2) @ error**2))
            # of three draws one session's se is half chance: never less than the sessions' typical one
            single = np.maximum(error, np.sqrt(np.mean(error**2)))
            alone = "; ".join(np.array(list(cells))[_above(share, single, alpha=ALPHA / len(cells))])
            trust = "low" if alone or _above(fraction, pooled_se, alpha=ALPHA) else "ok"
            rows.append([control, level, fraction, pooled_se, int(n.sum()), NOMINAL, trust, alone])
    names = ["control", "level", "fraction", "se", "n", "nominal", "trust", "doubtful_sessions"]
    return pd.DataFrame(rows, columns=names)


def _above(share, error, *, alpha: float):
    return (share > 2 * NOMINAL) & (share - norm.isf(alpha) * error > NOMINAL)
