"""How good a prediction is: bits a spike (or a bin), explained variance, the error of the peak-frequency track.

Neighbouring bins and overlapping clips are not independent, so every score keeps its sums per block (a bout, or a
stretch of time) and takes its standard error over blocks, by the delete-one jackknife (Efron & Tibshirani 1993, 11).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy


@dataclass(frozen=True)
class Ratio:
    """A score that is a ratio of two sums over blocks; trailing axes (units) are scores of their own.

    numerator, denominator: shape (n_blocks, ...). n: number of clips behind them.
    """

    numerator: np.ndarray
    denominator: np.ndarray
    n: int

    @property
    def value(self) -> np.ndarray:
        """Sum of numerators over sum of denominators, shape (...); NaN where the denominator is 0."""
        return _divide(self.numerator.sum(axis=0), self.denominator.sum(axis=0))

    @property
    def se(self) -> np.ndarray:
        """Jackknife standard error over blocks, shape (...); NaN with fewer than two blocks that count."""
        n_blocks = (self.denominator != 0).sum(axis=0)
        left_out = _divide(
            self.numerator.sum(axis=0) - self.numerator, self.denominator.sum(axis=0) - self.denominator
        )  # (n_blocks, ...)
        spread = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
        return np.where(n_blocks > 1, np.sqrt(spread * (len(left_out) - 1) / max(len(left_out), 1)), np.nan)

    def pooled(self) -> "Ratio":
        """All units together: one score, in which each unit counts by its denominator."""
        return Ratio(self.numerator.sum(axis=-1), self.denominator.sum(axis=-1), self.n)

    def minus(self, other: "Ratio") -> "Ratio":
        """The paired difference to a score on the same clips and blocks: its error is that of the difference.

        Raises ValueError where the two do not share their denominators.
        """
        if self.denominator.shape != other.denominator.shape or not np.allclose(self.denominator, other.denominator):
            raise ValueError("only scores of the same clips, in the same blocks, can be paired")
        return Ratio(self.numerator - other.numerator, self.denominator, self.n)


def resampling_blocks(*, bout: np.ndarray, start_s: np.ndarray, chunk_s: float) -> np.ndarray:
    """Number clips by the block that they are resampled with, from 0, shape (n_clips,).

    bout: shape (n_clips,), -1 outside bouts; start_s: shape (n_clips,), s. A block is a bout; where clips lie
    outside bouts (recordings cut continuously) it is a stretch of `chunk_s` seconds instead.
    """
    if np.all(bout >= 0) and len(np.unique(bout)) > 1:
        return np.unique(bout, return_inverse=True)[1]
    return np.unique(np.floor(start_s / chunk_s), return_inverse=True)[1]


def mean_counts(counts: np.ndarray, *, kind: str) -> np.ndarray:
    """Mean count in a bin of each unit over `counts` (n_clips, n_units, n_bins; NaN = missing), shape (n_units,).

    A unit without a spike is given half of one, so that its later spikes have a finite probability; not so for traces.
    """
    total = np.nansum(counts, axis=(0, 2), dtype=np.float64)
    n_observed = np.isfinite(counts).sum(axis=(0, 2))
    return (np.maximum(total, 0.5) if kind == "spikes" else total) / np.maximum(n_observed, 1)


def bits_per_spike(*, counts: np.ndarray, predicted: np.ndarray, reference: np.ndarray, blocks: np.ndarray) -> Ratio:
    """Poisson information of a prediction over each unit's mean rate, bits a spike; one score a unit.

    counts: shape (n_clips, n_units, n_bins), NaN = missing, skipped. predicted: the expected counts, same shape.
    reference: mean count in a bin, shape (n_units,), of the training clips. blocks: shape (n_clips,).

    Sum of log Poisson(n; predicted) - log Poisson(n; reference), over ln 2 times the spikes (Pillow et al. 2008).
    Raises ValueError where a prediction is not positive: a spike there would have no probability.
    """
    if not np.all(np.asarray(predicted) > 0):
        raise ValueError("expected counts must be positive and finite")
    reference = np.asarray(reference, dtype=np.float64)[None, :, None]
    observed = np.isfinite(counts)
    counts = np.where(observed, counts, 0.0)
    gain = xlogy(counts, predicted / reference) - (predicted - reference)  # the log n! terms cancel
    gain = np.where(observed, gain, 0.0).sum(axis=2)  # (n_clips, n_units)
    return Ratio(block_sums(gain, blocks) / np.log(2), block_sums(counts.sum(axis=2), blocks), len(counts))


def bits_per_bin(*, traces: np.ndarray, predicted: np.ndarray, reference: np.ndarray, blocks: np.ndarray) -> Ratio:
    """Gaussian information of a prediction over each unit's mean, bits a bin; one score a unit.

    The counterpart of `bits_per_spike` for traces in SDs of their training values (shapes as there): sum of
    log N(x; predicted, 1) - log N(x; reference, 1), over ln 2 times the bins.
    """
    observed = np.isfinite(traces)
    gain = np.square(traces - reference[:, None], dtype=np.float64) - np.square(traces - predicted, dtype=np.float64)
    gain = np.where(observed, gain, 0.0).sum(axis=2) / 2  # (n_clips, n_units)
    return Ratio(block_sums(gain, blocks) / np.log(2), block_sums(observed.sum(axis=2), blocks), len(traces))


def explained_variance(*, truth: np.ndarray, predicted: np.ndarray, reference: np.ndarray, blocks: np.ndarray) -> Ratio:
    """Share of the variance of the log spectrogram that a prediction explains: 1 - SSE/SST, at most 1.

    truth, predicted: shape (n_clips, n_frequencies, n_frames), dB. reference: shape (n_frequencies, n_frames), the
    mean of the training clips, which explains nothing. blocks: shape (n_clips,).
    """
    total = np.square(truth - reference, dtype=np.float64).sum(axis=(1, 2))
    rest = np.square(truth - predicted, dtype=np.float64).sum(axis=(1, 2))
    return Ratio(block_sums(total - rest, blocks), block_sums(total, blocks), len(truth))


def explained_count_variance(
    *, counts: np.ndarray, predicted: np.ndarray, reference: np.ndarray, blocks: np.ndarray
) -> Ratio:
    """Share of the variance of each unit's counts that a prediction explains: 1 - SSE/SST; one score a unit.

    counts, predicted: shape (n_clips, n_units, n_bins), NaN counts = missing, skipped. reference: mean count in a bin
    of the training clips, shape (n_units,). blocks: shape (n_clips,).
    """
    total = np.nansum(np.square(counts - reference[:, None], dtype=np.float64), axis=2)
    rest = np.nansum(np.square(counts - predicted, dtype=np.float64), axis=2)
    return Ratio(block_sums(total - rest, blocks), block_sums(total, blocks), len(counts))


def peak_frequency_error(
    *, truth: np.ndarray, predicted: np.ndarray, frequency_hz: np.ndarray, min_peak_db: float, blocks: np.ndarray
) -> Ratio:
    """Mean distance between the loudest frequencies of the true and the predicted frames, Hz.

    truth, predicted: shape (n_clips, n_frequencies, n_frames), dB above the noise floor. Only frames count whose true
    peak reaches `min_peak_db`: silence has no peak. frequency_hz: shape (n_frequencies,). blocks: shape (n_clips,).
    """
    counted = truth.max(axis=1) >= min_peak_db  # (n_clips, n_frames)
    distance_hz = np.abs(frequency_hz[truth.argmax(axis=1)] - frequency_hz[predicted.argmax(axis=1)])
    return Ratio(
        block_sums(np.where(counted, distance_hz, 0.0).sum(axis=1), blocks),
        block_sums(counted.sum(axis=1), blocks),
        len(truth),
    )


def clip_mean(values: np.ndarray, blocks: np.ndarray) -> Ratio:
    """Mean over clips of `values` (n_clips, ...), with its error over blocks (n_clips,)."""
    return Ratio(block_sums(values, blocks), block_sums(np.ones_like(values), blocks), len(values))


def jackknifed(statistic: Callable[[np.ndarray], float], blocks: np.ndarray, *, n_blocks: int) -> Ratio:
    """A statistic that is no ratio of sums as a Ratio of the same value, with its delete-one-block error.

    statistic: rows (indices of clips) -> number. blocks: shape (n_rows,), below `n_blocks`; all blocks weigh the same.
    """
    rows = np.arange(len(blocks))
    whole = statistic(rows)
    if n_blocks < 2:
        return Ratio(np.array([whole]), np.ones(1), len(rows))
    without = np.array([statistic(rows[blocks != block]) for block in range(n_blocks)])
    return Ratio(whole + (n_blocks - 1) * (without.mean() - without), np.ones(n_blocks), len(rows))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r of two series (n,); 0 where one of them is constant, since nothing agrees with it."""
    if len(a) < 2:
        return 0.0
    a, b = a - a.mean(dtype=np.float64), b - b.mean(dtype=np.float64)
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / scale) if scale > 0 else 0.0


def block_sums(values: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Sums of `values` (n_clips, ...) over the clips of each block, shape (n_blocks, ...)."""
    order = np.argsort(blocks, kind="stable")
    starts = np.searchsorted(blocks[order], np.arange(blocks.max() + 1))
    return np.add.reduceat(values[order], starts, axis=0, dtype=np.float64)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    out = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)
