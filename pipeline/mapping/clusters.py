"""Clusters of units with like tuning: consensus over subsamples, and how many clusters there really are.

Which clusters there are is chosen on part A (training blocks). Several clusters must beat one elongated cluster of the
same covariance and a continuum of best bands. Units are then placed by all their data; those unlike every cluster stay
in none.
"""

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.ndimage import correlate1d
from scipy.spatial.distance import squareform

from pipeline.mapping.nulls import permutation_p

UNIT_SHARE, BOUT_SHARE = 0.8, 0.5
LAG_WEIGHT = 0.3  # of the largest lag, against a tuning curve of length 1
MIN_MEMBERSHIP = 2 / 3  # together with the own cluster twice as often as apart, in draws of half of the bouts
MAX_SPREADS, MIN_SPREAD = 4.0, 0.05  # robust SDs of the likeness to one's cluster; at least so much is normal
N_NULL = 199
N_NEAREST = 7  # units round a place of the continuum
ALPHA = 0.05
NONE = -1


@dataclass
class PooledTuning:
    """Part A of the units to be clustered, from all sessions.

    `response[s]` (n_bouts_s, n_units_s, n_bands) and `power[s]` (n_bouts_s, n_bands): sums per bout of session s;
    `lag` (n_units,): lags as shares of the largest lag; `model` (n_units, n_bands): coupling profiles of the model,
    zero for units that it does not predict. Units are in the order of the sessions.
    """

    response: list[np.ndarray]
    power: list[np.ndarray]
    lag: np.ndarray
    model: np.ndarray

    @property
    def n_units(self) -> int:
        return len(self.lag)

    def features(self, bouts: list[np.ndarray] | None = None) -> np.ndarray:
        """`tuning_features`; `bouts`: for each session the bouts to use, with repeats if wanted; all by default."""
        if not self.response:
            return np.zeros((0, self.model.shape[1] + 1))
        curves = []
        for session, (response, power) in enumerate(zip(self.response, self.power, strict=True)):
            rows = slice(None) if bouts is None else bouts[session]
            scale = np.sqrt(np.maximum(power[rows].sum(axis=0), 1e-12))
            curves.append(np.where(scale > 1e-3, response[rows].sum(axis=0) / scale, 0.0))
        return tuning_features(np.concatenate(curves), self.model, self.lag)


@dataclass
class Clustering:
    """`labels` (n_units,) with -1 for none.

    `p_one_cluster`: how easily one elongated cluster, or a continuum, would look like this (NaN: too few units).
    """

    labels: np.ndarray
    n_clusters: int
    p_one_cluster: float


def unit_norm(values: np.ndarray) -> np.ndarray:
    """Rows of length 1; rows of zeros stay."""
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    return values / np.where(length > 0, length, 1.0)


def tuning_features(curves: np.ndarray, model: np.ndarray, lag: np.ndarray) -> np.ndarray:
    """Unit-norm tuning, with the model's profile of equal length added, and weighted lag, (n_units, n_bands + 1).

    `curves`, `model` (n_units, n_bands), zero where there is none; `lag` (n_units,): shares of the largest lag.
    """
    both = unit_norm(unit_norm(_blurred(curves)) + unit_norm(_blurred(model)))
    return np.column_stack([both, LAG_WEIGHT * lag])


