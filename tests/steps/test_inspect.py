import h5py
import numpy as np
import pytest
import soundfile

from pipeline.__main__ import main


@pytest.fixture
def sound_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 1e-3, 250_000), 250_000)
    return tmp_path / "a.wav"


@pytest.fixture
def nwb_file(tmp_path):
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        file.attrs["nwb_version"] = "2.6.0"
        group = file.create_group("acquisition/sound")
        group.attrs["neurodata_type"] = "TimeSeries"
        group["data"] = np.random.default_rng(0).integers(-100, 100, 50_000).astype(np.int16)
        group["data"].attrs["conversion"], group["data"].attrs["unit"] = 1.0, "V"
        group["starting_time"] = 4.0
        group["starting_time"].attrs["rate"] = 50_000.0
    return tmp_path / "a.nwb"


def test_sound(sound_file, tmp_path, capsys):
    assert main(["inspect", str(sound_file), "--picture", str(tmp_path / "out/a.png")]) == 0
    told = capsys.readouterr().out
    assert "250000 Hz" in told and "Signed 16 bit PCM" in told and "calls" not in told
    assert (tmp_path / "out/a.png").read_bytes()[:4] == b"\x89PNG"


def test_calls_are_found_as_in_a_run(sound_file, capsys):
    assert main(["inspect", str(sound_file), "--calls"]) == 0
    assert "0, 0 a minute" in capsys.readouterr().out


def test_nwb_and_the_sound_in_it(nwb_file, tmp_path, capsys):
    assert main(["inspect", str(nwb_file), "--picture", str(tmp_path / "a.png")]) == 0
    assert "/acquisition/sound" in capsys.readouterr().out and (tmp_path / "a.png").exists()
    assert main(["inspect", f"{nwb_file}:/acquisition/sound"]) == 0
    told = capsys.readouterr().out
    assert "50000 Hz" in told and "4 s" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.wav"], "no such audio file"),
        (["none.nwb"], "no such"),
        (["none.wav", "--picture", "a.docx"], "no format of pictures"),
        (["none.nwb", "--calls"], "--calls needs sound"),
    ],
)
def test_mistakes(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", *arguments]) == 2
    assert message in capsys.readouterr().err
