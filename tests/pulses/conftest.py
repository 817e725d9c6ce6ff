from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.pulses import Pulses


@dataclass(frozen=True)
class World:
    """Pulses as two devices saw them, and the truth: session time of any audio time."""

    audio: Pulses
    nwb: Pulses
    offset_s: float
    drift: float
    wander: float
    period_s: float

    def to_session(self, t_s):
        slow = self.period_s / (2 * np.pi) * np.sin(2 * np.pi * np.asarray(t_s) / self.period_s)
        return self.offset_s + np.asarray(t_s) * (1 + self.drift) + self.wander * slow


@pytest.fixture
def make_world():
    """Simulates two devices that listen to one generator: random, jittered intervals unless `times_s` are given."""

    def _make(
        *,
        seed=0,
        n=360,
        mean_s=10.0,
        times_s=None,
        jitter_s=2e-4,
        missing=0.0,
        spurious=0.0,
        offset_s=None,
        drift=100e-6,
        wander=0.0,
        period_s=1800.0,
        margins_s=(3.0, 3.0),
    ):
        rng = np.random.default_rng(seed)
        times_s = np.cumsum(rng.uniform(0.5, 1.5, n) * mean_s) if times_s is None else np.asarray(times_s, float)
        times_s = times_s - times_s[0] + margins_s[0]
        stop_s = times_s[-1] + margins_s[1]
        offset_s = rng.uniform(-5000, 5000) if offset_s is None else offset_s
        world = World(None, None, offset_s, drift, wander, period_s)

        def seen(on_clock_s, span_s):
            kept = on_clock_s[rng.random(len(on_clock_s)) >= missing]
            made_up = rng.uniform(*span_s, round(spurious * len(on_clock_s)))
            return np.sort(np.r_[kept + jitter_s * rng.standard_normal(len(kept)), made_up])

        audio_s = seen(times_s, (0.0, stop_s))
        nwb_s = seen(world.to_session(times_s), world.to_session([0.0, stop_s]))
        audio = Pulses(audio_s, np.array([[0.0, stop_s]]), "sound")
        nwb = Pulses(nwb_s, nwb_s[[0, -1]][None], "events")
        return World(audio, nwb, offset_s, drift, wander, period_s)

    return _make
