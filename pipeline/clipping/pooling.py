"""Spectrograms of clips: means of the stored dB over the frames and bands of each cell."""

import numpy as np
import xarray as xr

from pipeline.audio.spectrogram_file import read_power_db
from pipeline.errors import InputError
from pipeline.intervals import inside

SLICE_FRAMES = 16_384  # read at once: bounds the memory
GAP_FRAMES = 4096  # a longer stretch without clips is not read (one chunk of the file)
ROUNDING = 1e-6  # of a hop: times that are equal but for the last digits of a double


def pool_power(spectrogram: xr.Dataset, edge_s: np.ndarray, *, n_bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Level above the noise floor in `n_bands` groups of the stored bands and in the frames between `edge_s`.

    `edge_s`: Shape (n_clips, n_frames + 1), audio seconds, edges of each clip's frames, clips in the order of time.
    A stored frame belongs to the cell in which its centre falls; a cell without one takes the next.

    Returns levels, Shape (n_clips, n_bands, n_frames), float16 dB (NaN where there is no audio), and whether there is
    audio, Shape (n_clips,): the clip lies inside the sound files and all its frames are usable.
    """
    n_clips, n_frames = len(edge_s), edge_s.shape[1] - 1
    pooled = np.full((n_clips, n_bands, n_frames), np.nan, np.float16)
    time_s = spectrogram["time"].values
    if not len(time_s):
        return pooled, np.zeros(n_clips, bool)
    hop_s = float(spectrogram.attrs["hop_s"])
    _, band_size = band_groups(spectrogram.sizes["frequency"], n_bands=n_bands)
    to_groups = np.repeat(np.diag(1 / band_size).astype(np.float32), band_size, axis=0)  # (stored bands, n_bands)
    place = np.searchsorted(time_s, edge_s - ROUNDING * hop_s)
    start, stop = np.minimum(place[:, :-1], len(time_s) - 1), place[:, 1:]
    stop = np.maximum(stop, start + 1)
    usable = spectrogram["usable"].values.astype(bool)
    n_unusable = np.r_[0, np.cumsum(~usable)]
    present = inside(
        edge_s[:, 0],
        edge_s[:, -1],
        spectrogram["file_start_s"].values,
        spectrogram["file_stop_s"].values,
        tolerance_s=ROUNDING * hop_s,
    )
    present &= n_unusable[stop[:, -1]] == n_unusable[start[:, 0]]

    floor_db = spectrogram["noise_floor_db"].values.astype(np.float32) @ to_groups
    clips = np.flatnonzero(present)
    for group in _slices(start[clips, 0], stop[clips, -1]):
        members = clips[group]
        begin, end = start[members[0], 0], stop[members, -1].max()
        power_db = read_power_db(spectrogram, begin, end)  # (frames, stored bands)
        power_db[~usable[begin:end]] = 0  # between clips only; may be NaN, which a running sum would keep
        level_db = power_db @ to_groups
        level_db -= floor_db
        total = np.zeros((len(level_db) + 1, n_bands))  # float64: sums over the slice must keep single frames
        np.cumsum(level_db, axis=0, out=total[1:])
        first, last = start[members] - begin, stop[members] - begin  # (clips, n_frames)
        mean_db = (total[last] - total[first]) / (last - first)[:, :, np.newaxis]
        pooled[members] = mean_db.transpose(0, 2, 1)
    return pooled, present


def band_groups(n_stored: int, *, n_bands: int) -> tuple[np.ndarray, np.ndarray]:
    """First stored band and number of stored bands of each of `n_bands` groups, as equal as can be.

    Raises InputError where there are fewer stored bands than groups.
    """
    if n_stored < n_bands:
        raise InputError(
            "the spectrogram has fewer bands than a clip",
            where="clips.n_bands",
            found=f"{n_bands} bands of {n_stored}",
            mend="fewer clips.n_bands, a longer audio.window_s, or more audio.n_bands",
        )
    edges = np.arange(n_bands + 1) * n_stored // n_bands
    return edges[:-1], np.diff(edges)


def pooled_frequency_hz(spectrogram: xr.Dataset, *, n_bands: int) -> np.ndarray:
    """Mean frequency of each group's bands; without audio, centres of equal parts of the analysed range."""
    stored_hz = spectrogram["frequency"].values
    if not len(stored_hz):
        edges = np.linspace(spectrogram.attrs["low_hz"], spectrogram.attrs["high_hz"], n_bands + 1)
        return (edges[:-1] + edges[1:]) / 2
    first, size = band_groups(len(stored_hz), n_bands=n_bands)
    return np.add.reduceat(stored_hz, first) / size


def _slices(start: np.ndarray, stop: np.ndarray) -> list[slice]:
    """Runs of clips (by their first and last frames) that are read together."""
    groups, begin = [], 0
    for i in range(1, len(start) + 1):
        ends = i == len(start)
        if ends or stop[i] - start[begin] > SLICE_FRAMES or start[i] - stop[i - 1] > GAP_FRAMES:
            groups.append(slice(begin, i))
            begin = i
    return groups
