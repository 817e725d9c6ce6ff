import argparse
import json
from dataclasses import fields

import numpy as np
import pandas as pd
import pynwb
import pytest
import soundfile
from scipy.signal import spectrogram
from simulated_plan import OF_SESSIONS, plan

from pipeline.config import Simulation
from pipeline.config_file import load_config
from pipeline.simulation.plan import Plan
from pipeline.simulation.session import animals_of_sessions, simulate_session, simulate_sessions
from pipeline.steps import simulate

UNITS = {"units_per_band": 3, "n_vocal": 1, "n_unrelated": 2}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("demo")
    truth = simulate_session("mouse1", "mouse1", out_dir=out_dir, seed=7, plan=plan(duration_s=40, gain=40.0, **UNITS))
    with pynwb.NWBHDF5IO(out_dir / "mouse1.nwb", "r") as io:
        nwb = io.read()
        yield out_dir, truth, nwb


def test_nwb_holds_the_units_of_the_truth(session):
    _, truth, nwb = session
    assert nwb.subject.subject_id == "mouse1" and nwb.session_id == "mouse1"
    assert nwb.units.resolution == pytest.approx(1 / 30_000)
    assert len(nwb.units) == len(truth["units"]) == 15
    for row, (unit_id, unit) in enumerate(truth["units"].items()):
        assert unit_id == f"mouse1|units|{row}"
        assert len(nwb.units["spike_times"][row]) == unit["n_spikes"]
        assert nwb.units["electrodes"][row]["location"].tolist() == [unit["region"]]
        assert np.array(nwb.units["obs_intervals"][row]).tolist() == [[0.0, truth["neural_duration_s"]]]
    assert truth["neural_duration_s"] > truth["offset_s"] + 40


def test_sync_file_tells_offset_and_drift(session):
    out_dir, truth, _ = session
    pulses = pd.read_csv(out_dir / "mouse1_sync.csv")
    assert pulses.columns.tolist() == ["audio_s", "nwb_s"] and len(pulses) > 10
    slope, offset_s = np.polyfit(pulses.audio_s, pulses.nwb_s, 1)
    assert offset_s == pytest.approx(truth["offset_s"], abs=5e-5)
    assert (slope - 1) * 1e6 == pytest.approx(truth["drift_ppm"], abs=2)
    assert 10 <= abs(truth["drift_ppm"]) <= 40
    residual_s = pulses.nwb_s - (offset_s + slope * pulses.audio_s)
    assert residual_s.abs().max() < 5e-5


def test_spikes_follow_the_power_in_their_band_by_their_lag(session):
    """From the files alone: loudest band in the WAV, mapped by the pulses, against the spikes in the NWB."""
    out_dir, truth, nwb = session
    samples, rate_hz = soundfile.read(out_dir / "mouse1.wav", dtype="float32")
    assert len(samples) == 40 * rate_hz
    frequency_hz, audio_s, power = spectrogram(samples, rate_hz, nperseg=500, noverlap=250)
    pulses = pd.read_csv(out_dir / "mouse1_sync.csv")
    session_s = np.polyval(np.polyfit(pulses.audio_s, pulses.nwb_s, 1), audio_s)
    frequency_hz, power = frequency_hz[frequency_hz > 30_000], power[frequency_hz > 30_000]
    loudest_hz = np.where(power.max(axis=0) > 20 * np.median(power), frequency_hz[power.argmax(axis=0)], 0)
    for cluster in range(4):
        rows = [r for r, u in enumerate(truth["units"].values()) if u["cluster"] == cluster]
        band = list(truth["units"].values())[rows[0]]
        in_band = ((loudest_hz > band["low_hz"]) & (loudest_hz < band["high_hz"])).astype(float)
        spikes_s = np.concatenate([nwb.units["spike_times"][row] for row in rows])
        lags_s = np.arange(-0.06, 0.0601, 0.002)
        hits = [np.interp(spikes_s - lag_s, session_s, in_band).sum() for lag_s in lags_s]
        assert lags_s[np.argmax(hits)] == pytest.approx(band["lag_s"], abs=0.004), cluster
        assert max(hits) > 3 * hits[0]


def test_calls_of_the_truth_are_heard_when_they_say(session):
    out_dir, truth, _ = session
    samples, rate_hz = soundfile.read(out_dir / "mouse1.wav", dtype="float32")
    silent = np.ones(len(samples), bool)
    loudness = []
    for call in truth["calls"]:
        start, stop = round(call["start_s"] * rate_hz), round(call["stop_s"] * rate_hz)
        silent[start : stop + 1] = False
        loudness.append(samples[start:stop].std())
    assert np.abs(samples[silent]).max() < 7 * samples[silent].std()  # noise alone
    assert np.median(loudness) > 4 * samples[silent].std()
    assert min(loudness) > samples[silent].std()
    assert all(call["low_hz"] <= call["mean_hz"] <= call["high_hz"] for call in truth["calls"])


