"""Clips laid out for regression: rows of features, with the counts that they should predict."""

from dataclasses import dataclass

import numpy as np

from pipeline.clips import SessionClips
from pipeline.evaluation.features import coarsened, lagged_power

MOST_CELLS = 32  # bands, and frames, that a clip's spectrogram is averaged to: more only cost time
MOST_COUNT_FEATURES = 1024
MOST_ROWS = 100_000  # training rows; longer recordings are thinned evenly, which bounds the memory


@dataclass(frozen=True)
class Design:
    """Features of the clips of each split, and how rows and outputs stand for clips, units and bins.

    features: by split, shape (n_rows, n_features); a row is a clip, or (per_bin) a bin of a clip. targets: training
    counts, shape (n_rows, n_outputs), outputs being units, or units times bins; NaN = missing.
    """

    features: dict[str, np.ndarray]
    targets: np.ndarray
    per_bin: bool
    n_units: int
    n_bins: int

    def per_clip(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs (n_rows, n_outputs) as (n_clips, n_units, n_bins)."""
        if self.per_bin:
            return outputs.reshape(-1, self.n_bins, self.n_units).transpose(0, 2, 1)
        return outputs.reshape(-1, self.n_units, self.n_bins)


def lagged_design(parts: dict[str, SessionClips], *, n_bands: int = MOST_CELLS) -> Design:
    """Band power at lags round each bin, the same weights for every bin; n_bands 1 leaves only the level."""
    training = parts["train"]
    n_clips, n_units, n_bins = training.counts.shape
    chosen = thinned(n_clips * n_bins, n_clips)
    band_mean = coarsened(training.spectrogram.mean(axis=(0, 2))[None, :, None], axis=1, most=n_bands)[0, :, 0]
    features = {}
    for split, clips in parts.items():
        clips = clips.take(chosen) if split == "train" else clips
        lagged = lagged_power(
            coarsened(clips.spectrogram, axis=1, most=n_bands),
            frame_s=clips.frame_s,
            bin_s=clips.bin_s,
            bin_width_s=clips.bin_width_s,
            band_mean=band_mean,
            most_frames=MOST_CELLS,
        )
        features[split] = lagged.reshape(-1, lagged.shape[-1])
    targets = training.counts[chosen].transpose(0, 2, 1).reshape(-1, n_units)
    return Design(features, targets, per_bin=True, n_units=n_units, n_bins=n_bins)


def whole_design(parts: dict[str, SessionClips]) -> Design:
    """The clip's whole spectrogram, with weights of its own for every bin."""
    training = parts["train"]
    n_clips, n_units, n_bins = training.counts.shape
    chosen = thinned(n_clips, n_clips)
    counts = training.counts[chosen]
    complete = np.isfinite(counts).all(axis=2, keepdims=True)  # then all bins of a unit share their rows
    features = {
        split: spectrogram_cells(clips.take(chosen) if split == "train" else clips) for split, clips in parts.items()
    }
    targets = np.where(complete, counts, np.nan).reshape(len(chosen), -1)
    return Design(features, targets, per_bin=False, n_units=n_units, n_bins=n_bins)


def spectrogram_cells(clips: SessionClips) -> np.ndarray:
    """The clips' spectrograms in at most 32 x 32 cells, flat, shape (n_clips, n_cells)."""
    cells = coarsened(coarsened(clips.spectrogram, axis=1, most=MOST_CELLS), axis=2, most=MOST_CELLS)
    return cells.reshape(len(clips), -1)


def count_features(clips: SessionClips, *, reference: np.ndarray, noise_sd: np.ndarray) -> np.ndarray:
    """Counts in units of their noise SD round the mean, flat, shape (n_clips, n_units * <= n_bins).

    reference, noise_sd: mean counts in a bin and their SD (n_units,). A missing count is the mean, 0. Very many bins
    are merged.
    """
    centred = (clips.counts - reference[:, None]) / noise_sd[:, None]
    centred = np.where(np.isfinite(centred), centred, 0).astype(np.float32)
    most = max(MOST_COUNT_FEATURES // max(len(reference), 1), 1)
    return coarsened(centred, axis=2, most=most).reshape(len(clips), -1)


def thinned(n_rows: int, n_clips: int) -> np.ndarray:
    """Indices of as many clips, evenly spread, as keep the rows below MOST_ROWS."""
    return np.arange(n_clips)[:: max(-(-n_rows // MOST_ROWS), 1)]
