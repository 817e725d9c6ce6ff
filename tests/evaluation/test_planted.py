"""The song of simulated sessions, as the clips hear it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.evaluation.factors import known_clips
from pipeline.evaluation.planted import Song, planted_songs, read_truth
from pipeline.simulation.truth import call_truth
from pipeline.simulation.vocal_organ import LENGTH_M, PRESSURE_PA, sing, whistle_pitch_hz

CLOCK = {"offset_s": 3.0, "drift_ppm": 500.0}


def song(start_s, stop_s, **values):
    values = {name: np.asarray(value, float) for name, value in values.items()}
    return Song("s", np.asarray(start_s, float), np.asarray(stop_s, float), values, **CLOCK)


def random_song(generator, n_calls=60):
    start_s = np.sort(generator.uniform(0, 20, n_calls))
    return song(start_s, start_s + generator.uniform(0.02, 0.3, n_calls), pressure=generator.normal(size=n_calls))


def test_a_clip_has_the_mean_over_the_calls_that_sound_in_it(make_clips):
    """Against sums over a fine grid; calls overlap, as those of two animals do."""
    sung = random_song(np.random.default_rng(0))
    clips = make_clips(n_clips=120)[0]
    found = sung.within(clips)
    step_s = 1e-4
    for clip in range(len(clips)):
        at_s = (clips.start_s[clip] + np.arange(step_s / 2, 0.2, step_s) - 3.0) / (1 + 500e-6)
        sounds = (at_s[:, None] >= sung.start_s) & (at_s[:, None] < sung.stop_s)
        assert found["planted_duration"][clip] == pytest.approx(sounds.sum() * step_s, abs=1e-3)
        if sounds.sum() > 100:
            wanted = (sounds @ sung.values["pressure"]).sum() / sounds.sum()
            assert found["pressure"][clip] == pytest.approx(wanted, abs=0.02)
    silent = found["planted_duration"] == 0
    assert silent.any() and np.isnan(found["pressure"][silent]).all() and np.isfinite(found["pressure"][~silent]).all()


def test_without_units_clips_are_on_the_audio_clock(make_clips):
    clips = make_clips(n_clips=20)[0]
    sung = song([1.0], [1.2], pressure=[0.5])
    deaf = replace(clips, unit_ids=[], counts=clips.counts[:, :0])
    assert np.flatnonzero(sung.within(deaf)["planted_duration"]).tolist() == [5]
    late = make_clips(n_clips=60)[0]
    assert np.argmax(sung.within(late)["planted_duration"]) == 20


def test_a_truth_on_another_clock_is_left_out_with_a_warning(make_clips):
    clips = make_clips(n_clips=200)[0]
    settings = {"modalities": ("audio",), "min_peak_db": 10.0, "chunk_s": 10.0}
    everywhere = song([-4.0], [100.0], pressure=[0.5])
    assert "pressure" in known_clips(clips, song=everywhere, **settings).factors["test"]
    seldom = song([0.0, 20.0], [10.0, 25.0], pressure=[0.5, 0.1])
    with pytest.warns(UserWarning, match="session s: .* no planted call"):
        known = known_clips(clips, song=seldom, **settings)
    assert "pressure" not in known.factors["test"] and known.usable("level") and not known.usable("pressure")


def test_the_truth_of_the_simulator_is_understood(tmp_path):
    calls = sing(
        duration_s=60.0, habituation=1.0, jump_share=0.0, level_jitter_db=4.0, generator=np.random.default_rng(0)
    )
    half = len(calls) // 2
    told = {**CLOCK, "calls": [call_truth(c) for c in calls[:half]]}
    told["second_animal_calls"] = [call_truth(call) for call in calls[half:]]
    (tmp_path / "truth.json").write_text(json.dumps({"sessions": {"m": told}}))
    sung = planted_songs(read_truth(tmp_path / "truth.json"))["m"]
    pressure_pa, length_m = np.exp(sung.values["pressure"]), np.exp(sung.values["length"])
    assert len(pressure_pa) == len(calls)
    assert PRESSURE_PA[0] < pressure_pa.min() and pressure_pa.max() < PRESSURE_PA[1]
    assert LENGTH_M[0] < length_m.min() and length_m.max() < LENGTH_M[1]
    pitch_hz = whistle_pitch_hz(pressure_pa=pressure_pa, length_m=length_m, mode=3)
    np.testing.assert_allclose(np.exp(sung.values["planted_pitch"]), pitch_hz, rtol=0.03)  # of means, not mean of pitch


def test_a_truth_that_is_none_is_named(tmp_path):
    (tmp_path / "truth.json").write_text("{")
    for name in ("truth.json", "absent.json"):
        with pytest.raises(InputError, match=name):
            read_truth(tmp_path / name)
