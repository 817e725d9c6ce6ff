"""Offsets of two pulse trains: proposed by votes of short stretches, and followed from one stretch to the next."""

from dataclasses import dataclass

import numpy as np

LARGEST_DRIFT = 250e-6  # 200 ppm, and room for what jitter adds
STRETCH_S = 300.0  # how long a stretch is, so that its drift is straight,
MOST_A_STRETCH, LEAST_A_STRETCH = 24, 8  # within these numbers of pulses: enough to be told apart
STEP_S, LEAST_A_STEP = 60.0, 3  # a drift is followed by so much at a time, in s and in pulses, at least,
BASE_S, LEAST_A_BASE = 300.0, 4  # and goes on from the straight line through so much of what is known before
N_STRETCHES = 12
OFFSETS_A_STRETCH = 5
MOST_STARTS = 6
MOST_VOTES = 4_000_000  # differences of times that are held at once
MOST_POINTS = 96
WANDER = 50e-6  # how fast the offset may leave its straight continuation: as crystals do with temperature
BEND_S = 0.03  # how far an hour's drift may be from a straight line


@dataclass(frozen=True)
class Stretch:
    """An offset (session time minus audio time) that the pulses `first` to `last` (not with it) vote for.

    `apart_s` is the offset at `at_s`, in their middle, and `slope` how it changes, s/s.
    """

    at_s: float
    apart_s: float
    slope: float
    n_votes: int
    first: int
    last: int


def propose(a: np.ndarray, b: np.ndarray, *, tolerance_s: float, offset_s: float | None) -> list[Stretch]:
    """Starts that most stretches agree with, the best first.

    `a`, `b`: times of pulses, increasing, Shape (n_a,) and (n_b,), at least two each. `offset_s`: `b` minus `a` at the
    first pulse of `a`, where it is roughly known.
    """
    n_pulses = int(np.clip(round(STRETCH_S / _interval(a)), LEAST_A_STRETCH, MOST_A_STRETCH))
    firsts = np.unique(np.linspace(0, max(len(a) - n_pulses, 0), N_STRETCHES).round().astype(int))
    found = [
        start
        for first in firsts
        for start in _offsets(a, b, int(first), n_pulses, tolerance_s=tolerance_s, offset_s=offset_s)
    ]
    if not found:
        return []
    at, apart, slope = (np.array([getattr(start, name) for start in found]) for name in ("at_s", "apart_s", "slope"))
    votes = np.array([start.n_votes for start in found], float)
    owner = np.array([start.first for start in found])
    scores = np.zeros(len(found))
    for i in range(len(found)):
        reach = tolerance_s + (BEND_S if len(firsts) > 1 else 0) + LARGEST_DRIFT * np.abs(at - at[i])
        agree = np.abs(apart - apart[i]) <= reach
        scores[i] = sum(votes[agree & (owner == first)].max(initial=0) for first in firsts)
    if offset_s is None:
        order = np.lexsort((-votes, -scores))
    else:  # among equals, what is near to the known offset
        order = np.lexsort((np.abs(apart + slope * (a[0] - at) - offset_s), scores < 0.5 * scores.max()))
    chosen: list[Stretch] = []
    for i in order:
        new = all(
            abs(found[i].apart_s - other.apart_s) > tolerance_s + LARGEST_DRIFT * abs(found[i].at_s - other.at_s)
            for other in chosen
        )
        if new:
            chosen.append(found[i])
        if len(chosen) == MOST_STARTS:
            break
    return chosen


def follow(a: np.ndarray, b: np.ndarray, start: Stretch, *, tolerance_s: float) -> np.ndarray:
    """Pairs of pulses (indices into `a` and `b`) along a drift from one stretch on to both ends. Shape (n, 2)."""
    seed = _near(a, b, np.arange(start.first, start.last), start.at_s, start.apart_s, start.slope, tolerance_s)
    if len(seed) < 2:
        return seed
    forwards = _onwards(a, b, seed, start.last, tolerance_s)
    # backwards is forwards in time that runs the other way
    mirrored = np.array([len(a) - 1, len(b) - 1])
    backwards = mirrored - _onwards(-a[::-1], -b[::-1], (mirrored - seed)[::-1], len(a) - start.first, tolerance_s)
    return np.unique(np.concatenate([seed, forwards, backwards]), axis=0)


def _onwards(a: np.ndarray, b: np.ndarray, seed: np.ndarray, edge: int, tolerance_s: float) -> np.ndarray:
    """Pairs from the pulse `edge` of `a` on to the end."""
    known = [seed]
    while edge < len(a):
        recent, i = known[-1], len(known) - 1
        while i > 0 and (a[recent[-1, 0]] - a[recent[0, 0]] < BASE_S or len(recent) < LEAST_A_BASE):
            i -= 1
            recent = np.concatenate([known[i], recent])
        at_s = a[recent[:, 0]]
        base_s = at_s[-1] - at_s[0]
        centre, level, slope = _line(at_s, b[recent[:, 1]] - at_s)
        slope = min(max(slope, -LARGEST_DRIFT), LARGEST_DRIFT)
        # no further than the line is long, since jitter tilts a short one
        until = int(np.searchsorted(a, a[edge] + min(base_s, STEP_S)))
        index = np.arange(edge, min(max(until, edge + LEAST_A_STEP), len(a)))
        reach_s = tolerance_s + (WANDER + tolerance_s / max(base_s, STEP_S)) * (a[index[-1]] - at_s[-1])
        step = _relock(a, b, index, centre, level, slope, reach_s, tolerance_s)
        if len(step):
            known.append(step)
        edge = int(index[-1]) + 1
    return np.concatenate(known)


