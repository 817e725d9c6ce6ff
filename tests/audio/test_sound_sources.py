from datetime import UTC, datetime

import numpy as np
import pytest
import soundfile
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

from pipeline.audio.recording import check_range, open_recording
from pipeline.errors import InputError, InputErrors


def _read(recording, block_samples=1000):
    return np.concatenate(list(recording.blocks(block_samples)))


@pytest.mark.parametrize(
    ("suffix", "form", "subtype", "step"),
    [
        ("wav", "WAV", "PCM_U8", 2**-7),
        ("wav", "WAV", "PCM_16", 2**-15),
        ("wav", "WAVEX", "PCM_24", 2**-23),
        ("wav", "WAV", "PCM_32", 2**-23),
        ("wav", "RF64", "PCM_16", 2**-15),
        ("w64", "W64", "PCM_16", 2**-15),
        ("flac", "FLAC", "PCM_16", 2**-15),
        ("wav", "WAV", "DOUBLE", 2**-23),
    ],
)
def test_every_kind_of_file_gives_back_its_samples(tmp_path, rng, suffix, form, subtype, step):
    samples = rng.uniform(-0.9, 0.9, (5001, 3))
    path = tmp_path / f"sound.{suffix}"
    soundfile.write(path, samples, 192_000, format=form, subtype=subtype)
    recording = open_recording([path], series=None, channel=2)
    assert (recording.rate_hz, recording.n_samples, recording.sources[0].n_channels) == (192_000, 5001, 3)
    assert recording.sources[0].quantum == step
    np.testing.assert_allclose(_read(recording), samples[:, 2], atol=step)


def test_float_samples_above_one_are_kept(tmp_path):
    samples = np.array([0.5, -10.9, 3.25] * 100, np.float32)
    soundfile.write(tmp_path / "loud.wav", samples, 48_828, subtype="FLOAT")
    np.testing.assert_array_equal(_read(open_recording([tmp_path / "loud.wav"], series=None, channel=0)), samples)


def test_several_files_make_one_recording(tmp_path, rng):
    pieces = [rng.uniform(-1, 1, n).astype(np.float32) for n in (2500, 7, 4000)]
    paths = [tmp_path / f"{i}.wav" for i in range(3)]
    for path, piece in zip(paths, pieces, strict=True):
        soundfile.write(path, piece, 1000, subtype="FLOAT")
    recording = open_recording(paths, series=None, channel=0)
    blocks = list(recording.blocks(600))
    assert [len(block) for block in blocks] == [600] * 10 + [507]
    np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate(pieces))
    np.testing.assert_allclose(recording.file_start_s, [0, 2.5, 2.507])
    np.testing.assert_allclose(recording.file_stop_s, [2.5, 2.507, 6.507])


def _write_nwb(path, **series):
    nwb = NWBFile("made for a test", "test", datetime(2024, 1, 1, tzinfo=UTC))
    nwb.add_acquisition(TimeSeries(name="microphone", unit="volts", **series))
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb)


def test_series_in_nwb(tmp_path, rng):
    data = rng.integers(-30_000, 30_000, (3000, 2), dtype=np.int16)
    _write_nwb(tmp_path / "a.nwb", data=data, rate=250_000.0, starting_time=12.5, conversion=1e-4, offset=0.25)
    recording = open_recording([tmp_path / "a.nwb"], series="/acquisition/microphone", channel=1)
    assert (recording.rate_hz, recording.start_s, recording.sources[0].unit) == (250_000, 12.5, "volts")
    np.testing.assert_allclose(_read(recording), data[:, 1] * 1e-4 + 0.25, rtol=1e-6)


def test_series_in_nwb_with_time_stamps(tmp_path):
    stamps = 3.0 + np.arange(4000) / 50_000
    _write_nwb(tmp_path / "even.nwb", data=np.zeros(4000), timestamps=stamps)
    recording = open_recording([tmp_path / "even.nwb"], series="/acquisition/microphone", channel=0)
    assert recording.rate_hz == pytest.approx(50_000)
    assert recording.start_s == 3.0
    stamps[2000:] += 0.1
    _write_nwb(tmp_path / "gap.nwb", data=np.zeros(4000), timestamps=stamps)
    with pytest.raises(InputError, match=r"not evenly sampled[\s\S]*gap\.nwb"):
        open_recording([tmp_path / "gap.nwb"], series="/acquisition/microphone", channel=0)


