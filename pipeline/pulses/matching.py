"""Which pulse of one device is which of the other: with pulses that one of them missed or made up.

The clocks differ by an unknown offset and a drift. Pulses of a short stretch of sound vote for the offsets at which
they meet pulses of the NWB file; the offset that most stretches agree on is followed through the recording, stretch by
stretch, so that a drift that changes is followed too. Then the answer has to stand two trials, or there is none: it
must be next to impossible among pulses that have nothing to do with each other, and no other offset may fit almost as
well (of a steady train, every whole period does).
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from pipeline.errors import InputError
from pipeline.pulses import Pulses
from pipeline.pulses.drift import LINE, Drift, fit_drift, pieces_to_try
from pipeline.pulses.stretches import LARGEST_DRIFT, follow, propose

LEAST_SHARE = 1 / 3  # of the pulses of the sparser side, where both devices listened, that must be matched
LARGEST_CHANCE = 1e-4  # expected number of offsets that do as well among unrelated pulses
RIVAL_SHARE = 0.6  # of the matched pulses: an offset that matches more than this share competes
CLEAR_SHARE = 0.8  # matched by one start: others need not be followed
MOST_RIVALS = 100
EDGE_S = 0.05  # a pulse this close to the start or end of a recording may be missed
MEND = (
    "pulses at random intervals tell the offset; or give it roughly, as in wav:1@nwb:/PATH@12.5 (NWB time = audio time "
    "+ offset); or list the matched pulses in a CSV with the columns audio_s, nwb_s"
)


@dataclass(frozen=True, eq=False)
class Matched:
    """Pulses that both devices saw, Shape (n_matched,) each, increasing; and how many only one of them saw."""

    audio_s: np.ndarray
    nwb_s: np.ndarray
    n_audio_only: int
    n_nwb_only: int


def match_pulses(audio: Pulses, nwb: Pulses, *, tolerance_s: float, offset_s: float | None) -> Matched:
    """Pair the pulses of two devices whose clocks differ by an offset and a drift of up to 200 ppm.

    `tolerance_s`: how far a pair may be from the common drift. `offset_s`: NWB time minus audio time at the first
    pulse, where it is roughly known: of several offsets that fit, the nearest is taken.

    Raises InputError where the pulses have nothing to do with each other or fit at several offsets.
    """
    if not (len(audio) and len(nwb)):
        raise _failed("one device saw no pulse", audio, nwb)
    if len(audio) == len(nwb) == 1:
        return Matched(audio.onset_s, nwb.onset_s, 0, 0)
    if min(len(audio), len(nwb)) < 2:
        raise _failed("one pulse cannot be told among several", audio, nwb)
    # times from the first pulses on: clocks may count from 1970
    zero_a, zero_b = audio.onset_s[0], nwb.onset_s[0]
    a, b = audio.onset_s - zero_a, nwb.onset_s - zero_b
    spans_a, spans_b = audio.spans_s - zero_a, nwb.spans_s - zero_b
    tolerance_s = min(tolerance_s, 0.25 * _short_interval(a), 0.25 * _short_interval(b))
    hint_s = None if offset_s is None else offset_s + zero_a - zero_b
    trials = []
    for start in propose(a, b, tolerance_s=tolerance_s, offset_s=hint_s):
        followed = follow(a, b, start, tolerance_s=tolerance_s)
        if len(followed) >= 2:
            drift = fit_drift(a[followed[:, 0]], b[followed[:, 1]] - a[followed[:, 0]], n_pieces=LINE)
            trials.append(_Trial(a, b, spans_a, spans_b, _bent(a, b, followed, drift), tolerance_s))
            if trials[-1].share() > CLEAR_SHARE:
                break  # other offsets are tried as rivals below
    best = max(trials, key=lambda trial: (trial.n_matched, -trial.n_missed), default=None)
    if best is None or best.n_matched < 2:
        raise _failed("the pulses of sound and NWB have nothing in common", audio, nwb)
    best, rivals = _with_rivals(best, hint_s)
    if best.chance() > LARGEST_CHANCE or best.share() < LEAST_SHARE:
        found = f"at best {best.n_matched} pulses go together, {best.share():.0%} of those that both could see"
        raise _failed("the pulses of sound and NWB have too little in common", audio, nwb, found)
    rival = _undecided(best, rivals, hint_s)
    if rival is not None:
        found = (
            f"{best.n_matched} pulses match at an offset of {best.shift_s + zero_b - zero_a:.6g} s, "
            f"{rival.n_matched} at {rival.shift_s + zero_b - zero_a:.6g} s"
        )
        raise _failed("the pulses fit at several offsets (are their intervals all alike?)", audio, nwb, found)
    pairs = best.refined()
    return Matched(
        a[pairs[:, 0]] + zero_a,
        b[pairs[:, 1]] + zero_b,
        n_audio_only=len(a) - len(pairs),
        n_nwb_only=len(b) - len(pairs),
    )


class _Trial:
    """Pulses paired by one drift, and what speaks for and against it."""

    def __init__(self, a, b, spans_a, spans_b, drift: Drift, tolerance_s: float):
        self._a, self._b, self._spans, self.drift, self._tolerance_s = a, b, (spans_a, spans_b), drift, tolerance_s
        self.pairs = pair(a, b, drift, tolerance_s=tolerance_s)
        self.n_matched = len(self.pairs)
        self.shift_s = float(drift.at(a[:1])[0])
        in_b = a + drift.at(a)
        heard_a = _inside(in_b, spans_b)  # pulses of a that the other device could have seen
        in_a = np.interp(b, in_b, a, left=-np.inf, right=np.inf)
        outside = np.isinf(in_a)
        in_a[outside] = b[outside] - drift.at(b[outside] - self.shift_s)
        heard_b = _inside(in_a, spans_a)
        heard_a[self.pairs[:, 0]], heard_b[self.pairs[:, 1]] = True, True
        self.n_heard = int(heard_a.sum()), int(heard_b.sum())
        self.n_missed = sum(self.n_heard) - 2 * self.n_matched

    def share(self) -> float:
        return self.n_matched / max(min(self.n_heard), 1)

    def chance(self) -> float:
        """Expected number of straight lines through two pairs that match as many pulses where the trains are unrelated.

        Each such line meets further pulses by chance alone, as often as the density of pulses says.
        """
        n_a, n_b = self.n_heard
        common_s = max(np.ptp(self._b[self.pairs[:, 1]]), 10 * self._tolerance_s)
        by_chance = -np.expm1(-2 * self._tolerance_s * n_b / common_s)
        n_slopes = 1 + LARGEST_DRIFT * common_s / self._tolerance_s
        n_offsets = len(self._a) * len(self._b) * n_slopes
        return float(n_offsets * binom.sf(self.n_matched - 2, max(n_a - 1, self.n_matched - 1), by_chance))

    def moved(self, shift_s: float) -> "_Trial":
        drift = Drift(self.drift.audio_s, self.drift.apart_s + shift_s)
        return _Trial(self._a, self._b, *self._spans, drift, self._tolerance_s)

    def shifts(self) -> np.ndarray:
        """Other offsets at which a large share of the pulses may match, s, the nearest first."""
        chosen = self._a[_spread_out(self.pairs[:, 0], 64)]
        mapped = chosen + self.drift.at(chosen)
        apart = np.sort((self._b[None] - mapped[:, None]).ravel())
        width_s = 2 * self._tolerance_s
        votes = np.searchsorted(apart, apart + width_s, side="right") - np.arange(len(apart))
        many = np.flatnonzero(votes >= 0.5 * RIVAL_SHARE * len(chosen))
        middle = apart[many] + width_s / 2
        middle, votes = middle[np.abs(middle) > 2 * width_s], votes[many][np.abs(middle) > 2 * width_s]
        # the densest of those that lie together
        cells = np.floor(middle / width_s).astype(np.int64)
        order = np.lexsort((-votes, cells))
        first = np.unique(cells[order], return_index=True)[1]
        middle, votes = middle[order][first], votes[order][first]
        nearest = np.argsort(np.abs(middle))[: MOST_RIVALS // 2]
        densest = np.argsort(-votes, kind="stable")[: MOST_RIVALS // 2]
        return middle[np.unique(np.r_[nearest, densest])]

    def refined(self) -> np.ndarray:
        """The pairs by a drift that is fitted to all of them."""
        if self.n_matched < 3:
            return self.pairs
        followed = _bent(self._a, self._b, self.pairs, self.drift)
        return pair(self._a, self._b, followed, tolerance_s=self._tolerance_s)


def pair(a: np.ndarray, b: np.ndarray, drift: Drift, *, tolerance_s: float) -> np.ndarray:
    """Indices of pulses that are each other's nearest within `tolerance_s`. Shape (n_pairs, 2)."""
    mapped = a + drift.at(a)
    nearest_b, nearest_a = _nearest(mapped, b), _nearest(b, mapped)
    index = np.arange(len(a))
    fits = (nearest_a[nearest_b] == index) & (np.abs(b[nearest_b] - mapped) <= tolerance_s)
    return np.c_[index[fits], nearest_b[fits]]