def _offsets(
    a: np.ndarray, b: np.ndarray, first: int, n_pulses: int, *, tolerance_s: float, offset_s: float | None
) -> list[Stretch]:
    """The offsets that most pulses of a stretch vote for; or of many, those nearest to what is known."""
    times = a[first : first + n_pulses]
    last, at = first + len(times), float(times.mean())
    times = times[:: max(len(b) * len(times) // MOST_VOTES, 1)]
    apart = (b[None] - times[:, None]).ravel()
    who = np.repeat(times - at, len(b))
    order = np.argsort(apart)
    apart, who = apart[order], who[order]
    width = 2 * (tolerance_s + LARGEST_DRIFT * float(np.abs(times - at).max()))
    until = np.searchsorted(apart, apart + width, side="right")
    votes = until - np.arange(len(apart))
    found: list[Stretch] = []
    taken = np.zeros(len(apart), bool)
    many = np.flatnonzero(votes >= max(2, (0.3 if offset_s is None else 0.6) * votes.max()))
    order = -votes[many] if offset_s is None else np.abs(apart[many] - offset_s)
    for i in many[np.argsort(order, kind="stable")]:
        if len(found) == OFFSETS_A_STRETCH:
            break
        if taken[i]:
            continue
        taken[max(np.searchsorted(apart, apart[i] - width), 0) : until[i]] = True
        level, slope, n_votes = _consensus(who[i : until[i]], apart[i : until[i]], LARGEST_DRIFT, 0.0, tolerance_s)
        if n_votes >= 2:
            found.append(Stretch(at, level, slope, n_votes, first, last))
    return found


def _consensus(
    at: np.ndarray, apart: np.ndarray, steepest: float, slope: float, tolerance_s: float
) -> tuple[float, float, int]:
    """The line through two points that most points are near to: its level at 0, its slope, and how many they are."""
    if len(at) > MOST_POINTS:  # dense trains: some are as good as all
        chosen = np.linspace(0, len(at) - 1, MOST_POINTS).round().astype(int)
        at, apart = at[chosen], apart[chosen]
    i, j = np.triu_indices(len(at), 1)
    run = at[j] - at[i]
    possible = run != 0
    i, j, run = i[possible], j[possible], run[possible]
    slopes = (apart[j] - apart[i]) / run
    slack = 2 * tolerance_s / np.abs(run)  # two jittered pulses that are close say little about the slope
    possible = np.abs(slopes - slope) <= steepest + slack
    i, slopes = i[possible], np.clip(slopes[possible], slope - steepest, slope + steepest)
    if not len(i):
        return float(np.median(apart)), slope, 0
    levels = apart[i] - slopes * at[i]
    near = np.abs(apart[None] - levels[:, None] - slopes[:, None] * at[None]) <= tolerance_s
    best = int(near.sum(axis=1).argmax())
    inside = near[best]
    _, level, fitted = _line(at[inside], apart[inside], centre=0.0)
    if abs(fitted - slope) > steepest:
        fitted, level = slopes[best], levels[best]
    return float(level), float(fitted), len(np.unique(at[inside]))


def _relock(
    a: np.ndarray,
    b: np.ndarray,
    index: np.ndarray,
    centre: float,
    level: float,
    slope: float,
    reach_s: float,
    tolerance_s: float,
) -> np.ndarray:
    """Pairs of the next stretch near the continued line, once that is moved to where most of them are."""
    expected = a[index] + level + slope * (a[index] - centre)
    low, high = np.searchsorted(b, expected - reach_s), np.searchsorted(b, expected + reach_s)
    who = np.repeat(np.arange(len(index)), high - low)
    if not len(who):
        return np.empty((0, 2), int)
    which = np.concatenate([np.arange(lo, hi) for lo, hi in zip(low, high, strict=True)])
    off = np.sort(b[which] - expected[who])
    votes = np.searchsorted(off, off + 2 * tolerance_s, side="right") - np.arange(len(off))
    best = int(votes.argmax())
    middle = float(np.median(off[best : best + votes[best]]))
    return _near(a, b, index, centre, level + middle, slope, tolerance_s)


def _near(
    a: np.ndarray, b: np.ndarray, index: np.ndarray, centre: float, level: float, slope: float, tolerance_s: float
) -> np.ndarray:
    """Each pulse of `a[index]` with the nearest of `b` to where the line puts it. Shape (n, 2)."""
    expected = a[index] + level + slope * (a[index] - centre)
    after = np.clip(np.searchsorted(b, expected), 1, len(b) - 1)
    nearest = after - (expected - b[after - 1] < b[after] - expected)
    fits = np.abs(b[nearest] - expected) <= tolerance_s
    pairs = np.c_[index[fits], nearest[fits]]
    return pairs[np.unique(pairs[:, 1], return_index=True)[1]]


def _line(at: np.ndarray, apart: np.ndarray, *, centre: float | None = None) -> tuple[float, float, float]:
    """Centre, level there and slope of the least-squares line."""
    middle = at.mean()
    run = at - middle
    spread = run @ run
    slope = float(run @ (apart - apart.mean()) / spread) if spread > 0 else 0.0
    centre = float(middle) if centre is None else centre
    return centre, float(apart.mean() + slope * (centre - middle)), slope


def _interval(times_s: np.ndarray) -> float:
    return max(float(times_s[-1] - times_s[0]) / (len(times_s) - 1), 1e-9)
