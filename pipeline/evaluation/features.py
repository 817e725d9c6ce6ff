"""What the baselines see of a clip: the same spectrogram and counts as the models, laid out for regression."""

import numpy as np


def coarsened(values: np.ndarray, *, axis: int, most: int) -> np.ndarray:
    """Average neighbours along `axis` evenly, so that at most `most` entries are left."""
    n = values.shape[axis]
    if n <= most:
        return values
    edges = np.arange(most) * n // most
    shape = [1] * values.ndim
    shape[axis] = most
    return np.add.reduceat(values, edges, axis=axis) / np.diff(np.append(edges, n)).reshape(shape).astype(values.dtype)


def lagged_power(
    spectrogram: np.ndarray,
    *,
    frame_s: np.ndarray,
    bin_s: np.ndarray,
    bin_width_s: float,
    band_mean: np.ndarray,
    most_frames: int,
) -> np.ndarray:
    """Band power round each count bin, at the same lags for all bins, shape (n_clips, n_bins, n_lags * n_frequencies).

    spectrogram: shape (n_clips, n_frequencies, n_frames), dB. frame_s: centres of the frames, s after the clip's start.
    bin_s: starts of the bins, s after the clip's start. band_mean: shape (n_frequencies,), dB, is taken off; where a
    lag lies outside the clip the feature is 0, the mean. Lags are one frame apart, after averaging to `most_frames`;
    those that fewer than half of the bins can see are left out.
    """
    spectrogram = coarsened(spectrogram, axis=2, most=most_frames)
    frame_s = coarsened(np.asarray(frame_s, dtype=np.float64), axis=0, most=most_frames)
    step_s = frame_s[1] - frame_s[0] if len(frame_s) > 1 else bin_width_s
    centre_s = np.asarray(bin_s) + bin_width_s / 2
    low, high = frame_s[0] - step_s / 2, frame_s[-1] + step_s / 2
    reach = int(np.ceil((high - low + np.abs(centre_s).max()) / step_s))
    lag_s = np.arange(-reach, reach + 1) * step_s
    seen_s = centre_s[:, None] + lag_s  # (n_bins, n_lags)
    inside = (seen_s >= low) & (seen_s <= high)
    enough = inside.sum(axis=0) >= max(len(centre_s) / 2, 1)
    if not enough.any():  # counts that lie wholly outside the sound: the lags that most bins see
        enough = inside.sum(axis=0) == max(inside.sum(axis=0).max(), 1)
    seen_s, inside = seen_s[:, enough], inside[:, enough]
    position = np.clip((seen_s - frame_s[0]) / step_s, 0, len(frame_s) - 1)
    before = np.minimum(position.astype(int), max(len(frame_s) - 2, 0))
    after = np.minimum(before + 1, len(frame_s) - 1)
    share = (position - before).astype(spectrogram.dtype)[..., None]  # (n_bins, n_lags, 1)
    frames = (spectrogram - band_mean[:, None]).transpose(0, 2, 1)  # (n_clips, n_frames, n_frequencies)
    lagged = frames[:, before] * (1 - share) + frames[:, after] * share  # (n_clips, n_bins, n_lags, n_frequencies)
    lagged *= inside[..., None]
    return lagged.reshape(len(spectrogram), len(centre_s), -1)


def principal_directions(features: np.ndarray, *, most: int) -> np.ndarray:
    """The `most` directions of largest variance of features (n_rows, n_features), shape (n_features, <= most)."""
    return np.linalg.eigh(np.cov(features.T).reshape(features.shape[1], -1))[1][:, ::-1][:, :most].astype(
        features.dtype
    )
