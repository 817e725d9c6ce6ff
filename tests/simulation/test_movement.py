import numpy as np
import pytest
from simulated_plan import SONG

from pipeline.seeds import numpy_generator
from pipeline.simulation.movement import SPEED_RATE_HZ, running_speed, singing
from pipeline.simulation.vocal_organ import sing


@pytest.mark.parametrize("planted", [-0.6, 0.0, 0.8])
def test_speed_goes_with_singing_as_said(planted):
    found = []
    for seed in range(5):
        calls = sing(duration_s=600, generator=numpy_generator(seed, "song"), **SONG)
        clock = {"offset_s": 5.0, "drift_ppm": 20.0}
        speed = running_speed(
            calls, duration_s=608, correlation=planted, generator=numpy_generator(seed, "movement"), **clock
        )
        # in a bout by plain means; smoothing over a second is part of what singing is
        time_s = (np.arange(len(speed)) / SPEED_RATE_HZ - 5.0) / 1.00002
        bouts = {call.bout for call in calls}
        inside = np.zeros(len(speed))
        for bout in bouts:
            members = [call for call in calls if call.bout == bout]
            inside[(time_s >= members[0].start_s) & (time_s < members[-1].stop_s)] = 1
        assert np.corrcoef(inside, singing(calls, n_samples=len(speed), **clock))[0, 1] > 0.9
        smooth = np.convolve(inside, np.hanning(81) / 40, mode="same")
        found.append(np.corrcoef(speed, smooth)[0, 1])
    assert np.mean(found) == pytest.approx(planted, abs=0.08)


def test_speed_is_never_negative_and_forgets_in_seconds():
    calls = sing(duration_s=600, generator=numpy_generator(0, "song"), **SONG)
    speed = running_speed(
        calls, duration_s=600, offset_s=0.0, drift_ppm=0.0, correlation=0.0, generator=numpy_generator(0, "movement")
    )
    assert speed.min() >= 0 and 0.05 < speed.mean() < 0.2
    late = [
        np.corrcoef(speed[: -round(lag * SPEED_RATE_HZ)], speed[round(lag * SPEED_RATE_HZ) :])[0, 1] for lag in (2, 20)
    ]
    assert late[0] == pytest.approx(np.exp(-1), abs=0.12) and abs(late[1]) < 0.2
