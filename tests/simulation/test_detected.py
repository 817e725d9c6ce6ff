from dataclasses import replace

import numpy as np
import pytest
from simulated_plan import SONG, plan

from pipeline.audio.calls import detect_calls
from pipeline.audio.features import measure_calls
from pipeline.audio.recording import open_recording
from pipeline.audio.scan import Scan
from pipeline.config import Audio, Calls
from pipeline.seeds import numpy_generator
from pipeline.simulation.detected import detected_calls
from pipeline.simulation.plan import draw_cast
from pipeline.simulation.vocal_organ import Call, sing, write_audio

STEADY = np.ones(51)


def steady(start_s, *, pressure_pa, jitter_db=0.0):
    """50 ms of one pitch."""
    return Call(0, start_s, 0.05, pressure_pa * STEADY, 1e-3 * STEADY, 3 * STEADY, jitter_db, 0.0)


def detect(calls, noise_db=0.0):
    return detected_calls(calls, noise_db=noise_db, generator=numpy_generator(0, "detector"))


def test_calls_in_quiet_are_measured_as_they_are():
    calls = sing(duration_s=120, generator=numpy_generator(0, "song"), **SONG)
    found = detect(calls)
    assert len(found) == len(calls)
    assert found["bout"].tolist() == [call.bout for call in calls]  # silences of 1 s and more part bouts
    np.testing.assert_allclose(found["start_s"], [call.start_s for call in calls], atol=0.003)
    np.testing.assert_allclose(found["stop_s"], [call.stop_s for call in calls], atol=0.003)
    error_db = found["level_db"] - np.array([call.level_db.mean() for call in calls])
    assert error_db.mean() == pytest.approx(43.4, abs=0.3) and error_db.std() == pytest.approx(1, abs=0.2)
    for row, call in zip(found.itertuples(), calls, strict=True):
        np.testing.assert_allclose(row.contour_hz, call.pitch_hz)
        assert row.low_hz <= row.mean_hz <= row.high_hz
        assert len(row.contour_s) == len(row.contour_hz) == len(row.contour_db)


def test_noise_hides_faint_calls_first():
    calls = sing(duration_s=120, generator=numpy_generator(0, "song"), **(SONG | {"level_jitter_db": 8.0}))
    found = [len(detect(calls, noise_db)) / len(calls) for noise_db in (0.0, 20.0, 30.0)]
    assert found[0] == 1 and 0.85 < found[1] < 0.99 and 0.5 < found[2] < 0.85
    level_db = np.array([call.level_db.mean() for call in calls])
    heard = np.isin(
        np.arange(len(calls)), np.searchsorted([c.start_s for c in calls], detect(calls, 30.0)["start_s"] - 0.01)
    )
    assert level_db[heard].min() > np.sort(level_db)[: (~heard).sum()].max() - 1e-9
    assert len(detect(calls, 80.0)) == 0 and "contour_hz" in detect(calls, 80.0)


def test_calls_at_once_are_one_call_with_the_pitch_of_the_loudest():
    first, second = steady(1.0, pressure_pa=900.0), steady(1.03, pressure_pa=1500.0, jitter_db=-20.0)
    apart = steady(1.2, pressure_pa=900.0)
    found = detect([first, second, apart])
    assert len(found) == 2 and found["bout"].tolist() == [0, 0]
    assert found["stop_s"][0] == pytest.approx(1.08, abs=0.003)
    contour_s, contour_hz = found["contour_s"][0], found["contour_hz"][0]
    assert np.all(np.diff(contour_s) > 0)
    np.testing.assert_allclose(contour_hz[contour_s < 1.0495], first.pitch_hz[0])
    np.testing.assert_allclose(contour_hz[contour_s > 1.0515], second.pitch_hz[0])
    louder = detect([first, replace(second, jitter_db=20.0)])
    np.testing.assert_allclose(louder["contour_hz"][0][louder["contour_s"][0] > 1.0305], second.pitch_hz[0])


@pytest.mark.parametrize("noise_db, second_animal_db", [(0.0, -6.0), (20.0, None)])
def test_the_detector_finds_the_same_calls_in_the_sound(noise_db, second_animal_db, tmp_path):
    made = plan(duration_s=20, noise_db=noise_db, second_animal_db=second_animal_db, level_jitter_db=6.0)
    calls = draw_cast("mouse1", seed=0, plan=made).all_calls
    levels = {"harmonic_db": made.harmonic_db, "noise_db": noise_db}
    path = tmp_path / "a.wav"
    write_audio(calls, path, duration_s=20, rate_hz=250_000, generator=numpy_generator(0, "noise"), **levels)
    settings = Calls().model_dump(exclude={"bout_gap_s"})
    with open_recording([path], series=None, channel=0) as recording:
        longest_s = settings["max_duration_s"]
        scan = Scan(
            recording, longest_call_s=longest_s, **Audio().model_dump(include={"low_hz", "high_hz", "window_s"})
        )
        spans = ((start_s, stop_s, "") for start_s, stop_s in detect_calls(scan, **settings))
        heard = measure_calls(scan, spans, spectrogram=None, bout_gap_s=1.0).to_pandas()
    found = detect(calls, noise_db)
    assert len(found) == pytest.approx(len(heard), abs=2) and found["bout"].max() == heard["bout"].max()
    nearest = np.abs(found["start_s"].to_numpy()[:, None] - heard["start_s"].to_numpy()).argmin(axis=1)
    same, level_db, near = [], [], []
    for one, (_, other) in zip(found.itertuples(), heard.iloc[nearest].iterrows(), strict=True):
        same.append(abs(one.start_s - other["start_s"]) < 0.004 and abs(one.stop_s - other["stop_s"]) < 0.004)
        level_db.append(one.level_db - other["level_db"])
        pitch_hz = np.interp(other["contour_s"], one.contour_s, one.contour_hz)
        near.append(np.abs(pitch_hz - other["contour_hz"]) < 1500)
    assert np.mean(same) > 0.95
    assert np.concatenate(near).mean() > (0.98 if second_animal_db is None else 0.9)  # of calls at once, either may win
    assert abs(np.median(level_db)) < 1.5 and np.std(level_db) < 2
