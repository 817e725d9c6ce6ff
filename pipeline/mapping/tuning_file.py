"""tuning.nc: what the tests and curves of a session's units look like as labelled arrays."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.covariates import Covariates
from pipeline.mapping.bands import interval, peak_bands
from pipeline.mapping.controls import CONTROLS, LEVELS, fractions
from pipeline.mapping.regressors import Regressors
from pipeline.mapping.tuning import PARTS, Selectivity, pooled_gains
from pipeline.mapping.vocal import Modulation
from pipeline.seeds import numpy_generator

RIDGE_BINS = 20.0
PART_NAMES = np.array(["A", "B", "guard"])
NULLS = {
    "calls": "calls' contours swapped within bouts, time-warped; bout means, onset/offset, level, duration removed",
    "playback": "linear shift, p = m / (N + 1); slow drift and overall loudness removed",
    "presentations": "the presentations in other orders, each with a sound of its length and part; slow drift and "
    "overall loudness removed",
    "none": "not tested",
}
NULL_VOCAL = "circular shift of at least 5 s; cosines of period >= 60 s removed from both sides"


@dataclass(frozen=True)
class Counts:
    """Counts on the grid of a session: `counts`, `valid` (n_bins, n_units); `start_s` (n_bins,) session s.

    `kind`: "spikes", or "traces", which are 0 where they are not valid, less their mean, in their SDs.
    `regressors`: covariates that the tests take out; None: there are none.
    """

    counts: np.ndarray
    valid: np.ndarray
    start_s: np.ndarray
    bin_width_s: float
    unit_ids: list[str]
    kind: str = "spikes"
    regressors: Regressors | None = None

    @property
    def mean(self) -> np.ndarray:
        """Mean count over valid bins, shape (n_units,)."""
        return self.counts.sum(axis=0, where=self.valid) / np.maximum(self.valid.sum(axis=0), 1)

    @classmethod
    def of(cls, grid: xr.Dataset) -> "Counts":
        """The counts or traces of a counts.nc."""
        counts, valid = grid["counts"].values, grid["valid"].values.astype(bool, copy=False)
        if grid.attrs["kind"] == "traces":
            standard = np.zeros(counts.shape, np.float32)
            for unit, (trace, seen) in enumerate(zip(counts.T, valid.T, strict=True)):  # one by one: bounds memory
                if seen.any() and (sd := trace[seen].std(dtype=float)) > 0:
                    standard[seen, unit] = (trace[seen] - trace[seen].mean(dtype=float)) / sd
            counts = standard
        return cls(
            counts=counts,
            valid=valid,
            start_s=grid["bin"].values.astype(float),
            bin_width_s=float(grid.attrs["bin_width_s"]),
            unit_ids=[str(unit) for unit in grid["unit"].values],
            kind=str(grid.attrs["kind"]),
        )

    def beside(self, covariates: Covariates) -> "Counts":
        """The same with covariates; bins in which these are not all known are not valid."""
        regressors = Regressors.of(covariates, start_s=self.start_s)
        return replace(self, valid=self.valid & regressors.known[:, None], regressors=regressors)

    def at(self, bins: slice) -> "Counts":
        """The same in some of the bins."""
        regressors = self.regressors.at(bins) if self.regressors else None
        return replace(
            self, counts=self.counts[bins], valid=self.valid[bins], start_s=self.start_s[bins], regressors=regressors
        )

    def scale(self, mean_count: np.ndarray) -> np.ndarray:
        """What a response (n_units,) is read relative to: the mean count, or the SD that traces are in."""
        return mean_count if self.kind == "spikes" else np.ones_like(mean_count)


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
class Curves:
    """Sums per bout (or block): response (n_bouts, n_units, n_bands + 1), gram (n_bouts, n_bands + 1, n_bands + 1).

    `observed` (n_bouts, n_units): the share of the bout's bins in which the unit was observed; `mean_count` (n_units,):
    what responses are relative to, `Counts.scale`.
    """

    response: np.ndarray
    gram: np.ndarray
    observed: np.ndarray
    mean_count: np.ndarray


def untested_dataset(
    units: Counts,
    modulation: Modulation,
    controlled: dict[str, dict[str, list[np.ndarray]]],
    *,
    edges_hz: np.ndarray,
    options: Options,
    n_calls: int,
    method: str,
) -> xr.Dataset:
    """The arrays of a session in which no band test is possible: NaN, and no bouts."""
    n_units, n_bands = len(units.unit_ids), len(edges_hz) - 1
    nan, zero = np.full(n_units, np.nan), np.zeros(n_units, int)
    found = Selectivity(
        p=nan,
        p_floor=nan,
        p_a=nan,
        statistic=nan,
        lag=zero,
        lag_a=zero,
        z=np.full((3, n_units, n_bands), np.nan),
        surrogate_z_b=np.full((0, n_units, n_bands), np.nan),
        fine=np.zeros(n_units, bool),
        surrogate_z_b_fine=np.empty((0, 0, n_bands), np.float16),
        sound_bins=np.zeros((3, n_bands)),
    )
    sums = np.zeros((0, n_units, n_bands + 1)), np.zeros((0, n_bands + 1, n_bands + 1))
    empty = Curves(*sums, np.zeros((0, n_units)), np.zeros(n_units))
    spans = pd.DataFrame({"bout": [], "start_s": [], "stop_s": [], "part": []}).astype({"bout": int, "part": int})
    return tuning_dataset(
        units,
        modulation=modulation,
        found=found,
        curves=(empty, empty),
        controlled=controlled,
        spans=spans,
        tested=np.zeros(n_bands, bool),
        edges_hz=edges_hz,
        options=options,
        n_calls=n_calls,
        method=method,
    )


def tuning_dataset(
    units: Counts,
    *,
    modulation: Modulation,
    found: Selectivity,
    curves: tuple[Curves, Curves],
    controlled: dict[str, dict[str, list[np.ndarray]]],
    spans: pd.DataFrame,
    tested: np.ndarray,
    edges_hz: np.ndarray,
    options: Options,
    n_calls: int,
    method: str,
) -> xr.Dataset:
    """The arrays of a session.

    `curves`: sums at the lags of part A (kept for later resampling) and of all data; `controlled`: p values by level
    and control, as in `fractions`; `spans`: bout, start_s, stop_s and part (0 A, 1 B, 2 neither) of the bouts;
    `tested` (n_bands,): bands with enough sound; `method`: a key of NULLS.
    """
    dt, n_units = units.bin_width_s, len(units.unit_ids)
    centre_hz = (edges_hz[1:] + edges_hz[:-1]) / 2
    by_part, whole = curves
    members = [spans["part"].to_numpy() == 0, spans["part"].to_numpy() == 1]
    tuning_gain = np.stack(
        [_gain(by_part, weights, tested) for weights in members] + [_gain(whole, np.ones(len(spans)), tested)]
    )
    peak_hz, peak_ci_hz, gain_ci = _bootstrap(whole, tested, centre_hz, edges_hz, options)
    z = np.where(tested, found.z, np.nan)
    fraction, se, n = fractions(controlled)
    unit_part_band = ("part", "unit", "band")
    names = units.regressors.names if units.regressors else []
    removed = f"; covariates removed: {', '.join(names)}" if names else ""
    n_spikes = units.counts.sum(axis=0, where=units.valid) if units.kind == "spikes" else np.full(n_units, np.nan)
    return xr.Dataset(
        {
            "band_low_hz": ("band", edges_hz[:-1]),
            "band_high_hz": ("band", edges_hz[1:]),
            "band_tested": ("band", tested),
            "sound_s": (("part", "band"), found.sound_bins * dt),
            "n_spikes": ("unit", n_spikes),
            "rate_hz": ("unit", n_spikes / np.maximum(units.valid.sum(axis=0) * dt, dt)),
            "p_vocal": ("unit", modulation.p),
            "p_floor_vocal": ("unit", np.full(n_units, modulation.p_floor)),
            "vocal_statistic": ("unit", modulation.statistic),
            "vocal_lag_s": ("unit", options.lags(dt, step_s=dt)[modulation.lag] * dt),
            "p_band": ("unit", found.p),
            "p_floor_band": ("unit", found.p_floor),
            "p_a": ("unit", found.p_a),
            "band_statistic": ("unit", found.statistic),
            "lag_s": ("unit", found.lag * dt),
            "lag_a_s": ("unit", found.lag_a * dt),
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
            "bout_observed": (("bout", "unit"), by_part.observed.astype(np.float32)),
            "bout_gram": (("bout", "design", "design_2"), by_part.gram.astype(np.float32)),
            "surrogate_z_b": (("surrogate", "unit", "band"), found.surrogate_z_b.astype(np.float32)),
            "surrogate_z_b_fine": (("surrogate_fine", "unit_fine", "band"), found.surrogate_z_b_fine),
            "control_fraction": (("control", "level"), fraction),
            "control_se": (("control", "level"), se),
            "control_n": (("control", "level"), n),
        },
        coords={
            "unit": np.array(units.unit_ids, object),
            "unit_fine": np.array(units.unit_ids, object)[found.fine],
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
            "null_vocal": NULL_VOCAL + removed,
            "null_band": NULLS[method] + removed,
            "covariates": "; ".join(names),
            "covariates_known": float(units.regressors.known.mean()) if units.regressors else 1.0,
            "bin_width_s": dt,
            "n_calls": n_calls,
            "n_bouts": len(spans),
            "n_surrogates": options.n_surrogates,
        },
    )


def _gain(curves: Curves, weights: np.ndarray, tested: np.ndarray) -> np.ndarray:
    sums = curves.response, curves.gram, curves.observed, curves.mean_count
    return pooled_gains(weights, *sums, tested=tested, ridge_bins=RIDGE_BINS)


def _bootstrap(curves: Curves, tested, centre_hz, edges_hz, options: Options):
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
    return peak_hz, interval(peaks).T, gain_ci


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