def consensus_clusters(
    pooled: PooledTuning, *, n_draws: int, max_clusters: int, min_units: int, generator: np.random.Generator
) -> Clustering:
    """Cluster units by consensus over draws of 80 % of the units and 50 % of the bouts.

    Groups are as many as `count_clusters` says; those below `min_units` are dissolved: their units get -1, as do units
    with membership below 2/3 and units unlike the rest of their cluster, be it the only one.
    """
    n_units = pooled.n_units
    if n_units < min_units:
        return Clustering(np.full(n_units, NONE), 0, float("nan"))
    features = pooled.features()
    largest = min(max_clusters, n_units // min_units)
    together = _consensus(pooled, n_draws=n_draws, largest=largest, generator=generator)
    n_groups, p_one_cluster = count_clusters(features, largest=largest, generator=generator)
    kept, chosen = np.zeros(n_units, int), np.ones((n_units, n_units))
    if n_groups > 1:
        chosen = together[n_groups]
        kept = _without_small(_cut(chosen, n_groups), min_units)
    strays = (_membership(chosen, kept) < MIN_MEMBERSHIP) | _unlike(likeness(features, kept), kept)
    labels = _without_small(np.where(strays, NONE, kept), min_units)
    return Clustering(labels, int(labels.max()) + 1, p_one_cluster)


def placed(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cluster of each unit (n_units,), -1 for those unlike the rest of the one that they are nearest to, and their
    likeness to its other units (`likeness`).

    `features` (n_units, n_features) of all units by all data, `labels` (n_units,) of the units that made the clusters.
    """
    nearest = nearest_clusters(features, labels)
    alike = likeness(features, nearest)
    return np.where(_unlike(alike, nearest), NONE, nearest), alike


def nearest_clusters(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cluster whose units' mean, without the unit itself, is most like it (cosine), (n_units,); -1 without clusters.

    `features` (n_units, n_features), `labels` (n_units,), -1 for none.
    """
    names = np.unique(labels[labels != NONE])
    if not len(names):
        return np.full(len(features), NONE)
    member = np.equal.outer(labels, names).astype(float)
    others = member.T @ features - member[..., None] * features[:, None]  # (n_units, n_clusters, n_features)
    return names[(unit_norm(others) * features[:, None]).sum(axis=2).argmax(axis=1)]


def count_clusters(features: np.ndarray, *, largest: int, generator: np.random.Generator) -> tuple[int, float]:
    """How many groups there are, 1 to `largest`, those of strays too, and p of there being one (NaN if `largest` is 1).

    Statistic: the share of the sum of squares that lies between 2..`largest` groups of Ward's tree, in SDs of a null,
    of which there are two: one cluster of the same covariance, and a continuum of best bands. p: the largest over k
    against the largest over k of each draw, of the null that is harder to beat. Of several clusters their number is the
    smallest whose statistic, against the harder null, is within one SD of the largest: the rule of the gap statistic
    (Tibshirani, Walther & Hastie 2001), against nulls that know what tuning curves look like.
    """
    if largest < 2:
        return 1, float("nan")
    observed = _reductions(features, largest)
    excess, p = [], []
    for null_of in (_one_cluster, _continuum):
        null = np.array([_reductions(draw, largest) for draw in null_of(features, N_NULL, generator)])
        mean, sd = null.mean(axis=0), np.maximum(null.std(axis=0), 1e-9)
        excess.append((observed - mean) / sd)
        p.append(permutation_p(excess[-1].max(), ((null - mean) / sd).max(axis=1)))
    harder = np.minimum(*excess)
    several = 2 + int(np.argmax(harder >= harder.max() - 1))
    return (several if max(p) <= ALPHA else 1), float(max(p))


def _continuum(features: np.ndarray, n_draws: int, generator: np.random.Generator) -> np.ndarray:
    """Draws (n_draws, n_units, n_features) of units whose best bands fill the range of these evenly.

    Each is the curve, noise and all, of one of the N_NEAREST units round its new place, moved there along the band
    axis: curves change along the range (sound is unevenly spread), and moved far would fill it with what is nowhere.
    Lags are dealt out anew. The range is that of a uniform distribution with the variance of the units' best bands.
    """
    curves, lags = features[:, :-1], features[:, -1]
    n_units, n_bands = curves.shape
    best = curves.argmax(axis=1)
    order = np.argsort(best, kind="stable")
    half = np.sqrt(3) * best.std()
    target = best.mean() + half * (2 * generator.random((n_draws, n_units)) - 1)
    near = generator.integers(N_NEAREST, size=target.shape) - N_NEAREST // 2
    chosen = order[np.clip(np.searchsorted(best[order], target) + near, 0, n_units - 1)]
    at = np.clip(np.arange(n_bands) - (target - best[chosen])[..., None], 0, n_bands - 1)
    left = np.minimum(at.astype(int), n_bands - 2)
    share = at - left
    rows = chosen[..., None]
    moved = (1 - share) * curves[rows, left] + share * curves[rows, left + 1]
    return np.concatenate([moved, lags[generator.integers(n_units, size=chosen.shape)][..., None]], axis=-1)


def _one_cluster(features: np.ndarray, n_draws: int, generator: np.random.Generator) -> np.ndarray:
    """Draws (n_draws, n_units, n_features) of one cluster with the covariance of `features`.

    Along the longest axis a cosine of a uniform phase: that is what a continuum of overlapping curves looks like on its
    first principal axis, and it splits in two more easily than a uniform or a normal cloud. Normal along the others.
    """
    centred = features - features.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    sd = singular / np.sqrt(len(features))
    scores = generator.standard_normal((n_draws, len(features), len(sd)))
    scores[..., 0] = np.sqrt(2) * np.cos(np.pi * generator.random((n_draws, len(features))))
    return (scores * sd) @ axes


def _reductions(points: np.ndarray, largest: int) -> np.ndarray:
    """Share of the sum of squares between groups for 2..`largest` groups of Ward's tree, shape (largest - 1,).

    Joining two groups at height h adds h^2 / 2 to the sum of squares within groups.
    """
    within = linkage(points, "ward")[:, 2] ** 2 / 2
    return np.cumsum(within[::-1])[: largest - 1] / max(within.sum(), 1e-300)


def _consensus(pooled: PooledTuning, *, n_draws: int, largest: int, generator) -> dict[int, np.ndarray]:
    """For each k the share of draws with both units in which two units fell together, (n_units, n_units)."""
    n_units = pooled.n_units
    ks = np.arange(2, largest + 1)
    together = np.zeros((len(ks), n_units, n_units))
    drawn = np.zeros((n_units, n_units))
    size = max(min(n_units, 2), round(UNIT_SHARE * n_units))
    for _ in range(n_draws if len(ks) else 0):
        units = np.sort(generator.choice(n_units, size, replace=False))
        halves = [
            generator.choice(len(power), max(1, round(BOUT_SHARE * len(power))), replace=False)
            for power in pooled.power
        ]
        tree = linkage(pooled.features(halves)[units], "ward")
        here = np.ix_(units, units)
        drawn[here] += 1
        for row, k in enumerate(ks):
            group = fcluster(tree, k, "maxclust")
            together[row][here] += np.equal.outer(group, group)
    share = np.divide(together, drawn, out=np.zeros_like(together), where=drawn > 0)
    for matrix in share:
        np.fill_diagonal(matrix, 1.0)
    return dict(zip(ks.tolist(), share, strict=True))


def _cut(matrix: np.ndarray, k: int) -> np.ndarray:
    distance = squareform(1 - matrix, checks=False)
    return fcluster(linkage(distance, "average"), k, "maxclust")


def _without_small(labels: np.ndarray, min_units: int) -> np.ndarray:
    """Labels renumbered from 0 by falling size; clusters below `min_units` become -1."""
    names, size = np.unique(labels[labels != NONE], return_counts=True)
    large = [name for name, n in sorted(zip(names, size, strict=True), key=lambda pair: -pair[1]) if n >= min_units]
    return np.array([large.index(label) if label in large else NONE for label in labels], int)


def likeness(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cosine of each unit's features and the mean of its cluster's other units, (n_units,); NaN without a cluster.

    `features` (n_units, n_features), `labels` (n_units,), -1 for none.
    """
    alike = np.full(len(labels), np.nan)
    for cluster in np.unique(labels[labels != NONE]):
        rows = np.flatnonzero(labels == cluster)
        others = features[rows].sum(axis=0) - features[rows]
        alike[rows] = (unit_norm(others) * unit_norm(features[rows])).sum(axis=1)
    return alike


def _unlike(alike: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Units that resemble their cluster's other units far less than those resemble each other, bool (n_units,)."""
    unlike = np.zeros(len(labels), bool)
    for cluster in np.unique(labels[labels != NONE]):
        own = alike[labels == cluster]
        spread = 1.4826 * np.median(np.abs(own - np.median(own)))
        unlike[labels == cluster] = own < np.median(own) - MAX_SPREADS * max(spread, MIN_SPREAD)
    return unlike


def _membership(matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
    same = np.equal.outer(labels, labels) & (labels != NONE)[:, None]
    np.fill_diagonal(same, False)
    size = same.sum(axis=1)
    return np.divide((matrix * same).sum(axis=1), size, out=np.full(len(labels), np.nan), where=size > 0)


def _blurred(curves: np.ndarray) -> np.ndarray:
    """A little smoothing over neighbouring bands: noise of single bands is no likeness."""
    return correlate1d(curves, np.array([1, 4, 6, 4, 1]) / 16, axis=1, mode="nearest")
