"""From files to clips by the commands alone."""

import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pynwb import NWBHDF5IO, NWBFile
from pynwb.ecephys import ElectricalSeries

from pipeline.__main__ import main
from pipeline.clips import read_clips
from pipeline.storage import read_dataset, write_dataset, write_table

SETTINGS = '{"clips": {"n_bands": 4, "n_frames": 8, "split": {"guard_s": 0.5}}}'


@pytest.fixture
def folder(tmp_path):
    nwb = NWBFile("made for a test", "test", datetime(2024, 1, 1, tzinfo=UTC))
    for times in (np.arange(5, 45, 0.1), [20.0], np.arange(5, 45, 0.25)):
        nwb.add_unit(spike_times=times, obs_intervals=[[5.0, 45.0]])
    with NWBHDF5IO(tmp_path / "a.nwb", "w") as io:
        io.write(nwb)
    (tmp_path / "a.wav").touch()
    (tmp_path / "sessions.tsv").write_text("session\tsubject\taudio\tnwb\tsync\ns1\tanna\ta.wav\ta.nwb\t5\n")
    n_frames = 30_000
    write_dataset(
        xr.Dataset(
            {
                "power_db": (("time", "frequency"), np.zeros((n_frames, 8), np.float16)),
                "noise_floor_db": ("frequency", np.full(8, -3.0, np.float32)),
                "usable": ("time", np.ones(n_frames, bool)),
                "file_start_s": ("file", [0.0]),
                "file_stop_s": ("file", [n_frames / 1000 + 0.001]),
            },
            coords={
                "time": ("time", 0.001 * (1 + np.arange(n_frames)), {"units": "s"}),
                "frequency": np.linspace(40_000, 80_000, 8),
            },
            attrs={"hop_s": 0.001, "low_hz": 40_000.0, "high_hz": 80_000.0},
        ),
        tmp_path / "spectrogram.nc",
    )
    start_s = 1 + 2.5 * np.arange(11)
    calls = pd.DataFrame(
        {"call": range(11), "bout": range(11), "start_s": start_s, "stop_s": start_s + 0.3, "label": ""}
    )
    write_table(calls, tmp_path / "calls.parquet")
    return tmp_path


def run(folder, step, *arguments):
    paths = [str(folder / a) if "." in a and not a.startswith("{") and "=" not in a else a for a in arguments]
    return main([step, "--sheet", str(folder / "sessions.tsv"), "--session", "s1", "--config", SETTINGS, *paths])


def test_bin_then_clips(folder):
    bins = ("--spectrogram", "spectrogram.nc", "--out", "counts.nc", "--units-out", "units.parquet")
    assert run(folder, "bin", *bins) == 0
    units = pd.read_parquet(folder / "units.parquet")
    assert list(units["included"]) == [True, False, True]
    assert list(units["n_spikes"] + units["n_dropped"]) == [400, 1, 160]
    with read_dataset(folder / "counts.nc") as counts:
        assert counts["counts"].dtype == np.uint8 and counts["valid"].dtype == counts["covered"].dtype == bool
        assert list(counts["unit"].values) == ["s1|units|0", "s1|units|2"]
        assert counts["bin"].values[0] == pytest.approx(5.0)
        assert counts["counts"].values.sum() == units.loc[units["included"], "n_spikes"].sum()
    files = (
        "--spectrogram",
        "spectrogram.nc",
        "--calls",
        "calls.parquet",
        "--counts",
        "counts.nc",
        "--out",
        "clips.nc",
    )
    assert run(folder, "clips", *files) == 0
    clips = read_clips(folder / "clips.nc")
    assert len(clips) == 33 and clips.present.all()
    np.testing.assert_allclose(clips.spectrogram, 3.0)
    for unit, step in enumerate((10, 25)):  # spikes every 100 and 250 ms: in bins of 10 ms, by integers
        first = np.rint(clips.start_s * 100).astype(int) + 5
        expected = (first[:, None] + np.arange(10) - 500) % step == 0
        np.testing.assert_array_equal(clips.counts[:, unit], expected)
    assert np.isin(["train", "validation", "test"], clips.split).all()


EXTRA = {
    "neural": {"unit_filter": "probe == 'A'"},
    "extra": {
        "probe_b": {"signal": "units", "unit_filter": "probe == 'B'"},
        "movement": {"signal": "covariates"},
        "lfp": {"signal": "lfp"},
        "calcium": {"signal": "traces"},
        "same": {"signal": "multiunit"},
    },
}


