import numpy as np
import torch

from pipeline.seeds import numpy_generator, torch_generator


def test_same_seed_and_purpose_give_the_same_draws():
    assert np.array_equal(numpy_generator(3, "split", "m1").random(5), numpy_generator(3, "split", "m1").random(5))


def test_seed_and_purpose_both_matter():
    draws = [numpy_generator(*key).random() for key in [(3, "split"), (4, "split"), (3, "train"), (3, "split", "m1")]]
    assert len(set(draws)) == 4


def test_purposes_are_independent():
    a = numpy_generator(0, "a").standard_normal(20_000)
    b = numpy_generator(0, "b").standard_normal(20_000)
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(20_000)


def test_torch_draws_repeat_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    first = torch.randn(4, generator=torch_generator(1, "noise"))
    second = torch.randn(4, generator=torch_generator(1, "noise"))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