def _with_rivals(best: _Trial, hint_s: float | None) -> tuple[_Trial, list[_Trial]]:
    """The best of all offsets that share the drift, or the one nearest to what is known; and those that compete."""
    trials = [best, *(best.moved(shift_s) for shift_s in best.shifts())]
    most = max(trial.n_matched for trial in trials)
    trials = [trial for trial in trials if trial.n_matched > RIVAL_SHARE * most]
    if hint_s is None:
        trials.sort(key=lambda trial: (trial.n_missed - trial.n_matched, abs(trial.shift_s)))
    else:
        trials.sort(key=lambda trial: abs(trial.shift_s - hint_s))
    return trials[0], trials[1:]


def _undecided(best: _Trial, rivals: list[_Trial], hint_s: float | None) -> _Trial | None:
    """A rival that cannot be ruled out.

    It is, where every pulse is matched at the best offset, while here one was missed by a device that listened; or
    where the known offset is at least three times as near to the best one.
    """
    if hint_s is not None:
        off_s = abs(best.shift_s - hint_s)
        return next((rival for rival in rivals if abs(rival.shift_s - hint_s) < 3 * off_s), None)
    return next((rival for rival in rivals if best.n_missed or not rival.n_missed), None)


def _bent(a: np.ndarray, b: np.ndarray, pairs: np.ndarray, drift: Drift) -> Drift:
    """The drift of the pairs, bent as much as they ask for."""
    at_s, apart_s = a[pairs[:, 0]], b[pairs[:, 1]] - a[pairs[:, 0]]
    return fit_drift(at_s, apart_s, n_pieces=pieces_to_try(at_s, apart_s)[0]) if len(pairs) >= 3 else drift