def test_a_second_probe_and_movement_become_modalities(folder, capsys):
    nwb = NWBFile("made for a test", "test", datetime(2024, 1, 1, tzinfo=UTC))
    nwb.add_unit_column("probe", "of a test")
    for times, probe in ((np.arange(5, 45, 0.1), "A"), (np.arange(5, 45, 0.25), "B")):
        nwb.add_unit(spike_times=times, obs_intervals=[[5.0, 45.0]], probe=probe)
    nwb.add_electrode(location="A1", group=nwb.create_electrode_group("s", "s", "A1", nwb.create_device("probe")))
    sample_s = np.arange(0, 50, 1 / 400)
    wave = np.sin(2 * np.pi * 50 * sample_s) * np.where(np.floor(sample_s) % 2, 1.0, 0.1)
    rows = nwb.create_electrode_table_region([0], "all")
    nwb.add_acquisition(ElectricalSeries(name="lfp", data=wave[:, None], electrodes=rows, rate=400.0))
    with NWBHDF5IO(folder / "a.nwb", "w") as io:
        io.write(nwb)
    time_s = np.arange(5, 36, 0.05)
    write_table(pd.DataFrame({"time_s": time_s, "speed": np.sin(time_s)}), folder / "movement.csv")
    sheet = (folder / "sessions.tsv").read_text().splitlines()
    (folder / "sessions.tsv").write_text(f"{sheet[0]}\tcovariates\n{sheet[1]}\tmovement.csv\n")
    settings = json.dumps(json.loads(SETTINGS) | EXTRA)

    def do(step, *arguments):
        return run(folder, step, *arguments, "--config", settings)

    made = ("--spectrogram", "spectrogram.nc", "--counts", "counts.nc", "--units", "units.parquet")
    assert do("bin", *made[:2], "--out", "counts.nc", "--units-out", "units.parquet") == 0
    assert do("covariates", "--counts", "counts.nc", "--out", "covariates.nc") == 0
    for name in ("probe_b", "lfp", "calcium"):
        assert do("bin-extra", "--extra", name, *made, "--out", f"{name}.nc", "--units-out", f"{name}.parquet") == 0
    assert pd.read_parquet(folder / "probe_b.parquet")["included"].tolist() == [False, True]
    assert not len(pd.read_parquet(folder / "calcium.parquet"))  # there are no ROIs
    assert do("bin-extra", "--extra", "same", *made, "--out", "s.nc", "--units-out", "s.parquet") == 2
    assert "units of the neural side are in this modality too" in capsys.readouterr().err

    extra = [f"{name}={folder / name}.nc" for name in ("probe_b", "lfp", "calcium")]
    extra.append(f"movement={folder / 'covariates.nc'}")
    files = (*made[:4], "--calls", "calls.parquet", "--extra", *extra, "--out", "clips.nc")
    assert do("clips", *files) == 0
    clips = read_clips(folder / "clips.nc")
    assert clips.modalities == ("audio", "neural", "probe_b", "movement", "lfp", "calcium", "same")
    assert clips.present[:, :5].all() and not clips.present[:, 5:].any()
    first = np.rint(clips.start_s * 100).astype(int)[:, None] + 5 + np.arange(10)
    np.testing.assert_array_equal(clips.counts[:, 0], (first - 500) % 10 == 0)
    np.testing.assert_array_equal(clips.series("probe_b").values[:, 0], (first - 500) % 25 == 0)
    speed = clips.series("movement").values[:, 0]
    assert np.corrcoef(speed.ravel(), np.sin(first / 100 + 0.005).ravel())[0, 1] > 0.999
    gamma = clips.series("lfp")
    assert gamma.channels == [f"s1|lfp|{band}" for band in range(4)] and gamma.kind == "traces"
    loud = np.floor(first / 100) % 2 == 1
    assert np.corrcoef(gamma.values[:, 2].ravel(), loud.ravel())[0, 1] > 0.95


def test_a_mistake_is_one_message(folder, capsys):
    assert run(folder, "bin", "--spectrogram", "none.nc", "--out", "c.nc", "--units-out", "u.parquet") == 2
    assert "none.nc" in capsys.readouterr().err
