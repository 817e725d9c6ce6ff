"""Band selectivity for sounds that are no calls (playback, continuous sound): lagged correlation with band power.

The null is the linear shift (Harris 2021): the middle of the recording of spikes slides along the whole recording of
sound, both without slow drift. Overall loudness is removed from every band, so that a unit that answers to any sound
is not selective.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import fft

from pipeline.audio.spectrogram_file import read_power_db
from pipeline.mapping.nulls import linear_shift_p, without_drift
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
    n_bins = len(firing)
    reach = int(n_bins * LARGEST_SHIFT_SHARE)
    step = max(1, round(SHIFT_STEP_S / bin_width_s))
    n_sides = max((reach - int(np.abs(lags).max(initial=0)) - 1) // step, 0)
    shifts = step * np.arange(-n_sides, n_sides + 1)
    window = np.zeros((n_bins, 1))
    window[reach : n_bins - reach] = 1
    products = _products(sound.bands, firing * window, shifts, lags)  # (n_shifts, n_lags, n_bands, n_units)
    mean, sd = products.mean(axis=0), np.maximum(products.std(axis=0), 1e-9)
    statistics = ((products - mean) / sd).max(axis=(1, 2))
    p = linear_shift_p(statistics, n_sides)
    silent = ~firing.any(axis=0) | (n_sides < 19) | ~sound.bands.any()
    by_part = [_products(sound.bands, firing * m[:, None], np.zeros(1, int), lags)[0] for m in (part == 0, part == 1)]
    whole = _products(sound.bands, firing, np.zeros(1, int), lags)[0]
    shares = [max((part == 0).mean(), 1e-9), max((part == 1).mean(), 1e-9), 1.0]
    scale = sd * np.sqrt(n_bins / max(window.sum(), 1))
    z = [product / (scale * np.sqrt(share)) for product, share in zip([*by_part, whole], shares, strict=True)]
    lag, lag_a = z[2].max(axis=1).argmax(axis=0), z[0].max(axis=1).argmax(axis=0)
    units = np.arange(firing.shape[1])
    at_lag = np.stack([z[0][lag_a, :, units], z[1][lag_a, :, units], z[2][lag, :, units]])
    inside_b = _products(sound.bands, firing * (part == 1)[:, None], shifts[np.abs(shifts) >= 4 * step], lags)
    surrogate_z_b = inside_b[:, lag_a, :, units] / (scale * np.sqrt(shares[1]))[lag_a, :, units][:, None]
    heard = np.array([(sound.heard & (part == k)).sum() for k in (0, 1)] + [sound.heard.sum()])
    return Selectivity(
        p=np.where(silent, np.nan, p),
        p_floor=np.full(len(p), 1 / (n_sides + 1)),
        statistic=np.where(silent, np.nan, statistics[n_sides]),
        z_threshold=np.quantile(statistics, 0.95, axis=0),
        lag=refined_lag(z[2].transpose(1, 0, 2), lags),
        lag_a=refined_lag(z[0].transpose(1, 0, 2), lags),
        z=at_lag,
        surrogate_z_b=surrogate_z_b.transpose(1, 0, 2),
        sound_bins=np.repeat(heard[:, None], sound.bands.shape[1], axis=1),
    )


def _products(bands, firing, shifts, lags):
    """sum_t band[t - lag - shift] firing[t], shape (n_shifts, n_lags, n_bands, n_units); zeros beyond the ends."""
    n_bins = len(bands)
    length = fft.next_fast_len(2 * n_bins, real=True)
    at = (shifts[:, None] + lags) % length
    firing_spectrum = fft.rfft(firing, n=length, axis=0)
    out = np.empty((*at.shape, bands.shape[1], firing.shape[1]), np.float32)
    for band in range(bands.shape[1]):
        spectrum = np.conj(fft.rfft(bands[:, band], n=length))[:, None] * firing_spectrum
        out[:, :, band] = fft.irfft(spectrum, n=length, axis=0)[at]
    return out


def block_sums(sound: SoundSide, firing: np.ndarray, *, lag: np.ndarray, bin_width_s: float):
    """Per block of 10 s: response (n_blocks, n_units, n_bands), each unit at its `lag` in bins, and first bins."""
    size = max(1, round(BLOCK_S / bin_width_s))
    starts = np.arange(0, len(firing), size)
    response = np.empty((len(starts), firing.shape[1], sound.bands.shape[1]))
    for value in np.unique(lag):
        moved = np.zeros_like(sound.bands)
        if value >= 0:
            moved[value:] = sound.bands[: len(moved) - value]
        else:
            moved[:value] = sound.bands[-value:]
        units = np.flatnonzero(lag == value)
        for block, start in enumerate(starts):
            rows = slice(start, start + size)
            response[block, units] = firing[rows, units].T @ moved[rows]
    return response, starts
