"""How far two clocks are apart over time: a straight line, or straight pieces where the drift changes.

Single pulses are jittered by tenths of a millisecond, so that a line through every pulse would carry their jitter into
every event. The number of pieces is the smallest that predicts pulses that were left out of the fit as well as any.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import make_lsq_spline

N_FOLDS = 5
LEAST_PULSES = 8  # fewer cannot tell jitter from drift
PULSES_A_PIECE = 6
MOST_PIECES = 256


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


def fit_pieces(audio_s: np.ndarray, apart_s: np.ndarray, *, n_pieces: int) -> Drift:
    """Least squares by `n_pieces` straight pieces that join at pulses, as many pulses in each.

    `audio_s`: Shape (n_pulses,), increasing, at least 2 n_pieces of them; `apart_s`: session time minus audio time.
    """
    places = np.linspace(0, len(audio_s) - 1, n_pieces + 1).round().astype(int)
    knots = audio_s[places]
    scale = knots[-1] - knots[0]  # the fit is done from 0 to 1, about the mean, for precision
    within = (audio_s - knots[0]) / scale
    level = apart_s.mean()
    inner = (knots - knots[0]) / scale
    spline = make_lsq_spline(within, apart_s - level, np.r_[0.0, inner[:-1], 1.0, 1.0], k=1)
    return Drift(knots, spline(inner) + level)


def pieces_by_validation(audio_s: np.ndarray, apart_s: np.ndarray) -> list[int]:
    """Numbers of pieces to try, best first: the chosen one, and then those with more pieces.

    0 stands for a line through every pulse. Chosen is the smallest number whose squared error at pulses that were left
    out, in turn a fifth of them, is within one standard error of the smallest.
    """
    n_pulses = len(audio_s)
    if n_pulses < LEAST_PULSES:
        return [1] if n_pulses < 3 else [1, 0]
    ladder = sorted({round(1.5**step) for step in range(14)})
    ladder = [n for n in ladder if n <= min(n_pulses // PULSES_A_PIECE, MOST_PIECES)]
    fold = np.arange(n_pulses) % N_FOLDS
    fold[[0, -1]] = -1  # the ends stay in: to leave them out would test how the fit goes on beyond the pulses
    errors = [_left_out(audio_s, apart_s, n_pieces, fold) ** 2 for n_pieces in (*ladder, 0)]
    best = errors[int(np.argmin([error.mean() for error in errors]))]
    worse = [error - best for error in errors]
    enough = [extra.mean() <= extra.std() / np.sqrt(len(extra)) for extra in worse]
    return [*ladder, 0][enough.index(True) :]


def _left_out(audio_s: np.ndarray, apart_s: np.ndarray, n_pieces: int, fold: np.ndarray) -> np.ndarray:
    error = np.zeros(len(audio_s))
    for k in range(N_FOLDS):
        out = fold == k
        drift = fitted(audio_s[~out], apart_s[~out], n_pieces=n_pieces)
        error[out] = apart_s[out] - drift.at(audio_s[out])
    return error[fold >= 0]


def fitted(audio_s: np.ndarray, apart_s: np.ndarray, *, n_pieces: int) -> Drift:
    """The fit by a number of pieces, 0: a line through every pulse."""
    return fit_pieces(audio_s, apart_s, n_pieces=n_pieces) if n_pieces else Drift(audio_s, apart_s)
