"""Onsets of pulses in anything sampled that can be read twice, block by block."""

from collections.abc import Callable, Iterable

import numpy as np

from pipeline.errors import InputError
from pipeline.pulses.levels import Histogram, Levels, onsets

BLOCK_SAMPLES = 2**18
HISTOGRAM_HZ = 50_000  # the levels are looked up at this rate: a pulse of 0.1 ms still has five samples
LEAST_INTERVAL_S = 1e-3  # onsets that follow faster are bounces of one pulse
MOST_PULSES_HZ = 1000.0  # on average over a recording; beyond that it is noise

Blocks = Callable[[], Iterable[np.ndarray]]


def pulse_onsets(stretches: list[Blocks], *, rate_hz: float, edge: str, where: str) -> tuple[list[np.ndarray], str]:
    """Fractional sample numbers of the onsets in each stretch of unbroken samples, and a description of the levels.

    `stretches`: functions that yield the samples of one stretch, each Shape (n_samples,); each is called twice, first
    for the levels, which are those of the whole. `edge`: "rising", "falling" or "" (onset of pulses, whatever their
    polarity). Memory does not grow with the length.

    Raises InputError where the samples do not lie at two levels, or change between them too often for pulses.
    """
    histogram = Histogram()
    step = max(int(rate_hz / HISTOGRAM_HZ), 1)
    n_samples = 0
    for blocks in stretches:
        for block in blocks():
            histogram.add(block[::step])
            n_samples += len(block)
    levels = histogram.levels()
    if levels is None:
        reach = f"{histogram.low:.4g} to {histogram.high:.4g}" if histogram.high >= histogram.low else "no number"
        raise InputError(
            "sync: no pulses on this channel",
            where=where,
            found=f"values from {reach}, not at two levels",
            mend="another channel or path; or a CSV with the columns audio_s, nwb_s",
        )
    levels = levels.towards(edge)
    most = MOST_PULSES_HZ * max(n_samples / rate_hz, 1.0)
    found = [_of_stretch(blocks(), levels=levels, rate_hz=rate_hz, most=most, where=where) for blocks in stretches]
    return found, _described(levels)


def spaced(onset_s: np.ndarray) -> np.ndarray:
    """Onsets in order, finite, without those that follow another by less than LEAST_INTERVAL_S."""
    onset_s = np.sort(onset_s[np.isfinite(onset_s)])
    return onset_s[np.diff(onset_s, prepend=-np.inf) >= LEAST_INTERVAL_S]


def _of_stretch(blocks: Iterable[np.ndarray], *, levels: Levels, rate_hz: float, most: float, where: str) -> np.ndarray:
    found, n_found = [np.empty(0)], 0
    for places in onsets(blocks, levels=levels):
        found.append(places)
        n_found += len(places)
        if n_found > most:
            raise InputError(
                "sync: this channel changes level too often for pulses",
                where=where,
                found=f"more than {MOST_PULSES_HZ:g} changes a second; {_described(levels)}",
                mend="another channel or path; is the pulse input of the recorder switched on?",
            )
    return np.concatenate(found)


def _described(levels: Levels) -> str:
    return f"rest at {levels.rest:.4g}, pulses at {levels.pulse:.4g}, on for {levels.share:.2g} of the time"
