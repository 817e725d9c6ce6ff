"""Each family's objective against closed forms of linear-Gaussian models and against plain numpy at fixed noise."""

from itertools import combinations

import numpy as np
import pytest
import torch

from pipeline.errors import InputError
from pipeline.vae.mopoe import MoPoE
from pipeline.vae.mvae import MVAE
from pipeline.vae.unimodal import Unimodal

N = 40_000  # copies of one sample: the mean over them is an expectation, good to about 0.02 nat


def copies(x, n=N):
    return np.repeat(x[:1], n, 0)


def mean_and_error(value):
    return value.mean().item(), (value.std() / len(value) ** 0.5).item()


def standard_noise(generator, *shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64).numpy()


def test_mvae_is_the_sum_of_evidences_at_the_exact_posterior(lab, generator):
    setting = lab()
    xs = setting.data(1)
    model = MVAE(setting.modalities(), latent_dim=2)
    value, error = mean_and_error(model.objective(setting.batch([copies(x) for x in xs]), 1.0, generator()).value)
    p = setting.parts
    exact = lab.evidence(p, xs) + lab.evidence(p[:1], xs[:1]) + lab.evidence(p[1:], xs[1:])
    assert value == pytest.approx(exact.item(), abs=5 * error)
    assert error < 0.05


def test_mvae_of_an_unpaired_row_is_one_evidence(lab, generator):
    setting = lab()
    xs = setting.data(1)
    present = np.array([[True], [False]]).repeat(N, 1)
    batch = setting.batch([copies(x) for x in xs], present)
    value, error = mean_and_error(MVAE(setting.modalities(), latent_dim=2).objective(batch, 1.0, generator()).value)
    assert value == pytest.approx(lab.evidence(setting.parts[:1], xs[:1]).item(), abs=5 * error)


def test_mvae_terms_at_fixed_noise(lab, generator):
    setting = lab(weights=[0.7, 1.9])
    xs = setting.data(6)
    present = np.ones((2, 6), bool)
    present[0, 1] = present[1, 2] = False
    model = MVAE(setting.modalities(), latent_dim=2, beta=0.6, warmup_fraction=0.5)
    objective = model.objective(setting.batch(xs, present), 0.25, generator())  # beta is half way: 0.3
    eps = iter(standard_noise(generator(), 1, 6 + 4 + 4, 2)[0])  # rows 1 and 2 have one modality only
    expected = np.zeros(6)
    log_liks, kls = np.zeros((2, 6)), np.zeros(6)
    for subset in ((0, 1), (0,), (1,)):
        for n in range(6):
            has = [m for m in (0, 1) if present[m, n]]
            if subset == (0, 1):
                members = has
            elif len(has) == 2:
                members = list(subset)
            else:
                continue
            mean, variance = lab.product([setting.parts[m] for m in members], [xs[m][n : n + 1] for m in members], True)
            z = mean + np.sqrt(variance) * next(eps)
            for m in members:
                log_lik = setting.parts[m].log_lik(xs[m][n], z).item()
                log_liks[m, n] += log_lik
                expected[n] += setting.weights[m] * log_lik
            kls[n] += lab.kl(mean, variance).item()
            expected[n] -= 0.3 * lab.kl(mean, variance).item()
    assert objective.value.detach().numpy() == pytest.approx(expected)
    assert objective.terms["m0"].detach().numpy() == pytest.approx(log_liks[0])
    assert objective.terms["m1"].detach().numpy() == pytest.approx(log_liks[1])
    assert objective.terms["kl"].detach().numpy() == pytest.approx(kls)
    assert objective.loss.item() == pytest.approx(-expected.mean())


def test_mvae_draws_other_subsets_of_three(lab, generator):
    setting = lab(n_modalities=3)
    xs = setting.data(1)
    model = MVAE(setting.modalities(), latent_dim=2, random_subsets=1)
    always = lab.evidence(setting.parts, xs).item()
    always += sum(lab.evidence(setting.parts[m : m + 1], xs[m : m + 1]).item() for m in range(3))
    pairs = [
        always + lab.evidence([setting.parts[m] for m in pair], [xs[m] for m in pair]).item()
        for pair in combinations(range(3), 2)
    ]
    batch = setting.batch([copies(x) for x in xs])
    drawn = set()
    for seed in range(8):
        value, error = mean_and_error(model.objective(batch, 1.0, generator(seed)).value)
        nearest = int(np.argmin(np.abs(np.array(pairs) - value)))
        assert value == pytest.approx(pairs[nearest], abs=5 * error)
        drawn.add(nearest)
    assert drawn == {0, 1, 2}
    none = MVAE(setting.modalities(), latent_dim=2, random_subsets=0)
    value, error = mean_and_error(none.objective(batch, 1.0, generator()).value)
    assert value == pytest.approx(always, abs=5 * error)


