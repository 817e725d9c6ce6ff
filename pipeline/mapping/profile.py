"""Everything that one session says about its units without a model, as labelled arrays (tuning.nc)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.mapping import playback
from pipeline.mapping.bands import peak_bands
from pipeline.mapping.controls import CONTROLS, LEVELS, control_shifts, fractions
from pipeline.mapping.nulls import slow_cosines, without_drift
from pipeline.mapping.responses import Nuisance, locate_calls, smoothed
from pipeline.mapping.tuning import MIN_SOUND_S, PARTS, Selectivity, band_selectivity, bout_parts, bout_sums, gains
from pipeline.mapping.vocal import SLOWEST_S, Modulation, vocal_modulation
from pipeline.seeds import numpy_generator

SMOOTHING_SD_S = 0.02
LAG_STEP_S = 0.02  # responses are smoothed by as much: finer lags would only repeat each other
RIDGE_BINS = 20.0
PART_NAMES = np.array(["A", "B", "guard"])
NULLS = {
    "calls": "calls' contours swapped within bouts, time-warped; bout means, onset/offset response, level and duration removed",
    "playback": "linear shift, p = m / (N + 1); slow drift and overall loudness removed",
    "none": "not tested",
}
NULL_VOCAL = "circular shift of at least 5 s; cosines of period >= 60 s removed from both sides"


@dataclass(frozen=True)
class Counts:
    """Counts on the grid of a session: `counts`, `valid` (n_bins, n_units); `start_s` (n_bins,) session s."""

    counts: np.ndarray
    valid: np.ndarray
    start_s: np.ndarray
    bin_width_s: float
    unit_ids: list[str]


@dataclass(frozen=True)
class Options:
    """Numbers of draws and the largest lag (s), as in the configuration's `mapping`."""

    n_surrogates: int
    n_surrogates_fine: int
    n_bootstrap: int
    max_lag_s: float
    seed: int
    session: str

    def generator(self, *names: object) -> np.random.Generator:
        return numpy_generator(self.seed, "tune", self.session, *names)

    def lags(self, bin_width_s: float, *, step_s: float) -> np.ndarray:
        """Lags in bins from -max_lag_s to max_lag_s, 0 among them."""
        step = max(1, round(step_s / bin_width_s))
        n_sides = int(self.max_lag_s / bin_width_s + 1e-6) // step
        return step * np.arange(-n_sides, n_sides + 1)


@dataclass
class _Curves:
    """Sums per bout (or block): response (n_bouts, n_units, n_bands + 1), gram (n_bouts, n_bands + 1, n_bands + 1)."""

    response: np.ndarray
    gram: np.ndarray
    mean_count: np.ndarray


def profile_calls(
    units: Counts, calls: pd.DataFrame, *, to_session, clip_start_s, clip_split, edges_hz: np.ndarray, options: Options
) -> xr.Dataset:
    """Vocal modulation and band selectivity for a session with calls; the layout is that of `_dataset`."""
    dt = units.bin_width_s
    located = locate_calls(calls, to_session=to_session, bin_start_s=units.start_s, bin_width_s=dt)
    envelope = np.zeros(len(units.start_s))
    for start_s, stop_s in zip(to_session(calls["start_s"]), to_session(calls["stop_s"]), strict=True):
        first, last = np.round((np.array([start_s, stop_s]) - units.start_s[0]) / dt).astype(int)
        envelope[max(first, 0) : max(last, 0)] = 1
    modulation = _modulation(units, envelope, options)
    if len(located.bin) == 0 or not units.unit_ids:
        return _untested(units, modulation, edges_hz=edges_hz, options=options, n_calls=len(calls), method="calls")
    part = bout_parts(located, clip_start_s, clip_split)
    nuisance = Nuisance(located)
    lags = options.lags(dt, step_s=LAG_STEP_S)
    shared = {"nuisance": nuisance, "part": part, "edges_hz": edges_hz, "lags": lags, "bin_width_s": dt}

    def test(counts, valid, n_fine, *names):
        rates, enough = smoothed(counts, valid, sd_bins=SMOOTHING_SD_S / dt)
        return (
            rates,
            enough,
            band_selectivity(
                located,
                rates,
                enough,
                n_surrogates=options.n_surrogates,
                n_surrogates_fine=n_fine,
                generator=options.generator("contours", *names),
                **shared,
            ),
        )

    rates, enough, found = test(units.counts, units.valid, options.n_surrogates_fine)
    curves = [
        _Curves(*bout_sums(located, rates, enough, nuisance=nuisance, edges_hz=edges_hz, lag=lags[index]))
        for index in (found.lag_a, found.lag)
    ]
    controlled = {
        name: [
            test(np.roll(c, shift, axis=0), np.roll(v, shift, axis=0), 0, name, shift)[2].p
            for shift in control_shifts(len(envelope), bin_width_s=dt, n_shifts=3)
        ]
        for name, c, v in (
            ("neural_shifted", units.counts, units.valid),
            ("time_reversed", units.counts[::-1], units.valid[::-1]),
        )
    }
    tested = found.sound_bins[2] * dt >= MIN_SOUND_S
    spans = pd.DataFrame({"bout": located.bout_id, "start_s": located.start_s, "stop_s": located.stop_s, "part": part})
    return _dataset(
        units, modulation, found, curves, controlled, spans, tested, lags, edges_hz, options, len(calls), "calls"
    )


