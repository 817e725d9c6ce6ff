"""How exact the clock is that comes from pulses on two devices, and how often none is given.

    python benchmarks/clock.py [--recordings 20]

Simulates pulses at random intervals over one hour as two devices with jitter see them: offset up to 5000 s, drift of
100 ppm, steady or with 20 ppm more and less in half an hour (as a crystal that warms and cools); pulses that each
device misses, and as many that it makes up. Prints, in Markdown, the error of the fitted clock at its worst moment of
the hour, the worst and the median of all recordings, and how many recordings were refused. The peer pairs the k-th
pulse with the k-th and fits a line (numpy.polyfit), as is often done; it refuses nothing. A second table has pulses
that cannot be told apart or have nothing to do with each other: here only refusals are right.
"""

import argparse
import time

import numpy as np

from pipeline.clock import fit_clock
from pipeline.errors import InputError
from pipeline.pulses import Pulses
from pipeline.pulses.matching import match_pulses

HOUR_S = 3600.0
DRIFT, WANDER, PERIOD_S = 100e-6, 20e-6, 1800.0
MAX_RESIDUAL_S = 0.002
EXACT_S = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=20, help="simulated recordings a row")
    n = parser.parse_args().recordings
    print(
        "| pulses | jitter SD ms | missing and spurious | drift | Duet: worst (median) error ms | refused | wrong |",
        end="",
    )
    print(" CPU s | in order: worst (median) error ms | ratio of medians |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for interval_s in (1.0, 10.0, 60.0):
        for jitter_s in (1e-4, 5e-4):
            for lost in (0.0, 0.1, 0.3):
                for wander in (0.0, WANDER):
                    print(_row(n, interval_s=interval_s, jitter_s=jitter_s, lost=lost, wander=wander), flush=True)
    print("\n| pulses that tell no offset | refused |")
    print("|---|---|")
    for name, draw in NULLS.items():
        refused = sum(_clock(*draw(np.random.default_rng([1, seed]))) is None for seed in range(5 * n))
        print(f"| {name} | {refused} of {5 * n} |", flush=True)


def _row(n: int, *, interval_s: float, jitter_s: float, lost: float, wander: float) -> str:
    t_s = np.linspace(0, HOUR_S, 20_000)
    errors, peer, refused, spent_s = [], [], 0, 0.0
    for seed in range(n):
        rng = np.random.default_rng([seed, round(interval_s)])
        offset_s = rng.uniform(-5000, 5000)

        def truth(t, offset_s=offset_s):
            slow = PERIOD_S / (2 * np.pi) * np.sin(2 * np.pi * t / PERIOD_S)
            return offset_s + t * (1 + DRIFT) + wander * slow

        emitted_s = _random(rng, interval_s)
        audio = _seen(rng, emitted_s, np.array([0.0, HOUR_S]), jitter_s=jitter_s, lost=lost)
        nwb = _seen(rng, truth(emitted_s), truth(np.array([0.0, HOUR_S])), jitter_s=jitter_s, lost=lost)
        start_s = time.process_time()
        clock = _clock(audio, nwb)
        spent_s += time.process_time() - start_s
        if clock is None:
            refused += 1
        else:
            errors.append(np.abs(clock.to_session(t_s) - truth(t_s)).max() * 1e3)
        shared = min(len(audio), len(nwb))
        slope, level = np.polyfit(audio.onset_s[:shared] - HOUR_S / 2, nwb.onset_s[:shared], 1)
        peer.append(np.abs(level + slope * (t_s - HOUR_S / 2) - truth(t_s)).max() * 1e3)
    wrong = sum(error > EXACT_S * 1e3 for error in errors)
    worst, median = (max(errors), np.median(errors)) if errors else (np.nan, np.nan)
    return (
        f"| one in {interval_s:g} s | {jitter_s * 1e3:g} | {lost:.0%} | 100 ppm{' +- 20 ppm' if wander else ''} "
        f"| {worst:.2f} ({median:.2f}) | {refused} of {n} | {wrong} | {spent_s / n:.2f} "
        f"| {max(peer):.3g} ({np.median(peer):.3g}) | {np.median(peer) / median:.3g} |"
    )


def _clock(audio: Pulses, nwb: Pulses):
    """The clock, or None where it is refused."""
    try:
        matched = match_pulses(audio, nwb, tolerance_s=0.9 * MAX_RESIDUAL_S, offset_s=None)
        return fit_clock(matched.audio_s, matched.nwb_s, max_residual_s=MAX_RESIDUAL_S, where="simulated")
    except InputError:
        return None


def _random(rng: np.random.Generator, interval_s: float) -> np.ndarray:
    emitted_s = np.cumsum(rng.uniform(0.5, 1.5, int(2 * HOUR_S / interval_s)) * interval_s)
    return emitted_s[emitted_s < HOUR_S]


def _seen(rng, on_clock_s, span_s, *, jitter_s=2e-4, lost=0.0, known=True) -> Pulses:
    kept = on_clock_s[rng.random(len(on_clock_s)) >= lost]
    made_up = rng.uniform(*span_s, round(lost * len(on_clock_s)))
    onset_s = np.sort(np.r_[kept + jitter_s * rng.standard_normal(len(kept)), made_up])
    return Pulses(onset_s, span_s[None] if known else onset_s[[0, -1]][None], "simulated")


def _unrelated(interval_s: float, n_pulses: int):
    def draw(rng):
        trains = [np.cumsum(rng.uniform(0.5, 1.5, n_pulses + i) * interval_s) for i in (0, int(rng.integers(3)))]
        return [_seen(rng, train, np.array([0.0, train[-1] + 1]), known=False) for train in trains]

    return draw


def _steady(jitter_s: float, n_pulses: int):
    """Part of a steady train in the sound, all of it in the NWB file."""

    def draw(rng):
        emitted_s = np.arange(n_pulses) + jitter_s * rng.standard_normal(n_pulses)
        first, last = n_pulses // 8 + int(rng.integers(5)), n_pulses - n_pulses // 8
        heard = emitted_s[first:last]
        audio = _seen(rng, heard - heard[0] + 0.4, np.array([0.0, heard[-1] - heard[0] + 0.8]))
        return audio, _seen(rng, emitted_s + 700, np.array([0.0, 1.0]), known=False)

    return draw


NULLS = {
    "3 unrelated, one in 10 s": _unrelated(10.0, 3),
    "10 unrelated, one in 10 s": _unrelated(10.0, 10),
    "100 unrelated, one in 1 s": _unrelated(1.0, 100),
    "100 unrelated, one in 0.05 s": _unrelated(0.05, 100),
    "steady, the sound has a part of them": _steady(0.0, 200),
    "steady but for 1 ms, the sound has a part of them": _steady(1e-3, 200),
}


if __name__ == "__main__":
    main()