def _nearest(of: np.ndarray, among: np.ndarray) -> np.ndarray:
    after = np.clip(np.searchsorted(among, of), 1, len(among) - 1)
    return after - (of - among[after - 1] < among[after] - of)


def _short_interval(times_s: np.ndarray) -> float:
    return float(np.quantile(np.diff(times_s), 0.1))


def _spread_out(values: np.ndarray, n_most: int) -> np.ndarray:
    return values[np.unique(np.linspace(0, len(values) - 1, n_most).round().astype(int))]


def _inside(times_s: np.ndarray, spans_s: np.ndarray) -> np.ndarray:
    """Whether times lie well inside spans. Shape (n_times,)."""
    inside = np.zeros(len(times_s), bool)
    for start_s, stop_s in spans_s:
        inside |= (times_s > start_s + EDGE_S) & (times_s < stop_s - EDGE_S)
    return inside


def _failed(what: str, audio: Pulses, nwb: Pulses, found: str = "") -> InputError:
    seen = "; ".join(
        f"{side.where}: {len(side)} pulses"
        + (f" from {side.onset_s[0]:.6g} to {side.onset_s[-1]:.6g} s" if len(side) else "")
        + (f" ({side.level})" if side.level else "")
        for side in (audio, nwb)
    )
    return InputError(f"sync: {what}", where=seen, found=found or None, mend=MEND)
