import numpy as np
import pytest
from planted_session import DT, Planted, fire, song


@pytest.fixture(scope="session")
def planted() -> Planted:
    generator = np.random.default_rng(5)
    calls = song(generator, 300.0)
    counts, kind = fire(calls, generator, duration_s=300.0, n_units=10, gain=5.0)
    return Planted(calls, counts, kind, DT * np.arange(len(counts)))