def profile_playback(
    units: Counts, power_db: np.ndarray, *, clip_start_s, clip_split, clip_duration_s, edges_hz: np.ndarray, options
) -> xr.Dataset:
    """The same for sounds that are no calls, from `power_db` (n_bins, n_bands; NaN: no sound)."""
    dt = units.bin_width_s
    sound = playback.sound_side(power_db, bin_width_s=dt)
    modulation = _modulation(units, sound.loudness, options)
    if not units.unit_ids or not sound.heard.any():
        return _untested(units, modulation, edges_hz=edges_hz, options=options, n_calls=0, method="playback")
    role = np.select([clip_split == "train", np.isin(clip_split, ["validation", "test"])], [0, 1], 2)
    part = np.full(len(units.start_s), 2)
    for start_s, value in zip(clip_start_s, role, strict=True):
        part[np.abs(units.start_s - start_s - clip_duration_s / 2) <= clip_duration_s / 2] = value
    lags = options.lags(dt, step_s=LAG_STEP_S)
    cosines = slow_cosines(len(power_db), bin_width_s=dt, shortest_period_s=SLOWEST_S)
    firing = without_drift(units.counts.astype(float), units.valid, cosines)

    def test(values):
        return playback.playback_selectivity(sound, values, part, lags=lags, bin_width_s=dt)

    found = test(firing)
    mean_count = (units.counts * units.valid).sum(axis=0) / np.maximum(units.valid.sum(axis=0), 1)
    curves = []
    for index in (found.lag_a, found.lag):
        response, starts = playback.block_sums(sound, firing, lag=lags[index], bin_width_s=dt)
        size = np.diff(np.append(starts, len(firing)))
        gram = size[:, None, None] * np.eye(response.shape[2] + 1)  # each band by itself: bands have unit variance
        curves.append(_Curves(np.pad(response, ((0, 0), (0, 0), (0, 1))), gram, mean_count))
    controlled = {
        name: [test(np.roll(v, shift, axis=0)).p for shift in control_shifts(len(firing), bin_width_s=dt, n_shifts=2)]
        for name, v in (("neural_shifted", firing), ("time_reversed", firing[::-1]))
    }
    middle = np.minimum(starts + size // 2, len(part) - 1)
    spans = pd.DataFrame(
        {"bout": np.arange(len(starts)), "start_s": units.start_s[starts], "stop_s": units.start_s[starts] + size * dt}
    ).assign(part=part[middle])
    tested = np.ones(len(edges_hz) - 1, bool)
    return _dataset(units, modulation, found, curves, controlled, spans, tested, lags, edges_hz, options, 0, "playback")


def profile_none(units: Counts, *, edges_hz: np.ndarray, options: Options) -> xr.Dataset:
    """A session with one modality: nothing can be tested, and the arrays say so by NaN."""
    modulation = _modulation(units, np.zeros(len(units.start_s)), options)
    return _untested(units, modulation, edges_hz=edges_hz, options=options, n_calls=0, method="none")


def _modulation(units: Counts, envelope: np.ndarray, options: Options) -> Modulation:
    dt = units.bin_width_s
    covered = np.flatnonzero(units.valid.any(axis=1))
    if not len(covered) or not envelope.any():
        nan = np.full(len(units.unit_ids), np.nan)
        return Modulation(nan, np.nan, nan, np.zeros(len(nan), int), {name: np.empty((0, 0)) for name in CONTROLS})
    rows = slice(covered[0], covered[-1] + 1)
    return vocal_modulation(
        envelope[rows],
        units.counts[rows],
        units.valid[rows],
        lags=options.lags(dt, step_s=dt),
        bin_width_s=dt,
        n_surrogates=options.n_surrogates_fine,
        control_shifts=control_shifts(rows.stop - rows.start, bin_width_s=dt, n_shifts=20),
    )


def _untested(units, modulation, *, edges_hz, options, n_calls, method) -> xr.Dataset:
    n_units, n_bands = len(units.unit_ids), len(edges_hz) - 1
    nan, zero = np.full(n_units, np.nan), np.zeros(n_units, int)
    found = Selectivity(
        p=nan,
        p_floor=nan,
        statistic=nan,
        z_threshold=nan,
        lag=zero,
        lag_a=zero,
        z=np.full((3, n_units, n_bands), np.nan),
        surrogate_z_b=np.full((0, n_units, n_bands), np.nan),
        sound_bins=np.zeros((3, n_bands)),
    )
    empty = _Curves(np.zeros((0, n_units, n_bands + 1)), np.zeros((0, n_bands + 1, n_bands + 1)), np.zeros(n_units))
    spans = pd.DataFrame({"bout": [], "start_s": [], "stop_s": [], "part": []}).astype({"bout": int, "part": int})
    tested = np.zeros(n_bands, bool)
    return _dataset(
        units,
        modulation,
        found,
        [empty, empty],
        {},
        spans,
        tested,
        np.zeros(1, int),
        edges_hz,
        options,
        n_calls,
        method,
    )


def _dataset(
    units, modulation, found, curves, controlled, spans, tested, lags, edges_hz, options, n_calls, method
) -> xr.Dataset:
    dt, n_units, n_bands = units.bin_width_s, len(units.unit_ids), len(edges_hz) - 1
    centre_hz = (edges_hz[1:] + edges_hz[:-1]) / 2
    by_part, whole = curves
    members = [spans["part"].to_numpy() == 0, spans["part"].to_numpy() == 1]
    tuning_gain = np.stack(
        [_gain(by_part, weights, tested) for weights in members] + [_gain(whole, np.ones(len(spans)), tested)]
    )
    peak_hz, peak_ci_hz, gain_ci = _bootstrap(whole, tested, centre_hz, edges_hz, options)
    z = np.where(tested, found.z, np.nan)
    fraction, se, n = fractions({"vocal": modulation.controls, "band": controlled})
    unit_part_band = ("part", "unit", "band")
    return xr.Dataset(
        {
            "band_low_hz": ("band", edges_hz[:-1]),
            "band_high_hz": ("band", edges_hz[1:]),
            "band_tested": ("band", tested),
            "sound_s": (("part", "band"), found.sound_bins * dt),
            "n_spikes": ("unit", (units.counts * units.valid).sum(axis=0)),
            "rate_hz": (
                "unit",
                (units.counts * units.valid).sum(axis=0) / np.maximum(units.valid.sum(axis=0) * dt, dt),
            ),
            "p_vocal": ("unit", modulation.p),
            "p_floor_vocal": ("unit", np.full(n_units, modulation.p_floor)),
            "vocal_statistic": ("unit", modulation.statistic),
            "vocal_lag_s": ("unit", options.lags(dt, step_s=dt)[modulation.lag] * dt),
            "p_band": ("unit", found.p),
            "p_floor_band": ("unit", found.p_floor),
            "band_statistic": ("unit", found.statistic),
            "z_threshold": ("unit", found.z_threshold),
            "lag_s": ("unit", lags[found.lag] * dt),
            "lag_a_s": ("unit", lags[found.lag_a] * dt),
            "split_half_r": ("unit", _correlation(z[0], z[1])),
            "peak_hz": ("unit", peak_hz),
            "peak_ci_hz": (("unit", "edge"), peak_ci_hz),
            "tuning_z": (unit_part_band, z.astype(np.float32)),
            "tuning_gain": (unit_part_band, tuning_gain.astype(np.float32)),
            "tuning_gain_ci": (("unit", "band", "edge"), gain_ci.astype(np.float32)),
            "mean_count": ("unit", by_part.mean_count),
            "bout_part": ("bout", PART_NAMES[spans["part"].to_numpy(int)].astype(object)),
            "bout_start_s": ("bout", spans["start_s"].to_numpy(float)),
            "bout_stop_s": ("bout", spans["stop_s"].to_numpy(float)),
            "bout_response": (("bout", "unit", "design"), by_part.response.astype(np.float32)),
            "bout_gram": (("bout", "design", "design_2"), by_part.gram.astype(np.float32)),
            "surrogate_z_b": (("surrogate", "unit", "band"), found.surrogate_z_b.astype(np.float32)),
            "control_fraction": (("control", "level"), fraction),
            "control_se": (("control", "level"), se),
            "control_n": (("control", "level"), n),
        },
        coords={
            "unit": np.array(units.unit_ids, object),
            "band": centre_hz,
            "part": np.array(PARTS, object),
            "bout": spans["bout"].to_numpy(),
            "edge": np.array(["low", "high"], object),
            "control": np.array(CONTROLS, object),
            "level": np.array(LEVELS, object),
        },
        attrs={
            "session": options.session,
            "method": method,
            "null_vocal": NULL_VOCAL,
            "null_band": NULLS[method],
            "bin_width_s": dt,
            "n_calls": n_calls,
            "n_bouts": len(spans),
            "n_surrogates": options.n_surrogates,
        },
    )


def _gain(curves: _Curves, weights: np.ndarray, tested: np.ndarray) -> np.ndarray:
    response = np.tensordot(weights.astype(float), curves.response, 1)
    gram = np.tensordot(weights.astype(float), curves.gram, 1)
    return gains(response, gram, curves.mean_count, tested=tested, ridge_bins=RIDGE_BINS)


def _bootstrap(curves: _Curves, tested, centre_hz, edges_hz, options: Options):
    """Peak (n_units,), its interval (n_units, 2) and that of the gains (n_units, n_bands, 2), bouts resampled."""
    n_bouts, n_units = curves.response.shape[:2]
    nan = np.full((n_units, 2), np.nan)
    if not tested.any() or not n_units or n_bouts < 2:
        return nan[:, 0], nan, np.full((n_units, len(tested), 2), np.nan)
    peak_hz = peak_bands(_gain(curves, np.ones(n_bouts), tested), centre_hz, edges_hz)["peak_hz"]
    draws = options.generator("bootstrap").multinomial(n_bouts, np.full(n_bouts, 1 / n_bouts), options.n_bootstrap)
    drawn = _gain(curves, draws, tested)  # (n_bootstrap, n_units, n_bands)
    peaks = peak_bands(drawn.reshape(-1, len(tested)), centre_hz, edges_hz)["peak_hz"].reshape(len(drawn), n_units)
    gain_ci = np.full((n_units, len(tested), 2), np.nan)
    gain_ci[:, tested] = np.moveaxis(np.quantile(drawn[..., tested], [0.025, 0.975], axis=0), 0, -1)
    return peak_hz, np.quantile(peaks, [0.025, 0.975], axis=0).T, gain_ci


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation along the last axis over bands that both have; NaN where there is none."""
    both = np.isfinite(a) & np.isfinite(b)
    size = np.maximum(both.sum(axis=-1, keepdims=True), 1)
    a, b = np.where(both, a, 0), np.where(both, b, 0)
    a, b = (
        np.where(both, a - a.sum(-1, keepdims=True) / size, 0),
        np.where(both, b - b.sum(-1, keepdims=True) / size, 0),
    )
    scale = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return np.divide((a * b).sum(-1), scale, out=np.full(scale.shape, np.nan), where=scale > 0)