def test_missing_series_lists_those_that_exist(tmp_path):
    _write_nwb(tmp_path / "a.nwb", data=np.zeros(10), rate=1000.0)
    with pytest.raises(InputError, match=r"nearest: /acquisition/microphone"):
        open_recording([tmp_path / "a.nwb"], series="/acquisition/mikrophone", channel=0)


def _broken_files(folder):
    samples = np.linspace(-1, 1, 9000)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("not a sound at all, " * 20)
    (folder / "notes.docx").write_text("notes")
    soundfile.write(folder / "nothing.wav", samples[:0], 250_000)
    for name in ("whole.wav", "whole.w64", "whole.flac"):
        soundfile.write(folder / name, samples, 250_000)
        content = (folder / name).read_bytes()
        (folder / name.replace("whole", "cut")).write_bytes(content[: len(content) * 2 // 3])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.wav", "no such audio file"),
        ("empty.wav", "empty"),
        ("text.wav", "not a sound file"),
        ("notes.docx", r"found:   \.docx[\s\S]*\.flac"),
        ("nothing.wav", "no samples"),
        ("cut.flac", "truncated"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, message):
    _broken_files(tmp_path)
    with pytest.raises(InputError, match=message) as raised:
        _read(open_recording([tmp_path / name], series=None, channel=0))
    assert name in str(raised.value)


@pytest.mark.parametrize("block_samples", [1, 64, 4000])
def test_short_reads_give_the_same_samples_as_one_long_one(tmp_path, rng, block_samples):
    pieces = [rng.integers(-9000, 9000, (n, 2), dtype=np.int16) for n in (2500, 7, 4000)]
    paths = [tmp_path / f"{i}.wav" for i in range(3)]
    for path, piece in zip(paths, pieces, strict=True):
        soundfile.write(path, piece, 1000)
    expected = np.concatenate(pieces)[:, 1] / 2**15
    with open_recording(paths, series=None, channel=1) as recording:
        for start in rng.integers(0, len(expected) - block_samples, 20):
            np.testing.assert_array_equal(
                recording.read(start, block_samples), expected[start : start + block_samples].astype(np.float32)
            )
        np.testing.assert_array_equal(recording.read(-5, 8), np.r_[np.zeros(5), expected[:3]].astype(np.float32))
        np.testing.assert_array_equal(recording.read(6505, 4), np.r_[expected[-2:], 0, 0].astype(np.float32))


def test_not_a_number_reads_as_silence(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.5, np.nan, np.inf, 0.25], np.float32), 1000, subtype="FLOAT")
    recording = open_recording([tmp_path / "a.wav"], series=None, channel=0)
    np.testing.assert_array_equal(recording.read(0, 4), [0.5, 0, 0, 0.25])


def test_all_problems_of_a_session_come_at_once(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 250_000)
    soundfile.write(tmp_path / "b.wav", np.zeros(100), 192_000)
    with pytest.raises(InputErrors) as raised:
        open_recording([tmp_path / "a.wav", tmp_path / "b.wav", tmp_path / "c.wav"], series=None, channel=1)
    message = str(raised.value)
    assert "4 problems" in message
    for part in ("192000 Hz", "250000 Hz, as in", "audio.channel 1", "allowed: 0", "c.wav"):
        assert part in message


def test_range_above_half_the_rate(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(10_000), 192_000)
    recording = open_recording([tmp_path / "a.wav"], series=None, channel=0)
    check_range(recording, low_hz=30_000, high_hz=96_000, window_s=0.002)
    with pytest.raises(InputError, match=r"125000 Hz at a sampling rate of 192000 Hz[\s\S]*up to 96000 Hz"):
        check_range(recording, low_hz=30_000, high_hz=125_000, window_s=0.002)
    with pytest.raises(InputError, match="shorter than one window"):
        check_range(recording, low_hz=30_000, high_hz=96_000, window_s=1.0)
