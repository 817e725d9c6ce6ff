"""What speaks for and against an offset at which two pulse trains may match."""

from functools import cached_property

import numpy as np

from pipeline.pulses.drift import LINE, Drift, fit_drift, pieces_to_try
from pipeline.pulses.stretches import LARGEST_DRIFT

N_ANCHORS = 24
N_NEIGHBOURS = 12
WIDER = 8  # chance matches are counted within the tolerance and, being rare, within this many times it
STEADY = 0.5  # trains whose unrelated intervals agree this often are steady: only counts can tell the offset
MOST_VOTERS = 64
MOST_RIVALS = 100
EDGE_S = 0.05  # a pulse this close to the start or end of a recording may be missed


class Trial:
    """Pulses paired by one drift.

    `a`, `b`: times of pulses, increasing; `spans`: when each device listened, two arrays of Shape (n_spans, 2).
    `n_heard`: how many pulses of each side the other device could see. `n_missed`: how many of these have no partner.
    `n_absent`: how many have nothing near them either, so that jitter cannot be why.
    """

    def __init__(self, a, b, spans, drift: Drift, *, tolerance_s: float):
        self._a, self._b, self._spans, self.drift, self._tolerance_s = a, b, spans, drift, tolerance_s
        self.pairs = pair(a, b, drift, tolerance_s=tolerance_s)
        self.n_matched = len(self.pairs)
        self.shift_s = float(drift.at(a[:1])[0])
        in_b = a + drift.at(a)
        self._mapped = in_b
        in_a = np.interp(b, in_b, a)
        before, after = b < in_b[0], b > in_b[-1]
        in_a[before] = a[0] + b[before] - in_b[0]
        in_a[after] = a[-1] + b[after] - in_b[-1]
        heard_a, heard_b = _inside(in_b, spans[1]), _inside(in_a, spans[0])
        heard_a[self.pairs[:, 0]], heard_b[self.pairs[:, 1]] = True, True
        self._heard = heard_a, heard_b
        self.n_heard = int(heard_a.sum()), int(heard_b.sum())
        self.n_missed = sum(self.n_heard) - 2 * self.n_matched

    @cached_property
    def n_absent(self) -> int:
        wide_s = max(0.4 * min(short_interval(self._a), short_interval(self._b)), self._tolerance_s)
        absent = 0
        for times_s, heard, others_s in (
            (self._mapped, self._heard[0], self._b),
            (self._b, self._heard[1], self._mapped),
        ):
            absent += int(np.sum(np.abs(others_s[nearest_of(times_s, others_s)] - times_s)[heard] > wide_s))
        return absent

    @property
    def share(self) -> float:
        """Share of matched pulses, of the side with fewer of them where both listened."""
        return self.n_matched / max(min(self.n_heard), 1)

    @cached_property
    def by_chance(self) -> float:
        """How likely a pulse has a partner at an offset that is wrong.

        By the density of pulses; or, where trains are more or less steady, by how often their intervals agree from
        pulses that do not belong together.
        """
        a, b = self._a, self._b
        common_s = max(np.ptp(b[self.pairs[:, 1]]), 10 * self._tolerance_s)
        rate = -np.expm1(-2 * self._tolerance_s * self.n_heard[1] / common_s)
        anchors = spread_out(np.arange(len(a)), N_ANCHORS)
        others = spread_out(np.arange(len(b)), N_ANCHORS)
        n_trials, n_near, n_wider = 0, 0, 0
        for i in anchors:
            around = np.r_[a[max(i - N_NEIGHBOURS, 0) : i], a[i + 1 : i + 1 + N_NEIGHBOURS]] - a[i]
            wrong = others[np.abs(b[others] - self._mapped[i]) > 2 * WIDER * self._tolerance_s]
            at = b[wrong][:, None] + around
            at = at[(at >= b[0]) & (at <= b[-1])]
            off = np.abs(b[nearest_of(at, b)] - at)
            n_trials += len(at)
            n_near += int(np.sum(off <= self._tolerance_s))
            n_wider += int(np.sum(off <= WIDER * self._tolerance_s))
        return max(rate, n_near / max(n_trials, 1), n_wider / WIDER / max(n_trials, 1))

    @property
    def steady(self) -> bool:
        return self.by_chance > STEADY

    def chance(self) -> float:
        """Expected number of lines through two pairs that match as many pulses where the trains are unrelated."""
        from scipy.special import bdtrc  # slow to import, and all that reads a clock imports this file

        common_s = np.ptp(self._b[self.pairs[:, 1]])
        n_lines = len(self._a) * len(self._b) * (1 + LARGEST_DRIFT * common_s / self._tolerance_s)
        n_others = max(self.n_heard[0] - 1, self.n_matched - 1)
        return float(n_lines * bdtrc(self.n_matched - 2, n_others, self.by_chance))

    def moved(self, shift_s: float) -> "Trial":
        """The same drift at another offset, turned to where most pulses match there."""
        drift = Drift(self.drift.audio_s, self.drift.apart_s + shift_s)
        moved = self._with(drift)
        if moved.n_matched > 2:
            at_s = self._a[moved.pairs[:, 0]]
            left_s = self._b[moved.pairs[:, 1]] - at_s - drift.at(at_s)
            turn = fit_drift(at_s, left_s, n_pieces=LINE)
            turned = self._with(Drift(drift.audio_s, drift.apart_s + turn.at(drift.audio_s)))
            moved = max(moved, turned, key=lambda trial: trial.n_matched)
        return moved

    def differs_from(self, other: "Trial") -> bool:
        return float(np.median(np.abs(self._mapped - other._mapped))) > 2 * self._tolerance_s

    def _with(self, drift: Drift) -> "Trial":
        return Trial(self._a, self._b, self._spans, drift, tolerance_s=self._tolerance_s)

    def shifts(self) -> np.ndarray:
        """Other offsets, from this one, at which many pulses may match, s."""
        chosen = self._mapped[spread_out(self.pairs[:, 0], MOST_VOTERS)]
        apart = np.sort((self._b[None] - chosen[:, None]).ravel())
        width_s = 2 * self._tolerance_s
        votes = np.searchsorted(apart, apart + width_s, side="right") - np.arange(len(apart))
        many = np.flatnonzero(votes >= max(0.3 * len(chosen), 2))
        middle, votes = apart[many] + width_s / 2, votes[many]
        other = np.abs(middle) > 2 * width_s
        middle, votes = middle[other], votes[other]
        # the densest of those that lie together
        cells = np.floor(middle / width_s).astype(np.int64)
        order = np.lexsort((-votes, cells))
        first = np.unique(cells[order], return_index=True)[1]
        middle, votes = middle[order][first], votes[order][first]
        nearest = np.argsort(np.abs(middle))[: MOST_RIVALS // 2]
        densest = np.argsort(-votes, kind="stable")[: MOST_RIVALS // 2]
        return middle[np.unique(np.r_[nearest, densest])]

    def refined(self) -> "Trial":
        """The same by a drift that is fitted to all pairs, again while that finds more."""
        trial = self
        while trial.n_matched > 2:
            better = self._with(bent(self._a, self._b, trial.pairs))
            if better.n_matched <= trial.n_matched and trial is not self:
                break
            trial = better
        return trial


def pair(a: np.ndarray, b: np.ndarray, drift: Drift, *, tolerance_s: float) -> np.ndarray:
    """Indices of pulses that are each other's nearest within `tolerance_s`. Shape (n_pairs, 2)."""
    mapped = a + drift.at(a)
    nearest_b, nearest_a = nearest_of(mapped, b), nearest_of(b, mapped)
    index = np.arange(len(a))
    fits = (nearest_a[nearest_b] == index) & (np.abs(b[nearest_b] - mapped) <= tolerance_s)
    return np.c_[index[fits], nearest_b[fits]]


def bent(a: np.ndarray, b: np.ndarray, pairs: np.ndarray) -> Drift:
    """The drift of pairs of pulses, Shape (n_pairs, 2), bent as much as they ask for."""
    at_s, apart_s = a[pairs[:, 0]], b[pairs[:, 1]] - a[pairs[:, 0]]
    return fit_drift(at_s, apart_s, n_pieces=pieces_to_try(at_s, apart_s)[0])


def nearest_of(of: np.ndarray, among: np.ndarray) -> np.ndarray:
    after = np.clip(np.searchsorted(among, of), 1, len(among) - 1)
    return after - (of - among[after - 1] < among[after] - of)


def short_interval(times_s: np.ndarray) -> float:
    return float(np.quantile(np.diff(times_s), 0.1))


def spread_out(values: np.ndarray, n_most: int) -> np.ndarray:
    return values[np.unique(np.linspace(0, len(values) - 1, n_most).round().astype(int))]


def _inside(times_s: np.ndarray, spans_s: np.ndarray) -> np.ndarray:
    """Whether times lie well inside spans. Shape (n_times,)."""
    inside = np.zeros(len(times_s), bool)
    for start_s, stop_s in spans_s:
        inside |= (times_s > start_s + EDGE_S) & (times_s < stop_s - EDGE_S)
    return inside
