"""Local field potential: power of an ElectricalSeries in bands, one trace for each electrode and band.

The analytic signal of a band is its one-sided spectrum transformed back (Marple 1999, doi:10.1109/78.782222), here
of overlapping blocks, so that memory does not grow with the recording; power is its squared magnitude.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import fft

from pipeline.errors import InputError
from pipeline.neural.grid import Grid
from pipeline.neural.nwb import Nwb, named_or_only, neurodata_type
from pipeline.neural.recording import Choice, Traces, UnitsHeader
from pipeline.neural.resampling import resampled
from pipeline.neural.series import Scale, Stretch, scale_of, series_data, stretches
from pipeline.neural.tables import ELECTRODES, electrode_regions, invalid_times_of

TYPE = "ElectricalSeries"
MARGIN_PERIODS = 2.5  # of the width of a band's flank: how far its filter reaches
EDGE = 0.2  # of a band's lower edge and of its width: how its flanks fall
BLOCK_VALUES = 2**22  # samples times electrodes at a time: 32 MB
RATE_A_BANDWIDTH = 4  # power is computed at so many samples a period of a band's upper edge
FLOOR = 1e-30  # keeps the logarithm of silence finite, in squared units


def usable(nwb: Nwb) -> bool:
    """Whether there are potentials."""
    return bool(_series(nwb))


def open_signal(nwb: Nwb, choice: Choice) -> Traces:
    """log10 power of each electrode in each of `choice.lfp_bands_hz`; computed when it is put on a grid."""
    path, group, where = _chosen(nwb, choice)
    data = series_data(group, where=where)
    n_samples, n_channels = len(data), 1 if data.ndim == 1 else data.shape[1]
    parts = stretches(group, n_samples, where=where)
    rate_hz = max(part.rate_hz for part in parts)
    bands_hz = choice.lfp_bands_hz
    highest = max((high for _, high in bands_hz), default=np.nan)
    if not highest <= rate_hz / 2:
        raise InputError(
            "neural.lfp_bands_hz: a band ends above half the sampling rate",
            where=where,
            found=f"{highest:g} Hz",
            allowed=f"up to {rate_hz / 2:g} Hz",
        )
    scale = scale_of(group, n_channels, where=where)
    electrodes, region = _electrodes(nwb, group, n_channels, where=where)

    def on_grid(grid: Grid) -> np.ndarray:
        values = np.full((grid.n_bins, n_channels, len(bands_hz)), np.nan, np.float32)
        for part in parts:
            _add_power(values, data, scale, part, bands_hz=bands_hz, grid=grid)
        return values.reshape(grid.n_bins, -1)

    return Traces(
        table=path.rsplit("/", 1)[-1],
        nwb_id=[f"{electrode}|{low:g}-{high:g} Hz" for electrode in electrodes for low, high in bands_hz],
        region=[name for name in region for _ in bands_hz],
        unit=f"log10 {scale.unit}^2",
        start_s=parts[0].start_s,
        stop_s=parts[-1].start_s + (parts[-1].stop - parts[-1].first - 1) / parts[-1].rate_hz,
        on_grid=on_grid,
        invalid_times_s=invalid_times_of(nwb),
    )


def look(nwb: Nwb, choice: Choice) -> UnitsHeader:
    """Number of electrodes times bands, and when the first and last sample were."""
    traces = open_signal(nwb, choice)
    return UnitsHeader(len(traces), 0, traces.start_s, traces.stop_s, kind="traces")


def band_power(
    samples: np.ndarray, *, rate_hz: float, bands_hz: tuple[tuple[float, float], ...]
) -> tuple[np.ndarray, float]:
    """Power in bands at a lower rate: Shape (n_times, n_channels, n_bands), and times a second.

    `samples`: Shape (n_samples, n_channels). The first value is of the time of the first sample. A sine wave of
    amplitude a inside a band has the power a^2 / 2.
    """
    n_samples, n_channels = samples.shape
    duration_s = n_samples / rate_hz
    spectrum = fft.rfft(samples, axis=0)
    frequency_hz = fft.rfftfreq(n_samples, 1 / rate_hz)
    n_times = min(int(np.ceil(RATE_A_BANDWIDTH * max(high for _, high in bands_hz) * duration_s)), n_samples)
    power = np.empty((n_times, n_channels, len(bands_hz)))
    for band, (low, high) in enumerate(bands_hz):
        gain = _gain(frequency_hz, low, high)
        used = np.flatnonzero(gain)[:n_times]
        analytic = np.zeros((n_times, n_channels), complex)
        # moving a band down in frequency does not change the magnitude: it fits the lower rate
        analytic[: len(used)] = spectrum[used] * (gain[used, np.newaxis] * 2 * n_times / n_samples)
        power[:, :, band] = np.abs(fft.ifft(analytic, axis=0)) ** 2 / 2
    return power, n_times / duration_s


def _gain(frequency_hz: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """1 in the band, falling to 0 outside of it along half a cosine."""
    flank_hz = EDGE * min(low_hz, high_hz - low_hz)
    outside = np.maximum(low_hz - frequency_hz, frequency_hz - high_hz) / flank_hz
    return np.where(outside >= 1, 0.0, 0.5 + 0.5 * np.cos(np.pi * np.clip(outside, 0, 1)))


def _add_power(values: np.ndarray, data: Any, scale: Scale, part: Stretch, *, bands_hz, grid: Grid) -> None:
    """Fill the bins that a stretch covers, block by block. `values`: Shape (n_bins, n_channels, n_bands)."""
    n_channels = values.shape[1]
    flank_hz = min(EDGE * min(low, high - low) for low, high in bands_hz)
    margin = int(np.ceil(MARGIN_PERIODS / flank_hz * part.rate_hz))
    for low, stop, pad, core_start_s, core_stop_s in _blocks(part, n_channels, margin, grid):
        samples = scale(np.asarray(data[low:stop]).reshape(stop - low, n_channels))
        holes = ~np.isfinite(samples)
        for channel in np.flatnonzero(holes.any(0)):
            samples[:, channel] = _bridged(samples[:, channel], holes[:, channel])
        padded = np.pad(samples - samples.mean(0), (pad, (0, 0)), mode="reflect" if len(samples) > 1 else "edge")
        _fade(padded, margin // 2)
        power, rate_hz = band_power(padded, rate_hz=part.rate_hz, bands_hz=bands_hz)
        times_s = part.start_s + (low - pad[0] - part.first) / part.rate_hz + np.arange(len(power)) / rate_hz
        bins = np.arange(
            max(int(np.ceil(core_start_s / grid.bin_width_s - 1e-6)), grid.first_bin),
            min(int(np.ceil(core_stop_s / grid.bin_width_s - 1e-6)), grid.first_bin + grid.n_bins),
        )
        if not len(bins):
            continue
        part_grid = Grid(int(bins[0]), len(bins), grid.bin_width_s)
        for band in range(len(bands_hz)):
            mean = resampled(
                lambda a, b, band=band, power=power: power[a:b, :, band], times_s, n_channels=n_channels, grid=part_grid
            )
            values[bins - grid.first_bin, :, band] = np.log10(np.maximum(mean, FLOOR))
        if holes.any():
            for channel in np.flatnonzero(holes.any(0)):
                stamps_s = part.start_s + (np.flatnonzero(holes[:, channel]) + low - part.first) / part.rate_hz
                bad = part_grid.touched(np.c_[stamps_s, stamps_s + 1 / part.rate_hz])
                values[(bins - grid.first_bin)[bad], channel] = np.nan


def _bridged(samples: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """Straight lines over holes: a step would ring in all bands."""
    known = np.flatnonzero(~holes)
    return np.interp(np.arange(len(samples)), known, samples[known]) if len(known) else np.zeros(len(samples))


def _fade(samples: np.ndarray, n: int) -> None:
    """Let a block begin and end at 0: a spectrum takes it for one turn of a loop, with a step where it closes."""
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n))[:, np.newaxis]
    samples[:n] *= ramp
    samples[len(samples) - n :] *= ramp[::-1]


def _blocks(
    part: Stretch, n_channels: int, margin: int, grid: Grid
) -> Iterator[tuple[int, int, tuple[int, int], float, float]]:
    """Samples to read (first, last + 1), how many to mirror at each end, start and stop of the time that counts (s)."""
    core = max(BLOCK_VALUES // n_channels - 2 * margin, 2 * margin)
    for first in range(part.first, part.stop, core):
        stop = min(first + core, part.stop)
        low, high = max(first - margin, part.first), min(stop + margin, part.stop)
        # bins go to the block in which they start; at the end of a stretch only whole bins count
        start_s = part.start_s + (first - part.first) / part.rate_hz
        stop_s = part.start_s + (stop - part.first) / part.rate_hz
        if stop == part.stop:
            stop_s = np.floor(stop_s / grid.bin_width_s + 1e-6) * grid.bin_width_s
        yield low, high, (margin - (first - low), margin - (high - stop)), start_s, stop_s


def _series(nwb: Nwb) -> list[str]:
    """Paths of the potentials: those of an LFP interface first, else any."""
    every = nwb.of_type(TYPE)
    inside = [path for path in every if neurodata_type(nwb.root[path.rsplit("/", 1)[0] or "/"]) == "LFP"]
    return inside or every


def _chosen(nwb: Nwb, choice: Choice) -> tuple[str, Any, str]:
    paths = nwb.of_type(TYPE) if choice.series else _series(nwb)
    if not paths:
        raise nwb.missing(f"no {TYPE} (potentials)", mend="neural.signal: auto, or add the LFP with pynwb")
    path = named_or_only(nwb, choice.series, paths, what=f"{TYPE}", key="neural.series")
    return path, nwb.root[path], f"{nwb.where}, {path}"


def _electrodes(nwb: Nwb, group: Any, n_channels: int, *, where: str) -> tuple[list[str], list[str]]:
    """Id and brain region of the electrode of each channel."""
    if "electrodes" not in group:
        return [str(channel) for channel in range(n_channels)], [""] * n_channels
    rows = np.asarray(group["electrodes"][:], int)
    if len(rows) != n_channels:
        raise InputError(
            "the data do not fit the electrodes",
            where=f"{where}/data",
            found=f"{n_channels} channels, {len(rows)} electrodes",
            allowed="(n_samples, n_electrodes)",
            mend="write the series again; is the matrix transposed?",
        )
    region = electrode_regions(nwb, rows.reshape(-1, 1), where=where)
    ids = f"{ELECTRODES}/id"
    names = nwb.root[ids][:] if ids in nwb.root else np.arange(rows.max() + 1)
    return [str(names[row]) for row in rows], region
