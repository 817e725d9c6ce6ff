import argparse
import json

import numpy as np
import pandas as pd
import pynwb
import pytest
import soundfile
from scipy.signal import spectrogram

from pipeline.config import load_config
from pipeline.simulation.session import simulate_session, simulate_sessions
from pipeline.steps import simulate

SETTINGS = {
    "rate_hz": 250_000,
    "tuning": "bands",
    "units_per_band": 3,
    "n_vocal": 1,
    "n_unrelated": 2,
}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("demo")
    truth = simulate_session("mouse1", out_dir=out_dir, seed=7, duration_s=40, gain=40.0, **SETTINGS)
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


def test_same_seed_same_data_in_any_number_of_processes(tmp_path):
    settings = SETTINGS | {"n_sessions": 2, "duration_s": 20, "gain": 4.0}
    truth = simulate_sessions(out_dir=tmp_path / "one", seed=1, n_processes=1, **settings)
    songs = [[call["start_s"] for call in truth["sessions"][name]["calls"]] for name in ("mouse1", "mouse2")]
    assert songs[0] != songs[1]
    simulate_sessions(out_dir=tmp_path / "two", seed=1, n_processes=2, **settings)
    simulate_sessions(out_dir=tmp_path / "other", seed=2, n_processes=2, **settings)
    for name in ("mouse1.wav", "mouse2.wav", "mouse1_sync.csv", "mouse2_sync.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    spikes = {}
    for key in ("one", "two", "other"):
        for name in ("mouse1", "mouse2"):
            with pynwb.NWBHDF5IO(tmp_path / key / f"{name}.nwb", "r") as io:
                spikes[key, name] = io.read().units["spike_times"].target.data[:].tobytes()
    assert spikes["one", "mouse1"] == spikes["two", "mouse1"] and spikes["one", "mouse2"] == spikes["two", "mouse2"]
    assert len(set(spikes.values())) == 4


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
    settings = SETTINGS | {"units_per_band": 0, "n_vocal": 0, "n_unrelated": 0}
    truth = simulate_session("mouse1", out_dir=tmp_path, seed=0, duration_s=20, gain=4.0, **settings)
    assert truth["units"] == {} and truth["calls"]
    with pynwb.NWBHDF5IO(tmp_path / "mouse1.nwb", "r") as io:
        assert io.read().units is None
