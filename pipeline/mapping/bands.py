"""Frequency bands: where a tuning curve is above half of its peak."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np


def band_grid_hz(frequency_hz: np.ndarray, *, low_hz: float, high_hz: float, width_hz: float, linear: bool):
    """Edges of the tuning bins in Hz, shape (n_bands + 1,).

    Linear spacing: bins of `width_hz` from `low_hz`. Otherwise neighbouring bands of the spectrogram (centres
    `frequency_hz`) are joined until at most 24 are left, so that bins are even on the spectrogram's own scale.
    """
    if linear or len(frequency_hz) < 2:
        n_bands = max(1, int(np.ceil((high_hz - low_hz) / width_hz - 1e-9)))
        return low_hz + width_hz * np.arange(n_bands + 1)
    middle = (frequency_hz[1:] + frequency_hz[:-1]) / 2
    edges = np.concatenate([[low_hz], middle, [high_hz]])
    joined = int(np.ceil(len(frequency_hz) / 24))
    return np.append(edges[:-1:joined], edges[-1])


def peak_bands(
    curves: np.ndarray, centre_hz: np.ndarray, edges_hz: np.ndarray, *, within: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Peak and half-height edges of many curves at once.

    `curves` (n_curves, n_bands) are heights over the floor; NaN marks bands without data, where a run ends.
    The edges come from linear interpolation between bin centres; where the run reaches the outermost bin
    with data it is open, and the edge is the edge of that bin. Peaks are refined by a parabola over three bins.
    Peaks are sought `within` some bands (n_bands,), bool, by default in all; edges may lie outside. A curve that does
    not rise above 0 there, or has no data, has no band: all of its values are NaN.

    Returns arrays (n_curves,): peak_hz, low_hz, high_hz, height, open_low, open_high.
    """
    n_curves, n_bands = curves.shape
    filled = np.where(np.isnan(curves), -np.inf, curves)
    rows, columns = np.arange(n_curves), np.arange(n_bands)
    sought = filled if within is None else np.where(within, filled, -np.inf)
    peak = sought.argmax(axis=1)
    height = sought[rows, peak]
    exists = height > 0
    filled, height = np.where(exists[:, None], filled, 0.0), np.where(exists, height, 0.0)
    below = ~(filled > height[:, None] / 2)
    left = np.where(below & (columns < peak[:, None]), columns, -1).max(axis=1)  # nearest bin that is below half
    right = np.where(below & (columns > peak[:, None]), columns, n_bands).min(axis=1)
    low_hz, open_low = _crossing(filled, height, left, left + 1, centre_hz, edges_hz[left + 1])
    high_hz, open_high = _crossing(filled, height, right, right - 1, centre_hz, edges_hz[right])
    peak_hz = np.clip(_refined(filled, peak, centre_hz), low_hz, high_hz)
    edges = {"peak_hz": peak_hz, "low_hz": low_hz, "high_hz": high_hz, "height": height}
    return {name: np.where(exists, values, np.nan) for name, values in edges.items()} | {
        "open_low": open_low & exists,
        "open_high": open_high & exists,
    }


def interval(drawn: np.ndarray) -> np.ndarray:
    """95 % interval of draws along the first axis, shape (2, ...); NaN where not half of the draws are finite."""
    enough = np.isfinite(drawn).mean(axis=0) >= 0.5
    ends = np.nanquantile(np.where(enough, drawn, 0.0), [0.025, 0.975], axis=0)
    return np.where(enough, ends, np.nan)


def edges_between(centre_hz: np.ndarray) -> np.ndarray:
    """Edges (n_bands + 1,) of neighbouring bands of which the centres are known: halfway, the outermost likewise."""
    half = np.diff(centre_hz) / 2
    return np.concatenate([centre_hz[:1] - half[:1], centre_hz[1:] - half, centre_hz[-1:] + half[-1:]])


