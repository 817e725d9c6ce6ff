"""Units whose firing follows the pitch of the song, any song, the animal's running, or nothing at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.stats import norm

from pipeline.seeds import numpy_generator

Scenario = Literal["planted", "unrelated", "vocal_only", "drift_and_habituation", "other_session"]
Tuning = Literal["bands", "continuum"]
MEDIAN_RATE_HZ = 4.0

_LOG_RATE_SD = 0.5
_BEST_SD_HZ, _LAG_SD_S = 500.0, 0.002  # scatter of the units of one cluster
_VOCAL_LAG_S = 0.01
_TREND_SD = 1.0  # of log rates: a third of the units change their rate more than e-fold over the session


@dataclass(frozen=True)
class Band:
    """Frequencies that a cluster stands for: its tuning is above half of its peak from `low_hz` to `high_hz`."""

    low_hz: float
    high_hz: float
    lag_s: float

    @property
    def best_hz(self) -> float:
        return (self.low_hz + self.high_hz) / 2


CLUSTERS = (
    Band(45_000, 54_000, -0.02),
    Band(57_000, 66_000, 0.01),
    Band(69_000, 79_000, 0.03),
    Band(82_000, 93_000, 0.0),
)
CONTINUUM = Band(45_000, 93_000, 0.01)


@dataclass(frozen=True)
class Unit:
    """A planted unit; a positive lag is a response after the sound.

    Tuned units have one band, suppressed ones one and a `gain` below 1, multiplexed ones two; others have none.
    `trend` is the change of the log rate from the start to the end of the session, linked to nothing.
    """

    kind: Literal["tuned", "vocal", "unrelated", "multiplexed", "suppressed", "movement"]
    baseline_hz: float
    gain: float = 1.0
    lag_s: float = 0.0
    cluster: int = -1
    bands: tuple[Band, ...] = ()
    trend: float = 0.0

    def drive(self, pitch_hz: np.ndarray) -> np.ndarray:
        """Firing over the baseline rate while this pitch sounds, from 1 to `gain`; shape as `pitch_hz`."""
        if not self.bands:
            return np.full_like(pitch_hz, self.gain)
        offset = [(pitch_hz - band.best_hz) / (band.high_hz - band.low_hz) for band in self.bands]
        # half of the way from 1 to the gain at both edges of the band
        return 1 + (self.gain - 1) * np.exp2(-4 * np.min(np.square(offset), axis=0))


def planted_bands(*, scenario: Scenario, tuning: Tuning, band_width: float, gain: float) -> list[Band]:
    """What there is to find: one band a cluster, the whole range for a continuum, nothing in the null scenarios."""
    if gain == 1 or scenario != "planted":
        return []
    return [_widened(band, band_width) for band in CLUSTERS] if tuning == "bands" else [CONTINUUM]


def draw_units(
    *,
    scenario: Scenario,
    tuning: Tuning,
    band_width: float,
    gain: float,
    units_per_band: int,
    n_vocal: int,
    n_multiplexed: int,
    n_suppressed: int,
    n_movement: int,
    n_unrelated: int,
    seed: int,
    name: str,
) -> list[Unit]:
    """Draw the units of the session `name`: tuned, vocal and unrelated ones in random order, the others after them.

    `units_per_band` counts per element of `CLUSTERS`; a continuum has as many units in all, with best frequencies
    spread evenly. `band_width` multiplies the width of all bands. Each kind has draws of its own: more units of one
    kind leave the others as they are. At gain 1 every unit is unrelated.
    """
    units = _tuned_units(
        tuning=tuning,
        band_width=band_width,
        gain=gain,
        units_per_band=units_per_band,
        n_vocal=n_vocal,
        n_unrelated=n_unrelated,
        generator=numpy_generator(seed, name, "units"),
    )
    clusters = range(len(CLUSTERS))
    for kind, n_units, choices, unit_gain in (
        ("multiplexed", n_multiplexed, list(combinations(clusters, 2)), gain),
        ("suppressed", n_suppressed, [(cluster,) for cluster in clusters], 1 / gain),
    ):
        generator = numpy_generator(seed, name, "units", kind)
        for index, rate_hz in enumerate(_rates_hz(n_units, generator)):
            bands = tuple(_member(CLUSTERS[c], band_width, generator) for c in choices[index % len(choices)])
            units.append(Unit(kind, rate_hz, unit_gain, bands[0].lag_s, bands=bands))
    rates_hz = _rates_hz(n_movement, numpy_generator(seed, name, "units", "movement"))
    units += [Unit("movement", rate_hz, gain) for rate_hz in rates_hz]
    return _under(scenario, units, gain=gain, generator=numpy_generator(seed, name, "units", "trends"))


def _tuned_units(
    *,
    tuning: Tuning,
    band_width: float,
    gain: float,
    units_per_band: int,
    n_vocal: int,
    n_unrelated: int,
    generator: np.random.Generator,
) -> list[Unit]:
    units = []
    for cluster, band in enumerate(CLUSTERS):
        for index, rate_hz in enumerate(_rates_hz(units_per_band, generator)):
            if tuning == "continuum":
                share = (cluster + (index + generator.random()) / units_per_band) / len(CLUSTERS)
                best_hz = CONTINUUM.low_hz + share * (CONTINUUM.high_hz - CONTINUUM.low_hz)
                half_hz = band_width * (band.high_hz - band.low_hz) / 2
                lag_s = CONTINUUM.lag_s + _LAG_SD_S * generator.standard_normal()
                own, member = Band(best_hz - half_hz, best_hz + half_hz, lag_s), 0
            else:
                own, member = _member(band, band_width, generator), cluster
            units.append(Unit("tuned", rate_hz, gain, own.lag_s, member, (own,)))
    units += [Unit("vocal", rate_hz, gain, _VOCAL_LAG_S) for rate_hz in _rates_hz(n_vocal, generator)]
    units += [Unit("unrelated", rate_hz) for rate_hz in _rates_hz(n_unrelated, generator)]
    return [units[index] for index in generator.permutation(len(units))]


def _member(band: Band, band_width: float, generator: np.random.Generator) -> Band:
    """The own band of a unit of a cluster."""
    best_hz = band.best_hz + _BEST_SD_HZ * generator.standard_normal()
    half_hz = band_width * (band.high_hz - band.low_hz) / 2
    return Band(best_hz - half_hz, best_hz + half_hz, band.lag_s + _LAG_SD_S * generator.standard_normal())


def _widened(band: Band, band_width: float) -> Band:
    half_hz = band_width * (band.high_hz - band.low_hz) / 2
    return Band(band.best_hz - half_hz, band.best_hz + half_hz, band.lag_s)


def _under(scenario: Scenario, units: Sequence[Unit], *, gain: float, generator: np.random.Generator) -> list[Unit]:
    """The same units, with the same rates, as the scenario has them."""
    if gain == 1:
        units = [Unit("unrelated", unit.baseline_hz) for unit in units]
    if scenario == "vocal_only":
        return [Unit("vocal", unit.baseline_hz, gain, _VOCAL_LAG_S) if unit.bands else unit for unit in units]
    if scenario in ("unrelated", "drift_and_habituation"):
        units = [unit if unit.kind == "movement" else Unit("unrelated", unit.baseline_hz) for unit in units]
    if scenario == "drift_and_habituation":
        return [replace(unit, trend=_TREND_SD * generator.standard_normal()) for unit in units]
    return list(units)


def _rates_hz(n_units: int, generator: np.random.Generator) -> np.ndarray:
    """Log-normal rates, one from each n-th part of the distribution, so that small clusters are alike."""
    shares = (np.arange(n_units) + generator.random(n_units)) / max(n_units, 1)
    return MEDIAN_RATE_HZ * np.exp(_LOG_RATE_SD * norm.ppf(generator.permutation(shares)))
