"""Offsets of two pulse trains: proposed by votes of short stretches, and followed from one stretch to the next."""

from dataclasses import dataclass

import numpy as np

LARGEST_DRIFT = 250e-6  # 200 ppm, and room for what jitter adds
STRETCH = 24  # pulses: enough to be told apart, short enough for drift to hardly matter
STEP_S = 10.0  # dense trains are followed in longer stretches,
BASE_S = 60.0  # and continued from what is known of the last minute, at least
N_STRETCHES = 12
OFFSETS_A_STRETCH = 5
MOST_STARTS = 6
MOST_VOTES = 4_000_000  # differences of times that are held at once
WANDER = 50e-6  # how fast the offset may leave its straight continuation: as crystals do with temperature
BEND_S = 0.03  # how far an hour's drift may be from a straight line


@dataclass(frozen=True)
class Stretch:
    """An offset (session time minus audio time) that pulses around `at_s` vote for, and how it changes, s/s."""

    at_s: float
    apart_s: float
    slope: float
    n_votes: int
    first: int


def propose(a: np.ndarray, b: np.ndarray, *, tolerance_s: float, offset_s: float | None) -> list[Stretch]:
    """Starts that most stretches agree with, the best first.

    `a`, `b`: times of pulses, increasing, Shape (n_a,) and (n_b,), at least two each.
    """
    firsts = np.unique(np.linspace(0, max(len(a) - STRETCH, 0), N_STRETCHES).round().astype(int))
    found = [start for first in firsts for start in _offsets(a, b, int(first), tolerance_s, offset_s)]
    if not found:
        return []
    at = np.array([start.at_s for start in found])
    apart = np.array([start.apart_s for start in found])
    votes = np.array([start.n_votes for start in found], float)
    slope = np.array([start.slope for start in found])
    owner = np.array([start.first for start in found])
    scores = []
    for i in range(len(found)):
        reach = tolerance_s + (BEND_S if len(firsts) > 1 else 0) + LARGEST_DRIFT * np.abs(at - at[i])
        agree = np.abs(apart - apart[i]) <= reach
        scores.append(sum(votes[agree & (owner == first)].max(initial=0) for first in firsts))
    scores = np.array(scores)
    if offset_s is not None:  # among equals, what is near to the known offset
        far = np.abs(apart + slope * (a[0] - at) - offset_s)
        order = np.lexsort((far, scores < 0.5 * scores.max()))
    else:
        order = np.lexsort((-votes, -scores))
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
    last = min(start.first + STRETCH, len(a))
    stretch = max(STRETCH, round(STEP_S * len(a) / max(a[-1] - a[0], STEP_S)))
    pairs = _near(a, b, np.arange(start.first, last), start.at_s, start.apart_s, start.slope, tolerance_s)
    pairs = list(map(tuple, pairs))
    n_base = max(4 * STRETCH, round(BASE_S * len(a) / max(a[-1] - a[0], BASE_S)))
    for direction in (1, -1):
        known = list(pairs)
        edges = range(last, len(a), stretch) if direction > 0 else range(start.first, 0, -stretch)
        for edge in edges:
            index = np.arange(max(edge, 0), min(edge + stretch, len(a)))
            if direction < 0:
                index = np.arange(max(edge - stretch, 0), edge)
            recent = np.array(known[-n_base:])
            if len(recent) < 2:
                break
            at, apart = a[recent[:, 0]], b[recent[:, 1]] - a[recent[:, 0]]
            centre, level, slope = _line(at, apart)
            slope = min(max(slope, -LARGEST_DRIFT), LARGEST_DRIFT)
            reach = tolerance_s + WANDER * np.abs(a[index] - at[-1]).max()
            step = _relock(a, b, index, centre, level, slope, reach, tolerance_s)
            step = step if direction > 0 else step[::-1]
            known += list(map(tuple, step))
            pairs += list(map(tuple, step))
    return np.array(sorted(set(pairs)), int).reshape(-1, 2)


def _offsets(a: np.ndarray, b: np.ndarray, first: int, tolerance_s: float, offset_s: float | None) -> list[Stretch]:
    """The offsets that most pulses of a stretch vote for; or of many, those nearest to what is known."""
    times = a[first : first + STRETCH]
    at = float(times.mean())
    step = max(len(b) * len(times) // MOST_VOTES, 1)
    times = times[::step]
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
            found.append(Stretch(at, level, slope, n_votes, first))
    return found


def _consensus(
    at: np.ndarray, apart: np.ndarray, steepest: float, slope: float, tolerance_s: float
) -> tuple[float, float, int]:
    """The line through two points that most points are near to: its level at 0, its slope, and how many they are."""
    if len(at) > 4 * STRETCH:  # dense trains; the middle is as good as all
        chosen = np.linspace(0, len(at) - 1, 4 * STRETCH).round().astype(int)
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
