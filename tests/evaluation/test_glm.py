import numpy as np
from sklearn.linear_model import PoissonRegressor

from pipeline.evaluation.glm import LARGEST_LOG_COUNT, expected_counts, poisson_path

PENALTIES = np.array([1.0, 0.01])


def planted(n_rows=1500):
    generator = np.random.default_rng(0)
    features = generator.normal(1, [1, 0.3, 2], (n_rows, 3))
    weights = np.array([[0.5, 0, -0.3], [0, 1, 0.2], [0.1, 0, 0.2]])
    counts = generator.poisson(np.exp(features @ weights + np.log([0.5, 0.02, 1]))).astype(float)
    counts[: n_rows // 3, 2] = np.nan
    return features, counts


def test_every_unit_agrees_with_sklearn_on_the_rows_that_it_has():
    features, counts = planted()
    weights, intercepts = poisson_path(features=features, counts=counts, penalties=PENALTIES, max_iterations=200)
    for index, penalty in enumerate(PENALTIES):
        for unit in range(3):
            rows = np.isfinite(counts[:, unit])
            alpha = penalty * features.var(axis=0, ddof=1).mean() * counts[rows, unit].mean()
            peer = PoissonRegressor(alpha=alpha, tol=1e-9, max_iter=1000).fit(features[rows], counts[rows, unit])
            np.testing.assert_allclose(weights[index][:, unit], peer.coef_, atol=2e-3)
            np.testing.assert_allclose(
                expected_counts(features, weights[index], intercepts[index])[:, unit], peer.predict(features), rtol=0.01
            )


def test_a_strong_penalty_leaves_the_mean_rate():
    features, counts = planted()
    weights, intercepts = poisson_path(features=features, counts=counts, penalties=np.array([1e8]), max_iterations=200)
    rates = expected_counts(features, weights[0], intercepts[0])
    np.testing.assert_allclose(rates[0], np.nanmean(counts, axis=0), rtol=1e-3)


def test_a_silent_unit_and_a_wild_feature_stay_finite():
    features, counts = planted()
    counts[:, 1] = 0
    weights, intercepts = poisson_path(features=features, counts=counts, penalties=PENALTIES, max_iterations=100)
    rates = expected_counts(1e4 * features, weights[-1], intercepts[-1])
    assert np.isfinite(rates).all() and rates.max() <= np.exp(LARGEST_LOG_COUNT) * 1.001