def band_runs(curve: np.ndarray, *, top: float | None = None) -> list[np.ndarray]:
    """Where each band of a curve with several has its peak: masks (n_bands,) that share out all bands, highest first.

    `curve` (n_bands,) as in `peak_bands`. A band counts that rises above half of the highest one (`top`, where that is
    not in this curve) and is parted from higher ones by a bin below half of its own height: a shoulder is no band, nor
    is what lies beyond a gap without data.
    """
    filled = np.where(np.isnan(curve), -np.inf, curve)
    least = max(filled.max() if top is None else top, 0.0) / 2
    left, taken, peaks = np.isfinite(filled), np.zeros(len(curve), bool), []
    while left.any():
        peak = int(np.where(left, filled, -np.inf).argmax())
        if filled[peak] <= least:
            break
        below = np.isfinite(filled) & (filled <= filled[peak] / 2)
        run = np.cumsum(below) == np.cumsum(below)[peak]
        run &= ~below
        if not (run & taken).any():
            peaks.append(peak)
        taken |= run
        left &= ~run
    inner = sorted(peaks)
    between = [a + int(np.nan_to_num(curve[a:b], nan=np.inf).argmin()) for a, b in pairwise(inner)]
    owner = np.searchsorted(between, np.arange(len(curve)), side="left")
    return [owner == inner.index(peak) for peak in peaks]


def bins_inside(centre_hz: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """The bins whose centres lie in a band, and the one nearest to its middle at least, (n_bands,) bool; none in a band
    of NaN."""
    if np.isnan(low_hz):
        return np.zeros(len(centre_hz), bool)
    inside = (centre_hz >= low_hz) & (centre_hz <= high_hz)
    inside[np.abs(centre_hz - (low_hz + high_hz) / 2).argmin()] = True
    return inside


def band_columns(found: Mapping[str, float]) -> dict[str, float | str]:
    """Columns of a table from peak_hz, low_hz and high_hz of a band, the ends of their intervals (`peak_hz_ci_low` and
    so on) and `edge_open`."""
    khz = {
        f"{edge}{end}_khz": found[f"{edge}_hz{end}"] / 1e3
        for edge in ("peak", "low", "high")
        for end in ("", "_ci_low", "_ci_high")
    }
    return {
        **khz,
        "fwhm_khz": khz["high_khz"] - khz["low_khz"],
        "fwhm_octaves": np.log2(found["high_hz"] / max(found["low_hz"], 1.0)),
        "edge": "open" if found["edge_open"] else "closed",
    }


def _crossing(filled, height, outside, inside, centre_hz, bin_edge_hz):
    """Where the line from the first bin below half height to the last above it crosses half height."""
    n_bands = filled.shape[1]
    rows = np.arange(len(filled))
    exists = (outside >= 0) & (outside < n_bands)
    beyond = np.clip(outside, 0, n_bands - 1)
    outer, inner = filled[rows, beyond], filled[rows, inside]
    is_open = ~exists | ~np.isfinite(outer)
    steep = np.where(is_open, 1.0, inner - np.where(np.isfinite(outer), outer, 0.0))
    share = np.where(is_open, 0.0, (inner - height / 2) / np.where(steep == 0, 1.0, steep))
    crossing = centre_hz[inside] + share * (centre_hz[beyond] - centre_hz[inside])
    return np.where(is_open, bin_edge_hz, crossing), is_open


def _refined(filled, peak, centre_hz):
    n_bands = filled.shape[1]
    rows = np.arange(len(filled))
    inner = np.clip(peak, 1, max(n_bands - 2, 1))
    if n_bands < 3:
        return centre_hz[peak]
    left, middle, right = filled[rows, inner - 1], filled[rows, inner], filled[rows, inner + 1]
    usable = (inner == peak) & np.isfinite(left) & np.isfinite(right)
    left, right = np.where(usable, left, 0.0), np.where(usable, right, 0.0)
    curvature = np.where(usable, left - 2 * middle + right, -1.0)
    offset = np.where(usable & (curvature < 0), 0.5 * (left - right) / np.where(curvature < 0, curvature, -1.0), 0.0)
    step = np.where(offset >= 0, centre_hz[inner + 1] - centre_hz[inner], centre_hz[inner] - centre_hz[inner - 1])
    return centre_hz[peak] + np.where(usable, np.clip(offset, -0.5, 0.5) * step, 0.0)


def overlap(low_a: float, high_a: float, low_b: float, high_b: float) -> float:
    """Intersection over union of two bands (any unit); NaN where an edge is NaN."""
    union = max(high_a, high_b) - min(low_a, low_b)
    return float(max(0.0, min(high_a, high_b) - max(low_a, low_b)) / union) if union > 0 else float("nan")