def test_same_seed_same_files_in_any_number_of_processes(tmp_path):
    everything = plan(duration_s=20, n_movement=1, n_suppressed=1, n_multiplexed=1, second_animal_db=-6.0, **UNITS)
    settings = {"n_sessions": 2, "sessions_per_animal": 1, "plan": everything}
    truth = simulate_sessions(out_dir=tmp_path / "one", seed=1, n_processes=1, **settings)
    songs = [[call["start_s"] for call in truth["sessions"][name]["calls"]] for name in ("mouse1", "mouse2")]
    assert songs[0] != songs[1]
    assert truth == simulate_sessions(out_dir=tmp_path / "two", seed=1, n_processes=2, **settings)
    simulate_sessions(out_dir=tmp_path / "other", seed=2, n_processes=2, **settings)
    content = {path: path.read_bytes() for path in tmp_path.glob("*/*")}
    assert len(content) == 3 * 6
    for path in (tmp_path / "one").iterdir():
        assert content[path] == content[tmp_path / "two" / path.name], path.name
    assert len(set(content.values())) == 2 * 6


def test_units_are_noisy_on_their_own(session):
    _, truth, nwb = session
    rows = [row for row, unit in enumerate(truth["units"].values()) if unit["kind"] == "unrelated"]
    counts = [np.histogram(nwb.units["spike_times"][row], bins=np.arange(0, 47, 0.1))[0] for row in rows]
    assert abs(np.corrcoef(counts)[0, 1]) < 0.2


def test_step_writes_truth_with_the_settings(tmp_path):
    config = load_config({"seed": 3, "simulation": {"n_sessions": 1, "duration_s": 20, "gain": 1, "n_vocal": 2}})
    simulate.run(argparse.Namespace(out_dir=str(tmp_path / "demo")), config)
    truth = json.loads((tmp_path / "demo" / "truth.json").read_text())
    assert truth["seed"] == 3 and truth["settings"]["duration_s"] == 20 and truth["bands"] == []
    assert list(truth["sessions"]) == ["mouse1"]
    units = truth["sessions"]["mouse1"]["units"].values()
    assert {unit["kind"] for unit in units} == {"unrelated"} and len(units) == 4 * 7 + 2 + 20


def test_session_without_units_is_written(tmp_path):
    empty = plan(duration_s=20, units_per_band=0, n_vocal=0, n_unrelated=0)
    truth = simulate_session("mouse1", "mouse1", out_dir=tmp_path, seed=0, plan=empty)
    assert truth["units"] == {} and truth["calls"]
    with pynwb.NWBHDF5IO(tmp_path / "mouse1.nwb", "r") as io:
        assert io.read().units is None


def test_a_second_animal_is_heard_told_apart_and_followed_by_no_unit(session, tmp_path):
    alone_dir, alone, _ = session
    both_plan = plan(duration_s=40, gain=40.0, second_animal_db=-12.0, **UNITS)
    truth = simulate_session("mouse1", "mouse1", out_dir=tmp_path, seed=7, plan=both_plan)
    assert truth["calls"] == alone["calls"] and truth["units"] == alone["units"]
    assert (tmp_path / "mouse1.nwb").read_bytes() == (alone_dir / "mouse1.nwb").read_bytes()
    levels_db = [[call["level_db"] for call in truth[key]] for key in ("calls", "second_animal_calls")]
    assert np.mean(levels_db[0]) - np.mean(levels_db[1]) == pytest.approx(12, abs=2)
    added = np.subtract(
        *(soundfile.read(d / "mouse1.wav", dtype="int16")[0].astype(float) for d in (tmp_path, alone_dir))
    )
    inside = np.zeros(len(added), bool)
    for call in truth["second_animal_calls"]:
        inside[round(call["start_s"] * 250_000) : round(call["stop_s"] * 250_000) + 1] = True
    assert not added[~inside].any() and (added[inside] != 0).mean() > 0.9


