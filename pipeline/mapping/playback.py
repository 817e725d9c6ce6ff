"""Band selectivity for sounds that are no calls (continuous sound): lagged correlation with band power.

The null is the linear shift (Harris 2021): the middle of the recording of spikes slides along the whole recording of
sound, both without slow drift. Overall loudness is removed from every band, so that a unit that answers to any sound
is not selective.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from scipy import fft

from pipeline.audio.spectrogram_file import read_power_db
from pipeline.mapping.nulls import linear_shift_p, products_at_lags, without_drift
from pipeline.mapping.tuning import Selectivity, refined_lag
from pipeline.mapping.vocal import SLOWEST_S

LARGEST_SHIFT_SHARE = 0.2  # of the recording, to each side
SHIFT_STEP_S = 0.5
FRAMES_AT_ONCE = 65536
BLOCK_S = 10.0  # units of the bootstrap, in place of bouts


def band_power_on_bins(
    spectrogram: xr.Dataset, *, to_session, edges_hz: np.ndarray, bin_start_s: np.ndarray, bin_width_s: float
) -> np.ndarray:
    """Mean dB of an open spectrogram.nc in each band and bin, shape (n_bins, n_bands); NaN where there is no frame.

    `to_session` maps audio to session seconds. Frames are read in blocks: memory does not grow with the recording.
    """
    n_bands, n_bins = len(edges_hz) - 1, len(bin_start_s)
    band = np.clip(np.searchsorted(edges_hz, spectrogram["frequency"].values, side="right") - 1, 0, n_bands - 1)
    mixing = np.eye(n_bands)[band] / np.maximum(np.bincount(band, minlength=n_bands), 1)
    usable, time_s = spectrogram["usable"].values.astype(bool), spectrogram["time"].values
    total, size = np.zeros((n_bins, n_bands)), np.zeros(n_bins)
    for begin in range(0, len(time_s), FRAMES_AT_ONCE):
        frames = slice(begin, begin + FRAMES_AT_ONCE)
        at = np.floor((to_session(time_s[frames]) - bin_start_s[0]) / bin_width_s + 1e-6).astype(int)
        counted = (at >= 0) & (at < n_bins) & usable[frames]
        power = read_power_db(spectrogram, begin, begin + len(at)) @ mixing
        np.add.at(total, at[counted], power[counted])
        size += np.bincount(at[counted], minlength=n_bins)
    return np.divide(total, size[:, None], out=np.full_like(total, np.nan), where=size[:, None] > 0)


@dataclass
class SoundSide:
    """Band power without drift and loudness, zero where there is no sound: `bands` (n_bins, n_bands), `heard` bool."""

    bands: np.ndarray
    loudness: np.ndarray
    heard: np.ndarray

    @cached_property
    def spectra(self) -> np.ndarray:
        """Fourier transforms of the bands with as many zeros after them, (n_bands, n_frequencies)."""
        length = fft.next_fast_len(2 * len(self.bands), real=True)
        return np.conj(fft.rfft(self.bands.T.astype(np.float32), n=length))


def sound_side(power_db: np.ndarray, *, bin_width_s: float) -> SoundSide:
    """Prepare `power_db` (n_bins, n_bands; NaN: no sound)."""
    heard = np.isfinite(power_db).all(axis=1)
    drift = {"bin_width_s": bin_width_s, "shortest_period_s": SLOWEST_S}
    level = without_drift(np.nan_to_num(power_db), heard[:, None], **drift)
    loudness = level.mean(axis=1)
    slope = (loudness @ level) / max(loudness @ loudness, 1e-12)
    bands = level - loudness[:, None] * slope
    sd = bands[heard].std(axis=0) if heard.any() else np.ones(bands.shape[1])
    return SoundSide(bands / np.where(sd > 0, sd, 1.0), loudness, heard)


def playback_selectivity(
    sound: SoundSide, firing: np.ndarray, part: np.ndarray, *, lags: np.ndarray, bin_width_s: float
) -> Selectivity:
    """Test every unit; `firing` (n_bins, n_units) without drift, 0 where invalid; `part` (n_bins,) 0 A, 1 B, 2 neither.

    Statistic: maximum over lags and bands of the correlation, z-scored per band, lag and unit over the shifts.
    p = m / (N + 1). Power is the price of the window: the outer fifths of the spikes are not used by the test.
    """
    shifts, reach = _shifts(len(firing), lags, bin_width_s)
    statistics, sd = _statistics(sound, firing, shifts, reach, lags)
    masks = [part == 0, part == 1, np.ones(len(part), bool)]
    shares = [max(masks[0].mean(), 1e-9), max(masks[1].mean(), 1e-9), 1.0]
    scale = sd * np.sqrt(len(firing) / max(len(firing) - 2 * reach, 1))  # (n_lags, n_bands, n_units)
    z = [
        products_at_lags(sound.bands, firing * mask[:, None], lags) / (scale * np.sqrt(share))
        for mask, share in zip(masks, shares, strict=True)
    ]
    lag, lag_a = z[2].max(axis=1).argmax(axis=0), z[0].max(axis=1).argmax(axis=0)
    units = np.arange(firing.shape[1])
    at_lag = np.stack([z[0][lag_a, :, units], z[1][lag_a, :, units], z[2][lag, :, units]])
    far = shifts[np.abs(shifts) >= 4 * max(1, round(SHIFT_STEP_S / bin_width_s))]
    surrogate_z_b = np.empty((len(far), len(units), sound.bands.shape[1]), np.float32)
    for band, product in enumerate(_products(sound, firing * masks[1][:, None], far, lags)):
        surrogate_z_b[:, :, band] = product[:, lag_a, units]
    heard = np.array([(sound.heard & mask).sum() for mask in masks])
    return Selectivity(
        p=_p(statistics, sound, firing),
        p_floor=np.full(len(units), 1 / (len(shifts) // 2 + 1)),
        p_a=_p(_statistics(sound, firing * masks[0][:, None], shifts, reach, lags)[0], sound, firing),
        statistic=np.where(_silent(statistics, sound, firing), np.nan, statistics[len(shifts) // 2]),
        lag=refined_lag(z[2].transpose(1, 0, 2), lags),
        lag_a=refined_lag(z[0].transpose(1, 0, 2), lags),
        z=at_lag,
        surrogate_z_b=surrogate_z_b / (scale * np.sqrt(shares[1]))[lag_a, :, units],
        fine=np.zeros(len(units), bool),
        surrogate_z_b_fine=np.empty((0, 0, sound.bands.shape[1]), np.float16),
        sound_bins=np.repeat(heard[:, None], sound.bands.shape[1], axis=1),
    )


def playback_p(sound: SoundSide, firing: np.ndarray, *, lags: np.ndarray, bin_width_s: float) -> np.ndarray:
    """The p values (n_units,) alone of `playback_selectivity`."""
    shifts, reach = _shifts(len(firing), lags, bin_width_s)
    return _p(_statistics(sound, firing, shifts, reach, lags)[0], sound, firing)


def _shifts(n_bins: int, lags: np.ndarray, bin_width_s: float) -> tuple[np.ndarray, int]:
    """Shifts in bins, no shift in the middle, and how many bins at each end of the spikes they leave out."""
    reach = int(n_bins * LARGEST_SHIFT_SHARE)
    step = max(1, round(SHIFT_STEP_S / bin_width_s))
    n_sides = max((reach - int(np.abs(lags).max(initial=0)) - 1) // step, 0)
    return step * np.arange(-n_sides, n_sides + 1), reach


def _statistics(sound, firing, shifts, reach: int, lags) -> tuple[np.ndarray, np.ndarray]:
    """Largest z at each shift, (n_shifts, n_units), and the SD over shifts, (n_lags, n_bands, n_units)."""
    window = np.zeros((len(firing), 1))
    window[reach : len(firing) - reach] = 1
    largest = np.full((len(shifts), firing.shape[1]), -np.inf)
    sds = []
    for product in _products(sound, firing * window, shifts, lags):
        sds.append(np.maximum(product.std(axis=0), 1e-9))
        np.maximum(largest, ((product - product.mean(axis=0)) / sds[-1]).max(axis=1), out=largest)
    return largest, np.stack(sds, axis=1)


def silent_units(sound: SoundSide, firing: np.ndarray) -> np.ndarray:
    """Units (n_units,) that cannot be tested: they or the sound are silent."""
    return ~firing.any(axis=0) | ~sound.bands.any()


def _silent(statistics, sound, firing):
    return silent_units(sound, firing) | (len(statistics) // 2 < 19)


def _p(statistics, sound, firing):
    return np.where(_silent(statistics, sound, firing), np.nan, linear_shift_p(statistics, len(statistics) // 2))


def _products(sound: SoundSide, firing, shifts, lags) -> Iterator[np.ndarray]:
    """For each band sum_t band[t - lag - shift] firing[t], (n_shifts, n_lags, n_units); zeros beyond the ends."""
    length = fft.next_fast_len(2 * len(firing), real=True)
    at = (shifts[:, None] + lags) % length
    spectrum = fft.rfft(firing.T.astype(np.float32), n=length)
    for band in sound.spectra:
        yield np.moveaxis(fft.irfft(band * spectrum, n=length)[:, at], 0, -1)


def block_starts(n_bins: int, *, bin_width_s: float) -> np.ndarray:
    """First bins of the blocks of 10 s, shape (n_blocks,)."""
    return np.arange(0, n_bins, max(1, round(BLOCK_S / bin_width_s)))


def block_sums(sound: SoundSide, firing: np.ndarray, *, lag: np.ndarray, bin_width_s: float) -> np.ndarray:
    """Responses per block of 10 s, (n_blocks, n_units, n_bands), each unit at its `lag` in bins, rounded."""
    starts = block_starts(len(firing), bin_width_s=bin_width_s)
    stops = np.append(starts[1:], len(firing))
    response = np.empty((len(starts), firing.shape[1], sound.bands.shape[1]))
    whole_lag = np.rint(lag).astype(int)
    for value in np.unique(whole_lag):
        moved = np.zeros_like(sound.bands)
        if value >= 0:
            moved[value:] = sound.bands[: len(moved) - value]
        else:
            moved[:value] = sound.bands[-value:]
        units = np.flatnonzero(whole_lag == value)
        chosen = firing[:, units]
        for block, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            response[block, units] = chosen[start:stop].T @ moved[start:stop]
    return response
