"""How far two clocks are apart over time: a straight line, or a smooth curve where the drift changes.

Single pulses are jittered by tenths of a millisecond, so that a line through every pulse would carry their jitter into
every event. Curves are cubic splines by least squares; the number of pieces is the smallest that predicts pulses that
were left out of the fit as well as any other.
"""

from dataclasses import dataclass

import numpy as np

LINE = 0  # as a number of pieces
EVERY_PULSE = -1  # as a number of pieces: straight from pulse to pulse
PIECES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 26, 32, 40, 52, 64)
PULSES_A_PIECE = 6
LEAST_PULSES = 8  # fewer cannot tell jitter from drift
MOST_PULSES = 4000  # more are not needed for the choice
N_FOLDS = 5
BEYOND_S, MOST_BEYOND = 120.0, 0.1  # of the time from the first to the last pulse
KNOTS_A_PIECE = 8  # of the straight pieces that stand for a cubic one: they stray from it by microseconds


@dataclass(frozen=True, eq=False)
class Drift:
    """Straight pieces between knots: `apart_s` is session time minus audio time at `audio_s`, each Shape (n_knots,)."""

    audio_s: np.ndarray
    apart_s: np.ndarray

    def at(self, audio_s: np.ndarray) -> np.ndarray:
        """Session time minus audio time; beyond the knots, the slope of their whole range goes on."""
        inside = np.interp(audio_s, self.audio_s, self.apart_s)
        slope = (self.apart_s[-1] - self.apart_s[0]) / (self.audio_s[-1] - self.audio_s[0])
        beyond = np.minimum(audio_s - self.audio_s[0], 0) + np.maximum(audio_s - self.audio_s[-1], 0)
        return inside + beyond * slope


def fit_drift(audio_s: np.ndarray, apart_s: np.ndarray, *, n_pieces: int) -> Drift:
    """The fit of a line, of a number of cubic pieces with as many pulses in each, or a line through every pulse.

    `audio_s`: Shape (n_pulses,), increasing, at least 2 pulses, and PULSES_A_PIECE a piece; `apart_s`: session time
    minus audio time of the pulses, same shape.
    """
    if n_pieces == EVERY_PULSE:
        return Drift(audio_s, apart_s)
    # from 0 to 1 and about the mean, for precision: clocks may count from 1970
    start_s, span_s, level_s = audio_s[0], audio_s[-1] - audio_s[0], apart_s.mean()
    within = (audio_s - start_s) / span_s
    if n_pieces == LINE:
        centre = within.mean()
        slope = (within - centre) @ (apart_s - level_s) / ((within - centre) @ (within - centre))
        return Drift(audio_s[[0, -1]], level_s + slope * (np.array([0.0, 1.0]) - centre))
    from scipy.interpolate import make_lsq_spline  # slow to import, and all that reads a clock imports this file

    ends = within[np.linspace(0, len(within) - 1, n_pieces + 1).round().astype(int)]
    spline = make_lsq_spline(within, apart_s - level_s, np.r_[np.zeros(4), ends[1:-1], np.ones(4)], k=3)
    knots = np.interp(np.arange(n_pieces * KNOTS_A_PIECE + 1) / KNOTS_A_PIECE, np.arange(n_pieces + 1), ends)
    values = spline(knots)
    # a little beyond its ends the curve goes on as it was over half a piece
    half, beyond = KNOTS_A_PIECE // 2, min(BEYOND_S / span_s, MOST_BEYOND)
    first = values[0] - beyond * (values[half] - values[0]) / (knots[half] - knots[0])
    last = values[-1] + beyond * (values[-1] - values[-1 - half]) / (knots[-1] - knots[-1 - half])
    knots, values = np.r_[-beyond, knots, 1 + beyond], np.r_[first, values, last]
    return Drift(start_s + knots * span_s, values + level_s)


def pieces_to_try(audio_s: np.ndarray, apart_s: np.ndarray) -> list[int]:
    """Numbers of pieces: the simplest that does as well as any, and, where it is another one, the best.

    Judged by the squared error at pulses that were left out of the fit, in turn a fifth of them; the simplest one is
    within a standard error of the best. Fewer than LEAST_PULSES: a line, and straight from pulse to pulse.
    """
    step = -(-len(audio_s) // MOST_PULSES)
    audio_s, apart_s = audio_s[::step], apart_s[::step]
    n_pulses = len(audio_s)
    if n_pulses < LEAST_PULSES:
        return [LINE] if n_pulses < 3 else [LINE, EVERY_PULSE]
    choices = [LINE, *(n for n in PIECES if n * PULSES_A_PIECE <= n_pulses), EVERY_PULSE]
    fold = np.arange(n_pulses) % N_FOLDS
    fold[[0, -1]] = -1  # the ends stay in: to leave them out would test how the fit goes on beyond the pulses
    errors = [_error_left_out(audio_s, apart_s, n_pieces, fold) ** 2 for n_pieces in choices]
    best = int(np.argmin([error.mean() for error in errors]))
    extra = [error - errors[best] for error in errors]
    as_good = [worse.mean() <= worse.std() / np.sqrt(len(worse)) for worse in extra]
    return list(dict.fromkeys([choices[as_good.index(True)], choices[best]]))


def _error_left_out(audio_s: np.ndarray, apart_s: np.ndarray, n_pieces: int, fold: np.ndarray) -> np.ndarray:
    error = np.zeros(len(audio_s))
    for k in range(N_FOLDS):
        out = fold == k
        drift = fit_drift(audio_s[~out], apart_s[~out], n_pieces=n_pieces)
        error[out] = apart_s[out] - drift.at(audio_s[out])
    return error[fold >= 0]