def test_mvae_counts_no_subset_twice(lab, generator):
    setting = lab(n_modalities=3)
    xs = setting.data(1)
    present = np.array([[True], [True], [False]]).repeat(N, 1)
    model = MVAE(setting.modalities(), latent_dim=2, random_subsets=3)
    value, error = mean_and_error(
        model.objective(setting.batch([copies(x) for x in xs], present), 1.0, generator()).value
    )
    p = setting.parts
    exact = lab.evidence(p[:2], xs[:2]) + lab.evidence(p[:1], xs[:1]) + lab.evidence(p[1:2], xs[1:2])
    assert value == pytest.approx(exact.item(), abs=5 * error)


def test_mvae_posterior_holds_the_prior_expert(lab):
    setting = lab()
    xs = setting.data(4)
    q = MVAE(setting.modalities(), latent_dim=2).posterior(setting.batch(xs), ["m0"])
    mean, variance = lab.product(setting.parts[:1], xs[:1], True)
    assert q.mean.detach().numpy() == pytest.approx(mean)
    assert q.variance.detach().numpy() == pytest.approx(variance)


def prior_joins(option, subset, n_modalities):
    return option == "always" or (option == "full" and len(subset) == n_modalities)


@pytest.mark.parametrize("option", ["full", "always", "never"])
def test_mopoe_terms_at_fixed_noise(lab, generator, option):
    setting = lab(weights=[0.7, 1.9])
    xs = setting.data(5)
    present = np.ones((2, 5), bool)
    present[1, 3] = False
    model = MoPoE(
        setting.modalities(), latent_dim=2, beta=0.6, warmup_fraction=0.5, prior_expert=option, estimate="stratified"
    )
    objective = model.objective(setting.batch(xs, present), 0.25, generator())
    subsets = [(0,), (1,), (0, 1)]
    eps = standard_noise(generator(), 3, 5, 2)
    expected, kls = np.zeros(5), np.zeros(5)
    for n in range(5):
        usable = [s for s in subsets if all(present[m, n] for m in s)]
        for subset in usable:
            mean, variance = lab.product(
                [setting.parts[m] for m in subset],
                [xs[m][n : n + 1] for m in subset],
                prior_joins(option, subset, 2),
            )
            z = mean + np.sqrt(variance) * eps[subsets.index(subset), n]
            for m in (0, 1):
                if present[m, n]:  # all that the row has is reconstructed, whatever z came from
                    expected[n] += setting.weights[m] * setting.parts[m].log_lik(xs[m][n], z).item() / len(usable)
            kls[n] += lab.kl(mean, variance).item() / len(usable)
    expected -= 0.3 * kls
    assert objective.value.detach().numpy() == pytest.approx(expected)
    assert objective.terms["kl"].detach().numpy() == pytest.approx(kls)


@pytest.mark.parametrize("estimate", ["sampled", "stratified"])
def test_mopoe_estimates_its_expectation(lab, generator, estimate):
    setting = lab(n_modalities=3, weights=[0.7, 1.9, 1.0])
    xs = setting.data(1)
    model = MoPoE(setting.modalities(), latent_dim=2, beta=0.6, estimate=estimate)
    objective = model.objective(setting.batch([copies(x) for x in xs]), 1.0, generator())
    value, error = mean_and_error(objective.value)
    subsets = [s for size in (1, 2, 3) for s in combinations(range(3), size)]
    exact = 0.0
    for subset in subsets:
        q = lab.product([setting.parts[m] for m in subset], [xs[m] for m in subset], prior_joins("full", subset, 3))
        log_lik = sum(w * p.expected_log_lik(x, *q) for w, p, x in zip(setting.weights, setting.parts, xs, strict=True))
        exact += (log_lik - 0.6 * lab.kl(*q)).item() / len(subsets)
    assert value == pytest.approx(exact, abs=5 * error)
    assert error < 0.1


def test_mopoe_bounds_the_evidence(lab, generator):
    setting = lab()
    xs = setting.data(1)
    model = MoPoE(setting.modalities(), latent_dim=2, prior_expert="always")
    value, error = mean_and_error(model.objective(setting.batch([copies(x) for x in xs]), 1.0, generator()).value)
    assert value < lab.evidence(setting.parts, xs).item() + 3 * error


