import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
import xarray as xr

from pipeline.__main__ import main
from pipeline.storage import read_dataset, write_dataset


@pytest.fixture
def session(tmp_path, noise, chirp):
    """A sheet with four sessions: sound with two calls, the same with annotations, on another clock, no sound."""
    samples = noise(4)
    for start_s in (1.0, 3.0):
        samples[int(start_s * 250_000) :][:12_500] += 0.05 * chirp(60e3, 70e3, 0.05)
    for name in ("a.wav", "b.wav", "c.wav"):
        soundfile.write(tmp_path / name, samples, 250_000)
    (tmp_path / "a.csv").write_text("start_s,stop_s,label\n0.5,0.6,mine\n")
    (tmp_path / "b.nwb").touch()
    with h5py.File(tmp_path / "c.nwb", "w") as nwb:
        table = nwb.create_group("intervals/calls")
        table.attrs["neurodata_type"] = "TimeIntervals"
        table["start_time"], table["stop_time"], table["label"] = [100.5], [100.6], ["mine"]
    clock = xr.Dataset({"clock_audio_s": ("knot", [0.0, 10.0]), "clock_session_s": ("knot", [100.0, 110.0])})
    write_dataset(clock.assign_attrs(clock_residual_ms=0.0, clock_source="offset"), tmp_path / "c.counts.nc")
    sheet = tmp_path / "sessions.tsv"
    sheet.write_text(
        "session\tsubject\taudio\tnwb\tsync\tannotations\tcondition\n"
        "sound\tm\ta.wav\t\t\t\t\nlabelled\tm\tb.wav\t\t\ta.csv\t\n"
        "timed\tm\tc.wav\tc.nwb\t100\tc.nwb:/intervals/calls\t\nmute\tm\t\tb.nwb\t\t\t\n"
    )

    def _run(name, *options):
        common = ["--sheet", str(sheet), "--session", name]
        spectrogram, calls = str(tmp_path / f"{name}.nc"), str(tmp_path / f"{name}.parquet")
        assert main(["spectrogram", *common, "--out", spectrogram]) == 0
        assert main(["calls", *common, "--spectrogram", spectrogram, "--out", calls, *options]) == 0
        with read_dataset(spectrogram) as dataset:
            return dataset.load(), pd.read_parquet(calls)

    return _run


def test_calls_are_detected(session):
    spectrogram, calls = session("sound")
    assert spectrogram.attrs["duration_s"] == 4
    np.testing.assert_allclose(calls["start_s"], [1.0, 3.0], atol=0.003)
    assert calls["bout"].tolist() == [0, 1]
    np.testing.assert_allclose(calls["mean_hz"], 65e3, rtol=0.01)


def test_annotations_replace_detection(session):
    _, calls = session("labelled")
    assert calls[["start_s", "stop_s", "label"]].to_numpy().tolist() == [[0.5, 0.6, "mine"]]
    assert np.isfinite(calls["peak_hz"]).all()


def test_annotations_on_the_clock_of_the_nwb_file(session, tmp_path, capsys):
    _, calls = session("timed", "--counts", str(tmp_path / "c.counts.nc"))
    np.testing.assert_allclose(calls[["start_s", "stop_s"]], [[0.5, 0.6]], atol=1e-9)
    assert calls["label"].tolist() == ["mine"]
    with pytest.raises(AssertionError):
        session("timed")
    assert "on the clock of the NWB file" in capsys.readouterr().err


def test_session_without_audio(session):
    spectrogram, calls = session("mute")
    assert spectrogram.sizes["time"] == 0
    assert len(calls) == 0
