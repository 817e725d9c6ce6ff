import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from pipeline.mapping.clusters import (
    NONE,
    PooledTuning,
    consensus_clusters,
    count_clusters,
    likeness,
    placed,
    tuning_features,
    unit_norm,
)

N_BANDS = 20
BANDS = np.arange(N_BANDS)


def pooled(best, generator, *, width=1.5, noise=0.15, n_bouts=30):
    """Units with Gaussian tuning at `best` (bands), in two sessions with noise of their own in every bout."""
    curves = np.exp(-0.5 * ((BANDS - np.asarray(best)[:, None]) / width) ** 2)
    half = len(best) // 2
    response = [
        (c / n_bouts + noise / np.sqrt(n_bouts) * generator.standard_normal((n_bouts, *c.shape)))
        for c in (curves[:half], curves[half:])
    ]
    power = [np.full((n_bouts, N_BANDS), 1 / n_bouts)] * 2
    return PooledTuning(response, power, np.zeros(len(best)), np.zeros(curves.shape))


def cluster(best, seed=0, **options):
    generator = np.random.default_rng(seed)
    return consensus_clusters(
        pooled(best, generator, **options), n_draws=30, max_clusters=5, min_units=3, generator=generator
    )


def test_planted_clusters_are_found_over_sessions():
    true = np.tile([0, 1, 2], 10)
    found = cluster(np.array([4.0, 9.0, 15.0])[true])
    assert found.n_clusters == 3
    assert adjusted_rand_score(true, found.labels) == 1
    assert found.p_one_cluster <= 0.05


@pytest.mark.parametrize("seed", range(3))
def test_one_cluster_is_an_allowed_answer(seed):
    found = cluster(np.full(24, 10.0), seed=seed)
    assert found.n_clusters == 1
    assert (found.labels == 0).all()
    assert found.p_one_cluster > 0.05


@pytest.mark.parametrize("seed", range(2))
def test_a_continuum_is_not_cut(seed):
    generator = np.random.default_rng(seed)
    found = cluster(generator.uniform(3, 16, 40), seed=seed, width=2.5)
    assert found.n_clusters == 1
    assert found.p_one_cluster > 0.05


@pytest.mark.parametrize("seed", range(3))
def test_a_continuum_whose_curves_change_along_it_is_not_cut(seed):
    """Broad at its low end, narrow at its high one: curves moved far would fill it with what is nowhere."""
    generator = np.random.default_rng(seed)
    best = np.sort(generator.uniform(3, 16, 60))
    curves = np.exp(-0.5 * ((BANDS - best[:, None]) / np.linspace(3.5, 1.0, 60)[:, None]) ** 2)
    curves += 0.1 * generator.standard_normal(curves.shape)
    features = np.column_stack([unit_norm(curves), np.zeros(60)])
    assert count_clusters(features, largest=8, generator=generator)[0] == 1


def test_units_like_no_other_and_small_groups_stay_out():
    best = np.r_[np.full(12, 4.0), np.full(12, 14.0), 9.0, 9.0]
    found = cluster(best)
    assert found.n_clusters == 2
    assert (found.labels[-2:] == NONE).all()
    assert (found.labels[:-2] >= 0).all()


def test_nobody_is_forced_into_the_only_cluster():
    best = np.full(25, 10.0)
    data = pooled(best, np.random.default_rng(6))
    data.response[1][:, -1] *= -1  # silent where all others answer
    found = consensus_clusters(data, n_draws=30, max_clusters=1, min_units=3, generator=np.random.default_rng(0))
    assert found.n_clusters == 1
    assert found.labels.tolist() == [0] * 24 + [NONE]


def test_units_are_placed_by_all_their_data():
    """Two units that took no part in making the clusters, one of them like neither, and one that was put wrongly."""
    best = np.r_[np.full(8, 4.0), np.full(8, 14.0)]
    curves = np.exp(-0.5 * ((BANDS - best[:, None]) / 1.5) ** 2)
    curves += 0.05 * np.random.default_rng(0).standard_normal(curves.shape)
    curves[8] *= -1
    made = np.repeat([0, 1], 8)
    made[[0, 8]], made[1] = NONE, 1
    found, alike = placed(tuning_features(curves, np.zeros_like(curves), np.zeros(16)), made)
    assert found.tolist() == [0] * 8 + [NONE] + [1] * 7
    assert alike[8] < 0.1 and np.delete(alike, 8).min() > 0.9


def test_without_clusters_nobody_is_placed():
    features = np.random.default_rng(0).standard_normal((5, 4))
    found, alike = placed(features, np.full(5, NONE))
    assert (found == NONE).all() and np.isnan(alike).all()


def test_likeness_is_the_cosine_with_the_others():
    features = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [5.0, 1.0]])
    # others of the first: (3, 5); of the second: (4, 3); of the third: (1, 2)
    expected = [3 / np.sqrt(34), 3 / 5, 3 / np.sqrt(10)]
    np.testing.assert_allclose(likeness(features, np.array([0, 0, 0, NONE])), [*expected, np.nan])


def test_too_few_units_make_no_cluster():
    found = cluster(np.array([4.0, 9.0]))
    assert found.n_clusters == 0
    assert (found.labels == NONE).all() and np.isnan(found.p_one_cluster)


def test_what_the_model_says_separates_what_noise_hides():
    generator = np.random.default_rng(3)
    true = np.repeat([0, 1], 12)
    data = pooled(np.array([8.0, 12.0])[true], generator, noise=0.4)
    profile = np.exp(-0.5 * ((BANDS - np.array([8.0, 12.0])[true][:, None]) / 1.5) ** 2)
    with_model = PooledTuning(data.response, data.power, data.lag, profile)
    (n_data, p_data), (n_model, p_model) = (
        count_clusters(one.features(), largest=4, generator=np.random.default_rng(0)) for one in (data, with_model)
    )
    assert (n_data, n_model) == (1, 2) and p_model <= 0.05 < p_data


def test_noisy_clusters_are_counted_together_where_no_pair_stands_apart():
    """Twelve units each, half of whose tuning is noise."""
    counted = [
        count_clusters(
            pooled(np.repeat([3.0, 7.5, 12.0, 16.5], 12), np.random.default_rng(seed), noise=0.35).features(),
            largest=8,
            generator=np.random.default_rng(seed),
        )[0]
        for seed in range(4)
    ]
    assert counted == [4] * 4


def test_p_of_one_cluster_is_honest_for_normal_clouds():
    generator = np.random.default_rng(4)
    found = [count_clusters(generator.standard_normal((20, 4)), largest=4, generator=generator) for _ in range(12)]
    p = np.array([p for _, p in found])
    assert np.mean(p <= 0.05) <= 0.25 and p.min() > 0
    assert [n == 1 for n, _ in found] == (p > 0.05).tolist()