def test_mopoe_posterior_is_the_mixture_over_subsets_of_what_is_given(lab):
    setting = lab()
    xs = setting.data(3)
    model = MoPoE(setting.modalities(), latent_dim=2)
    one = model.posterior(setting.batch(xs), ["m1"])
    mean, variance = lab.product(setting.parts[1:], xs[1:], False)  # the encoder's output itself
    assert one.mean.detach().numpy() == pytest.approx(mean)
    assert one.variance.detach().numpy() == pytest.approx(variance)
    both = model.posterior(setting.batch(xs), ["m0", "m1"])
    parts = [lab.product([p], [x], False)[0] for p, x in zip(setting.parts, xs, strict=True)]
    parts.append(lab.product(setting.parts, xs, True)[0])
    assert both.mean.detach().numpy() == pytest.approx(np.mean(parts, 0))


def test_unimodal_is_one_bound_a_modality(lab, generator):
    setting = lab(weights=[5.0, 5.0])  # the unimodal objective has no weights
    xs = setting.data(1)
    for part in setting.parts:  # encoders that hold the prior are exact here
        assert (part.precision > 0).all()
    model = Unimodal(setting.modalities(), latent_dim=2)
    for modality, part in zip(model.modalities.values(), setting.parts, strict=True):
        precision = torch.tensor(part.precision)
        modality.encoder.weight.data *= precision / (1 + precision)
        modality.encoder.log_variance.data = -torch.log(1 + precision)
    objective = model.objective(setting.batch([copies(x) for x in xs]), 1.0, generator())
    value, error = mean_and_error(objective.value)
    exact = sum(lab.evidence([p], [x]).item() for p, x in zip(setting.parts, xs, strict=True))
    assert value == pytest.approx(exact, abs=5 * error)
    with pytest.raises(InputError, match="one modality"):
        model.posterior(setting.batch(xs), ["m0", "m1"])


def test_unimodal_terms_at_fixed_noise(lab, generator):
    setting = lab()
    xs = setting.data(4)
    model = Unimodal(setting.modalities(), latent_dim=2, beta=0.6, warmup_fraction=0.5)
    objective = model.objective(setting.batch(xs), 0.25, generator())  # beta is half way: 0.3
    noise, expected = generator(), np.zeros(4)
    for name, part, x in zip(setting.names, setting.parts, xs, strict=True):
        mean, variance = lab.product([part], [x], False)
        log_lik = part.log_lik(x, mean + np.sqrt(variance) * standard_noise(noise, 1, 4, 2)[0])
        expected += log_lik - 0.3 * lab.kl(mean, variance)
        assert objective.terms[name].detach().numpy() == pytest.approx(log_lik)
        assert objective.terms[f"kl_{name}"].detach().numpy() == pytest.approx(lab.kl(mean, variance))
        q = model.posterior(setting.batch(xs), [name])
        assert q.mean.detach().numpy() == pytest.approx(mean)
        assert q.variance.detach().numpy() == pytest.approx(variance)
    assert objective.value.detach().numpy() == pytest.approx(expected)


def trained(lab, family):
    """A family trained on the lab's data; the lab, data that are new to the model, and a function of presence
    (modalities,) that tells what the objective reaches there."""
    setting = lab()
    model = family(setting.modalities(), latent_dim=2)
    lab.fit(model, setting.batch(setting.data(4000)))
    fresh = setting.data(20_000)

    def reached(*present):
        batch = setting.batch(fresh, np.array(present)[:, np.newaxis].repeat(len(fresh[0]), 1))
        with torch.no_grad():
            return model.objective(batch, 1.0, torch.Generator().manual_seed(0)).value.mean().item()

    return setting, fresh, reached


def test_training_reaches_the_evidence_of_each_modality(lab):
    setting, fresh, reached = trained(lab, Unimodal)
    for part, x, present in zip(setting.parts, fresh, ([True, False], [False, True]), strict=True):
        assert abs(reached(*present) - lab.evidence([part], [x]).mean()) / len(part.b) < 0.01


def test_training_reaches_the_evidences_of_products(lab):
    setting, fresh, reached = trained(lab, MVAE)
    alone = [reached(True, False), reached(False, True)]
    joint = reached(True, True) - sum(alone)
    assert abs(joint - lab.evidence(setting.parts, fresh).mean()) / sum(len(p.b) for p in setting.parts) < 0.01
    for part, x, value in zip(setting.parts, fresh, alone, strict=True):
        assert abs(value - lab.evidence([part], [x]).mean()) / len(part.b) < 0.01