def test_running_speed_is_in_the_file_and_followed_by_its_units(tmp_path):
    running = plan(duration_s=120, gain=4.0, n_movement=8, movement_correlation=0.7, **UNITS)
    truth = simulate_session("mouse1", "mouse1", out_dir=tmp_path, seed=0, plan=running)
    assert truth["movement"]["correlation"] == pytest.approx(0.7, abs=0.15)
    with pynwb.NWBHDF5IO(tmp_path / "mouse1.nwb", "r") as io:
        nwb = io.read()
        _, _, module, name = truth["movement"]["series"].split("/")
        series = nwb.processing[module][name]
        assert series.unit == "m/s" and series.rate == truth["movement"]["rate_hz"] and series.starting_time == 0
        edges_s = np.arange(0, truth["neural_duration_s"], 1.0)
        speed = np.interp(edges_s[:-1] + 0.5, np.arange(len(series.data)) / series.rate, series.data[:])
        counts = {}
        for row, unit in enumerate(truth["units"].values()):
            counts.setdefault(unit["kind"], []).append(np.histogram(nwb.units["spike_times"][row], edges_s)[0])
    r = {kind: np.corrcoef(np.sum(all_counts, axis=0), speed)[0, 1] for kind, all_counts in counts.items()}
    assert r["movement"] > 0.6 and abs(r["unrelated"]) < 0.3
    assert [unit["lag_s"] for unit in truth["units"].values() if unit["kind"] == "movement"] == [None] * 8


def test_what_is_planted_beside_tuned_units_is_in_the_truth(tmp_path):
    kinds = {"n_multiplexed": 2, "n_suppressed": 2}
    truth = simulate_session("mouse1", "mouse1", out_dir=tmp_path, seed=0, plan=plan(duration_s=20, **kinds, **UNITS))
    units = {kind: [u for u in truth["units"].values() if u["kind"] == kind] for kind in ("multiplexed", "suppressed")}
    assert [(u["sign"], u["gain"], len(u["bands_hz"]), u["cluster"]) for u in units["suppressed"]] == [
        (-1, 0.25, 1, -1)
    ] * 2
    assert [(u["sign"], u["gain"], len(u["bands_hz"]), u["cluster"]) for u in units["multiplexed"]] == [
        (1, 4.0, 2, -1)
    ] * 2
    assert units["multiplexed"][0]["best_hz"] is None and units["suppressed"][0]["best_hz"] > 4e4
    assert {u["sign"] for u in truth["units"].values() if u["kind"] == "unrelated"} == {0}
    assert "movement" not in truth and "second_animal_calls" not in truth


def test_units_of_another_session_are_told_with_the_song_that_they_follow(tmp_path):
    other = plan(duration_s=20, gain=40.0, scenario="other_session", **UNITS)
    truth = simulate_session("mouse1", "mouse1", out_dir=tmp_path, seed=7, plan=other)
    units = list(truth["units"].values())
    assert {u["kind"] for u in units} == {"other_session", "unrelated"} and {u["cluster"] for u in units} == {-1}
    starts = {key: [call["start_s"] for call in truth[key]] for key in ("calls", "other_session_calls")}
    assert starts["calls"] != starts["other_session_calls"]
    (row,) = [row for row, u in enumerate(units) if u["kind"] == "other_session" and not u["bands_hz"]]
    with pynwb.NWBHDF5IO(tmp_path / "mouse1.nwb", "r") as io:
        audio_s = io.read().units["spike_times"][row] - truth["offset_s"] - units[row]["lag_s"]
    inside = {
        key: np.mean([any(c["start_s"] <= t <= c["stop_s"] for c in truth[key]) for t in audio_s]) for key in starts
    }
    assert inside["other_session_calls"] > 0.8 and inside["calls"] < 0.6


def test_animals_with_several_sessions(tmp_path):
    assert animals_of_sessions(n_sessions=2, sessions_per_animal=1) == {"mouse1": "mouse1", "mouse2": "mouse2"}
    animals = animals_of_sessions(n_sessions=3, sessions_per_animal=2)
    assert animals == {"mouse1_day1": "mouse1", "mouse1_day2": "mouse1", "mouse2_day1": "mouse2"}
    several = {"n_sessions": 2, "sessions_per_animal": 2, "plan": plan(duration_s=20, **UNITS)}
    truth = simulate_sessions(out_dir=tmp_path, seed=0, n_processes=1, **several)
    assert [session["subject"] for session in truth["sessions"].values()] == ["mouse1", "mouse1"]
    with pynwb.NWBHDF5IO(tmp_path / "mouse1_day2.nwb", "r") as io:
        nwb = io.read()
        assert (nwb.subject.subject_id, nwb.session_id) == ("mouse1", "mouse1_day2")


def test_the_plan_holds_every_setting_of_the_simulation():
    assert {field.name for field in fields(Plan)} == set(Simulation.model_fields) - OF_SESSIONS
