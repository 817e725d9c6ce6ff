import numpy as np
import pytest
from sklearn.linear_model import Ridge

from pipeline.evaluation.linear import rank_directions, ridge_path

PENALTIES = np.array([1e-6, 0.1, 10.0])


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    features = generator.normal(2, [1, 2, 3, 1, 1], (300, 5))
    weights = generator.normal(size=(5, 3))
    return features, weights, features @ weights + 1 + generator.normal(0, 0.1, (300, 3))


def test_ridge_agrees_with_sklearn_on_the_rows_that_each_output_has(data):
    features, _, targets = data
    targets[:100, 1] = np.nan
    targets[::3, 2] = np.nan
    path = ridge_path(features=features, targets=targets, penalties=PENALTIES)
    for index, penalty in enumerate(PENALTIES):
        for output in range(3):
            rows = np.isfinite(targets[:, output])
            alpha = penalty * features.var(axis=0).mean() * rows.sum()
            peer = Ridge(alpha=alpha).fit(features[rows], targets[rows, output])
            np.testing.assert_allclose(path.weights[index][:, output], peer.coef_, rtol=1e-6)
            np.testing.assert_allclose(path.predict(features, index)[:, output], peer.predict(features), rtol=1e-6)


def test_ridge_recovers_planted_weights(data):
    features, weights, targets = data
    np.testing.assert_allclose(
        ridge_path(features=features, targets=targets, penalties=PENALTIES).weights[0], weights, atol=0.05
    )


def test_a_strong_penalty_leaves_the_mean(data):
    features, _, targets = data
    path = ridge_path(features=features, targets=targets, penalties=np.array([1e9]))
    np.testing.assert_allclose(path.predict(features, 0), np.tile(targets.mean(axis=0), (300, 1)), atol=1e-5)


def test_an_output_that_was_never_observed_predicts_nothing(data):
    features, _, targets = data
    targets[:, 1] = np.nan
    path = ridge_path(features=features, targets=targets, penalties=PENALTIES)
    assert not path.weights[:, :, 1].any()
    assert np.isfinite(path.predict(features, 0)).all()


def test_reduced_rank_is_the_best_map_of_that_rank(data):
    """Without a penalty the best rank-1 map minimises the error among all rank-1 maps: none near it does better."""
    features, _, targets = data
    features, targets = features - features.mean(axis=0), targets - targets.mean(axis=0)
    scale = np.array([1.0, 0.5, 2.0])
    path = ridge_path(features=features, targets=targets, penalties=np.array([1e-9]))
    known = {"weights": path.weights[0] / scale, "residual_penalty": path.residual_penalty[0], "features": features}
    direction = rank_directions(**known, most=1)

    def error(kept):
        fitted = features @ path.weights[0] / scale @ kept @ kept.T
        return np.square(targets / scale - fitted).sum()

    best = error(direction)
    angles = np.random.default_rng(1).normal(size=(200, 3, 1))
    others = [error(angle / np.linalg.norm(angle)) for angle in angles]
    near = [error(v / np.linalg.norm(v)) for v in direction + 0.01 * angles]
    assert best < min(others) and best < min(near)
    full = rank_directions(**known, most=3)
    np.testing.assert_allclose(full @ full.T, np.eye(3), atol=1e-9)
