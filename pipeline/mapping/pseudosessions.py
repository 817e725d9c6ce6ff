"""Band selectivity for sounds that an experimenter presents: the null is the same presentations in another order.

Harris (2021), Nonsense correlations in neuroscience: where the experimenter drew the order, another draw is a session
that might have been. Each presentation keeps its time and length, and which sound was in it changes. So a response to
any onset alike, and drift, are in every surrogate; the recorded sound in between counts in none.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from pipeline.mapping.nulls import orders_within, permutation_p
from pipeline.mapping.playback import SoundSide, silent_units
from pipeline.mapping.stages import LARGEST_Z, first_stage
from pipeline.mapping.tuning import FINE_STAGE_P, Selectivity, described

FEWEST_SLOTS = 10  # in parts A and B each
SIMILAR = 1.1  # times the shortest of those of one length
MOST_SLOTS = 200  # change places among themselves: bounds work, and keeps them near in time
N_SHUFFLES = 999  # of the sounds' names; at the smallest p they count as not drawn at random
UNITS_AT_ONCE = 4  # of the second stage; bounds memory: n_surrogates_fine x 3 x n_bands x n_lags x 4 bytes each


@dataclass(frozen=True)
class Slots:
    """Presentations in order of time: `first` bin, `n_bins` that may change places, `group` within which they may and
    its `part` (0 A, 1 B, 2 neither or across a border); each (n_slots,)."""

    first: np.ndarray
    n_bins: np.ndarray
    group: np.ndarray
    part: np.ndarray

    def moved(self, bins: int, n_bins: int) -> "Slots":
        """Those on a grid of `n_bins` that begins `bins` later."""
        kept = (self.first >= bins) & (self.first - bins + self.n_bins <= n_bins)
        return Slots(self.first[kept] - bins, *(values[kept] for values in (self.n_bins, self.group, self.part)))

    def orders(self, n_orders: int, generator: np.random.Generator) -> list[np.ndarray]:
        """For every group how its sounds are placed: as they were and in `n_orders` other orders, (1 + n_orders,
        n_slots of the group). All units are compared with the same, so that a response that they share counts once."""
        sizes = np.unique(self.group, return_counts=True)[1]
        return [np.vstack([np.arange(n), orders_within(np.zeros(n, int), n_orders, generator)]) for n in sizes]


def find_slots(
    start_s: np.ndarray, stop_s: np.ndarray, labels: np.ndarray, *, part: np.ndarray, begin_s: float, bin_width_s: float
) -> tuple[Slots | None, str]:
    """The presentations on the bins that begin at `begin_s`, and "", or None and why they cannot change places.

    `start_s`, `stop_s` (n_slots,) on the clock of the bins; `labels` (n_slots,) name the sounds, "" where unknown;
    `part` (n_bins,). Presentations of one length (within 10 %) and part change places, 200 neighbours at most.
    """
    order = np.argsort(start_s, kind="stable")
    first = np.round((start_s[order] - begin_s) / bin_width_s).astype(int)
    stop = np.round((stop_s[order] - begin_s) / bin_width_s).astype(int)
    inside = (first >= 0) & (stop <= len(part)) & (stop > first)
    first, stop = first[inside], stop[inside]
    if (first[1:] < stop[:-1]).any():
        return None, "some overlap"
    named = labels[order][inside]
    if set(named) - {""} and len(set(named)) == 1:
        return None, "all are of one sound"
    if _in_runs(named):
        return None, "the same sounds follow each other, so that their order was not drawn at random"
    part_of = np.array([part[a] if (part[a:b] == part[a]).all() else 2 for a, b in zip(first, stop, strict=True)], int)
    key, n_bins = np.full(len(first), -1), stop - first
    shortest = 0
    for index in np.argsort(n_bins, kind="stable"):
        shortest = shortest if shortest and n_bins[index] <= SIMILAR * shortest else n_bins[index]
        key[index] = shortest
    group = np.empty(len(first), int)
    for number, kind in enumerate(np.unique(np.column_stack([key, part_of]), axis=0)):
        alike = np.flatnonzero((key == kind[0]) & (part_of == kind[1]))
        group[alike] = number * (len(first) + 1) + np.arange(len(alike)) // MOST_SLOTS
    slots = Slots(first, key, group, part_of)
    sizes = np.unique(group, return_counts=True)
    single = np.isin(group, sizes[0][sizes[1] < 2])
    counts = [int((~single & (part_of == one)).sum()) for one in (0, 1)]
    if min(counts) < FEWEST_SLOTS:
        return None, f"{counts[0]} in part A and {counts[1]} in part B can change places, fewer than {FEWEST_SLOTS}"
    return slots, ""


def _in_runs(labels: np.ndarray) -> bool:
    """Whether sounds follow themselves more often than in any of N_SHUFFLES random orders; `labels` (n_slots,)."""

    def repeats(some: np.ndarray) -> int:
        return ((some[1:] == some[:-1]) & (some[1:] != "")).sum()

    generator = np.random.default_rng(0)
    drawn = np.array([repeats(generator.permutation(labels)) for _ in range(N_SHUFFLES)])
    return permutation_p(repeats(labels), drawn) <= 1 / (1 + N_SHUFFLES)


def presented_selectivity(
    sound: SoundSide,
    firing: np.ndarray,
    slots: Slots,
    part: np.ndarray,
    *,
    lags: np.ndarray,
    orders: list[np.ndarray],
    orders_fine: list[np.ndarray],
) -> Selectivity:
    """Test every unit; `firing` (n_bins, n_units) without drift, 0 where invalid; `part` (n_bins,) 0 A, 1 B, 2 neither;
    `Slots.orders` of both stages.

    Statistic: maximum over lags and bands of the correlation inside the presentations, z-scored over the surrogates.
    Two stages, as for calls.
    """
    firing = without_loudness(firing, sound, slots, lags)
    scores = _scores(sound, firing, slots, lags, orders)
    observed, drawn = scores[0], scores[1:]
    n_surrogates_fine = len(orders_fine[0]) - 1
    tested = np.ones(sound.bands.shape[1], bool)
    read, scale_b = described(observed, drawn, tested, lags)
    first, first_a = (first_stage(observed[which], drawn[:, which], tested) for which in (2, 0))
    silent = silent_units(sound, firing)
    p = np.where(silent, np.nan, first.p)
    p_floor = np.full(len(p), 1 / (1 + len(drawn)))
    fine = (p <= FINE_STAGE_P) & (n_surrogates_fine > 0)
    z_b = np.empty((n_surrogates_fine if fine.any() else 0, fine.sum(), len(tested)), np.float16)
    again = np.flatnonzero(fine)
    for begin in range(0, len(again), UNITS_AT_ONCE):
        units = again[begin : begin + UNITS_AT_ONCE]
        more = _scores(sound, firing[:, units], slots, lags, orders_fine)[1:]
        largest = ((more[:, 2] - first.mean[..., units]) / first.sd[..., units]).max(axis=(1, 2))
        p[units] = (1 + (largest >= first.statistic[units]).sum(axis=0)) / (1 + n_surrogates_fine)
        p_floor[units] = 1 / (1 + n_surrogates_fine)
        some = scale_b.take(units)
        at_lag = more[:, 1][:, :, some.lag_a, np.arange(len(units))]
        z_b[:, begin : begin + len(units)] = np.clip(some.z(at_lag), -LARGEST_Z, LARGEST_Z)
    heard = np.array([(sound.heard & mask).sum() for mask in (part == 0, part == 1, np.ones(len(part), bool))])
    return Selectivity(
        p=p,
        p_floor=p_floor,
        p_a=np.where(silent, np.nan, first_a.p),
        statistic=np.where(silent, np.nan, first.statistic),
        fine=fine,
        surrogate_z_b_fine=z_b,
        sound_bins=np.repeat(heard[:, None], len(tested), axis=1),
        **read,
    )


def presented_p(
    sound: SoundSide, firing: np.ndarray, slots: Slots, *, lags: np.ndarray, orders: list[np.ndarray]
) -> np.ndarray:
    """The p values (n_units,) alone of the first stage of `presented_selectivity`; NaN without presentations."""
    if not orders:
        return np.full(firing.shape[1], np.nan)
    firing = without_loudness(firing, sound, slots, lags)
    scores = _scores(sound, firing, slots, lags, orders)[:, 2]
    p = first_stage(scores[0], scores[1:], np.ones(sound.bands.shape[1], bool)).p
    return np.where(silent_units(sound, firing), np.nan, p)


def without_loudness(firing: np.ndarray, sound: SoundSide, slots: Slots, lags: np.ndarray) -> np.ndarray:
    """`firing` (n_bins, n_units) without its fit by the loudness at all `lags`: that tells sounds apart, too.

    The fit is to how presentations differ from their mean course: else a response to any onset, where all sounds are
    loud, would take on the loudness of each.
    """
    n, reach = len(firing), int(np.abs(lags).max(initial=0))
    padded = np.pad(sound.loudness, reach)
    design = np.column_stack([padded[reach - lag : reach - lag + n] for lag in lags])
    gram, products = np.zeros((len(lags), len(lags))), np.zeros((len(lags), firing.shape[1]))
    for at in (_bins_of(slots, group)[1] for group in np.unique(slots.group)):
        apart, fired = ((values[at] - values[at].mean(axis=0)).reshape(at.size, -1) for values in (design, firing))
        gram += apart.T @ apart
        products += apart.T @ fired
    gram[np.diag_indices_from(gram)] += 1e-6 * np.trace(gram) / len(gram) + 1e-12
    return firing - design @ np.linalg.solve(gram, products)


def _bins_of(slots: Slots, group: int) -> tuple[int, np.ndarray]:
    """The part of a group, and its bins (n_slots, n_bins)."""
    chosen = np.flatnonzero(slots.group == group)
    return slots.part[chosen[0]], slots.first[chosen][:, None] + np.arange(slots.n_bins[chosen[0]])


def _scores(sound: SoundSide, firing, slots: Slots, lags, orders_of_groups: list[np.ndarray]) -> np.ndarray:
    """sum_t band[t - lag] firing[t] inside the presentations in each order of `Slots.orders`, shape (1 + n_orders,
    n_parts, n_bands, n_lags, n_units); the last part is all."""
    n_bands, n_units, reach = sound.bands.shape[1], firing.shape[1], int(np.abs(lags).max(initial=0))
    padded = np.pad(firing.astype(np.float32), ((reach, reach), (0, 0)))
    scores = np.zeros((len(orders_of_groups[0]), 4, n_bands, len(lags), n_units), np.float32)
    for group, orders in zip(np.unique(slots.group), orders_of_groups, strict=True):
        part, at = _bins_of(slots, group)
        n, length = at.shape
        picked = csr_array(
            (
                np.ones(orders.size, np.float32),
                (np.arange(n) * n + orders).ravel(),
                n * np.arange(len(orders) + 1),
            ),
            shape=(len(orders), n * n),
        )
        heard = sound.bands[at].astype(np.float32).transpose(1, 0, 2).reshape(length, -1)  # (length, n * n_bands)
        for index, lag in enumerate(lags):
            fired = padded[at + reach + lag].transpose(0, 2, 1).reshape(-1, length)  # (n * n_units, length)
            pairs = (fired @ heard).reshape(n, n_units, n, n_bands).transpose(0, 2, 3, 1).reshape(n * n, -1)
            scores[:, part if part < 2 else 3, :, index] += (picked @ pairs).reshape(-1, n_bands, n_units)
    scores[:, 2] = scores[:, 0] + scores[:, 1] + scores[:, 3]
    return scores[:, :3]
