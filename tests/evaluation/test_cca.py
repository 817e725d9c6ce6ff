from dataclasses import replace

import numpy as np
import pytest
from sklearn.cross_decomposition import CCA

from pipeline.evaluation.baselines import BOTH, count_predictions
from pipeline.evaluation.candidates import count_correlation, fitted_ridge, reduced_rank
from pipeline.evaluation.design import Design
from pipeline.evaluation.heldout import held_out


def test_rank_one_is_the_first_canonical_variate():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(4000, 5))
    shared = generator.normal(size=(4000, 1)) @ [[3.0, 3.0, 3.0, 3.0]]
    signal = features[:, :1] @ [[1.0, -1.0, 0.5, 0]] + features[:, 1:2] @ [[1.0, 1.0, 1.0, 1.0]]
    traces = signal + shared + generator.normal(size=(4000, 4))
    truth = CCA(n_components=1, scale=False).fit(features, traces).transform(features)[:, 0]
    design = Design({"train": features}, traces, per_bin=True, n_units=4, n_bins=1)
    mean, ones = np.zeros(4), np.ones(4)
    together = count_correlation(traces[:, :, None], reference=mean, noise_sd=ones)
    r = {}
    for name, correlation in (("cca", together), ("reduced_rank", None)):
        found = reduced_rank([fitted_ridge(design)], noise_sd=ones, correlation=correlation).predict("train", 0)
        r[name] = abs(np.corrcoef(found[:, 0, 0], truth)[0, 1])
    assert r["cca"] > 0.999 and r["reduced_rank"] < 0.9  # which goes for what all units share


def test_correlation_is_that_of_the_units_in_a_bin():
    generator = np.random.default_rng(1)
    shared = generator.normal(size=(3000, 1, 10))
    traces = shared * np.array([1.0, 1.0, 0.0])[:, None] + generator.normal(size=(3000, 3, 10))
    traces[::5, 2] = np.nan
    found = count_correlation(traces, reference=np.zeros(3), noise_sd=np.array([1.0, 2.0, 1.0]))
    np.testing.assert_allclose(found, [[2, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0.8]], atol=0.03)
    unseen = count_correlation(traces * np.nan, reference=np.zeros(3), noise_sd=np.ones(3))
    assert not unseen.any()


def bits(clips):
    held = {
        s: held_out(clips, split=s, modalities=BOTH, chunk_s=10.0, min_peak_db=10.0) for s in ("validation", "test")
    }
    found = dict(count_predictions(clips.where("train"), held))
    scores = {name: held["test"].scores("neural", found[name]["test"]) for name in ("ridge", "reduced_rank", "cca")}
    return {name: score["bits_per_spike", "bits/spike"].pooled().value for name, score in scores.items()}


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_noise_that_units_share_is_not_fitted(make_clips, noise):
    clips, true = make_clips(n_clips=600, gain=2.5)
    generator = np.random.default_rng(2)
    tuned = np.arange(30) < 12
    shared = generator.normal(size=(600, 2, 2)).repeat(5, axis=1) @ generator.normal(0, noise, (2, 30))  # 50 ms
    expected = np.where(tuned, true[:, :1].transpose(0, 2, 1), 0.3) * np.exp(shared)
    names = [f"s|units|{unit}" for unit in range(30)]
    counts = generator.poisson(expected.transpose(0, 2, 1)).astype(np.float32)
    found = bits(replace(clips, counts=counts, unit_ids=names))
    if noise:
        assert found["cca"] > found["reduced_rank"] + 0.005
    else:
        assert found["cca"] == pytest.approx(found["reduced_rank"], abs=0.003) and found["cca"] > 0.02
