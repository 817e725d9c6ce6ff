"""Files as broken as real ones: the right result with one warning, or one InputError that says what to mend."""

import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.__main__ import main
from pipeline.audio.recording import open_recording
from pipeline.errors import InputError
from pipeline.storage import read_dataset

RATE_HZ = 250_000
HEADER_BYTES = 44  # of what soundfile writes as WAV


@pytest.fixture
def sound(rng):
    return (300 * rng.standard_normal(RATE_HZ // 5)).astype(np.int16)


@pytest.fixture
def wav(tmp_path, sound):
    """Writes a 16-bit WAV and changes its bytes: fields of the header by name, what follows, where it ends."""

    def _wav(name="a.wav", *, end=None, after=b"", **fields):
        soundfile.write(tmp_path / name, sound, RATE_HZ)
        content = bytearray((tmp_path / name).read_bytes())
        places = {"riff": (4, "<I"), "channels": (22, "<H"), "rate": (24, "<I"), "bits": (34, "<H"), "data": (40, "<I")}
        for field, value in fields.items():
            struct.pack_into(places[field][1], content, places[field][0], value)
        (tmp_path / name).write_bytes((bytes(content) + after)[:end])
        return tmp_path / name

    return _wav


def _opened(path, n_warnings=0, series=None):
    """The recording and the text of its warnings, whose number is checked."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        recording = open_recording([path], series=series, channel=0)
    assert len(told) == n_warnings, [str(w.message) for w in told]
    return recording, " ".join(str(w.message) for w in told)


def _refused(path, *parts):
    with pytest.raises(InputError) as raised:
        open_recording([path], series=None, channel=0)
    for part in (*parts, str(path)):
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "n_samples"),
    [
        ({"data": 0}, 50_000),
        ({"data": 0, "riff": 0}, 50_000),
        ({"data": 0, "riff": 36}, 50_000),
        ({"data": 0xFFFFFFFF, "riff": 0xFFFFFFFF}, 50_000),
        ({"data": 0x7FFFFFD0, "riff": 0x7FFFFFFF}, 50_000),
        ({"data": 40_000}, 50_000),
        ({"end": HEADER_BYTES + 60_000}, 30_000),
        ({"end": HEADER_BYTES + 60_001}, 30_000),
    ],
    ids=["stopped", "zeros", "zero data", "ones", "2 GiB", "too short", "cut", "cut mid-sample"],
)
def test_the_length_follows_from_the_file_where_the_header_lies(wav, sound, fields, n_samples):
    recording, told = _opened(wav(**fields), n_warnings=1)
    assert "a.wav" in told and f"{n_samples} samples" in told
    np.testing.assert_array_equal(recording.read(0, recording.n_samples) * 2**15, sound[:n_samples])
    np.testing.assert_array_equal(recording.read(700, 50) * 2**15, sound[700:750])
    recording.close()


@pytest.mark.parametrize(
    "after",
    [
        b"LIST\x04\0\0\0abcd",
        b"id3 \x03\0\0\0abc",
        b"id3 \x03\0\0\0abc\0bext\x02\0\0\0ab",
        bytes(512),
        b"\0",
        b"TAG" + bytes(range(125)),
    ],
    ids=["list", "odd", "two", "padding", "one byte", "id3"],
)
def test_what_follows_the_samples_is_no_sound(wav, after):
    recording, _ = _opened(wav(after=after, riff=2 * 50_000 + 36 + len(after)))
    assert recording.n_samples == 50_000


def test_a_recorder_that_was_stopped_in_64_bits(tmp_path, sound):
    soundfile.write(tmp_path / "a.wav", sound, RATE_HZ, format="RF64")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    assert content[:4] == b"RF64" and content[12:16] == b"ds64"
    content[20:36] = bytes(16)
    (tmp_path / "a.wav").write_bytes(content)
    recording, _ = _opened(tmp_path / "a.wav", n_warnings=1)
    np.testing.assert_array_equal(recording.read(0, 50_000) * 2**15, sound)


@pytest.mark.skipif(os.name == "nt", reason="makes a sparse file")
@pytest.mark.parametrize("data", [0, (2**32 + 2 * 10**8) % 2**32, 0xFFFFFFFF], ids=["zero", "wrapped", "ones"])
def test_more_than_4_gib_in_a_plain_wav(wav, sound, data):
    path, n_bytes = wav(riff=0, data=data), 2**32 + 2 * 10**8
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + n_bytes - sound.nbytes)
        file.write(sound.tobytes())
    recording, _ = _opened(path, n_warnings=1)
    assert recording.n_samples == n_bytes // 2
    with recording:
        np.testing.assert_array_equal(recording.read(0, 100) * 2**15, sound[:100])
        np.testing.assert_array_equal(recording.read(n_bytes // 2 - 200, 200) * 2**15, sound[-200:])


@pytest.mark.parametrize("suffix", ["w64", "aiff"])
def test_other_formats_that_were_cut(tmp_path, sound, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sound, RATE_HZ)
    path.write_bytes(path.read_bytes()[:60_000])
    recording, told = _opened(path, n_warnings=1)
    assert str(path) in told
    assert 29_900 < recording.n_samples < 30_000
    np.testing.assert_array_equal(recording.read(0, 29_000) * 2**15, sound[:29_000])


def test_compressed_files_that_were_cut_tell_no_length(tmp_path, sound):
    soundfile.write(tmp_path / "a.flac", sound, RATE_HZ)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    _refused(tmp_path / "a.flac", "truncated", "copy the file again")


def test_a_shorter_file_must_not_shift_those_after_it(wav):
    cut, whole = wav("cut.wav", end=60_000), wav("whole.wav")
    with pytest.warns(UserWarning), pytest.raises(InputError, match=r"shift all files[\s\S]*cut\.wav[\s\S]*listing"):
        open_recording([cut, whole], series=None, channel=0)
    with pytest.warns(UserWarning):
        assert open_recording([whole, cut], series=None, channel=0).n_samples == 50_000 + 29_978
    with pytest.warns(UserWarning):
        assert open_recording([cut, whole], series=None, channel=0, start_s=[0, 1]).n_samples == RATE_HZ + 50_000


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"channels": 0}, ["number of channels", "found:   0"]),
        ({"channels": 65_535}, ["number of channels", "65535"]),
        ({"rate": 0}, ["sampling rate", "found:   0"]),
        ({"rate": 4_000_000_000}, ["sampling rate", "4000000000", "20000000"]),
        ({"end": HEADER_BYTES}, ["no samples"]),
        ({"end": 30}, ["not a sound file"]),
        ({"end": 0}, ["empty"]),
    ],
)
def test_headers_that_cannot_be(wav, fields, parts):
    _refused(wav(**fields), *parts)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, b"no sound, only words\n" * 90])
def test_what_is_no_audio(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    _refused(tmp_path / "a.wav", "not a sound file")


def test_folders_and_names_that_do_not_exist(tmp_path, wav):
    wav("rec_01.wav")
    (tmp_path / "day.wav").mkdir()
    _refused(tmp_path / "day.wav", "a folder", "day.wav/*.wav")
    _refused(tmp_path / "rec_02.wav", "no such audio file", "did you mean 'rec_01.wav'?")
    _refused(tmp_path / "nowhere" / "a.wav", "no such audio file")


def test_files_that_may_not_be_read(wav, monkeypatch):
    path, opened = wav(), Path.open

    def _open(self, *args, **options):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *args, **options)

    monkeypatch.setattr(Path, "open", _open)
    _refused(path, "Permission denied", "permissions")


def test_home_spaces_and_unicode_in_paths(tmp_path, wav, sound, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    wav("Käfig 3 – 鼠.wav")
    recording, _ = _opened("~/Käfig 3 – 鼠.wav")
    np.testing.assert_array_equal(recording.read(0, 50_000) * 2**15, sound)
    monkeypatch.chdir(tmp_path)
    assert _opened("Käfig 3 – 鼠.wav")[0].n_samples == 50_000


@pytest.fixture
def run(tmp_path):
    """Runs the step on one file; returns the exit code, the warnings and what was written (None: nothing)."""

    def _run(path):
        sheet, out = tmp_path / "sessions.tsv", tmp_path / "out" / "s.nc"
        sheet.write_text(f"session\tsubject\taudio\ns1\tanna\t{path.name}\n", encoding="utf-8")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            code = main(["spectrogram", "--sheet", str(sheet), "--session", "s1", "--out", str(out)])
        if not out.exists():
            assert not out.parent.exists() or not list(out.parent.iterdir())
            return code, told, None
        with read_dataset(out) as spectrogram:
            return code, told, spectrogram.load()

    return _run


def test_not_a_number_is_marked_and_counted(tmp_path, sound, run, capsys):
    samples = sound.astype(np.float32) / 2**15
    samples[[9_000, 9_001, 30_000]] = np.nan, np.inf, -np.inf
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    code, told, spectrogram = run(tmp_path / "a.wav")
    assert code == 0 and len(told) == 1
    assert "a.wav" in str(told[0].message) and "3 samples are not numbers" in str(told[0].message)
    starts = np.arange(len(spectrogram["time"])) * 250
    bad = np.any([(starts <= k) & (k < starts + 512) for k in (9_000, 9_001, 30_000)], axis=0)
    np.testing.assert_array_equal(spectrogram["usable"], ~bad)
    assert np.isfinite(spectrogram["power_db"]).all() and np.isfinite(spectrogram["noise_floor_db"]).all()


def test_digital_silence_is_told_once(tmp_path, run):
    soundfile.write(tmp_path / "a.wav", np.zeros(50_000), RATE_HZ)
    code, told, spectrogram = run(tmp_path / "a.wav")
    assert code == 0 and len(told) == 1 and "100.00%" in str(told[0].message)
    assert not spectrogram["usable"].any() and np.isfinite(spectrogram["noise_floor_db"]).all()


def test_half_of_the_sound_clipped(tmp_path, sound, run):
    samples = sound.copy()
    samples[25_000:] = np.where(samples[25_000:] > 0, 32_767, -32_768)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ)
    code, told, spectrogram = run(tmp_path / "a.wav")
    assert code == 0 and len(told) == 1 and "clipped" in str(told[0].message)
    share = float((~spectrogram["usable"]).mean())
    assert 0.48 < share < 0.54 and f"{share:.2%}" in str(told[0].message)
    noise = spectrogram["power_db"][:90].astype(float).median("time")
    assert float(np.abs(spectrogram["noise_floor_db"] - noise).max()) < 1.5


def test_loud_float_sound_is_not_clipped(tmp_path, sound, run):
    soundfile.write(tmp_path / "a.wav", sound.astype(np.float32) / 50, RATE_HZ, subtype="FLOAT")  # up to 20
    code, told, spectrogram = run(tmp_path / "a.wav")
    assert code == 0 and not told and spectrogram["usable"].all()


def _all_clipped(sound):
    return np.where(sound > 0, 32_767, -32_768).astype(np.int16), RATE_HZ, "all of them clipped"


def _low_rate(sound):
    return sound, 96_000, "audio.high_hz up to 48000 Hz"


def _too_short(sound):
    return sound[:300], RATE_HZ, "shorter than one window"


@pytest.mark.parametrize("make", [_all_clipped, _low_rate, _too_short])
def test_what_leaves_nothing_to_analyse_exits_with_2_and_no_file(tmp_path, sound, run, capsys, make):
    samples, rate_hz, message = make(sound)
    soundfile.write(tmp_path / "a.wav", samples, rate_hz)
    code, _, spectrogram = run(tmp_path / "a.wav")
    assert code == 2 and spectrogram is None
    shown = capsys.readouterr().err
    assert message in shown and "a.wav" in shown and "Traceback" not in shown


def test_a_lying_header_does_not_stop_the_step(wav, run):
    code, told, spectrogram = run(wav(data=0, riff=36))
    assert code == 0 and len(told) == 1
    assert spectrogram.attrs["duration_s"] == 0.2


@pytest.mark.skipif(os.name == "nt", reason="sparse files")
def test_a_corrupt_length_allocates_nothing(tmp_path, sound):
    soundfile.write(tmp_path / "a.flac", sound, RATE_HZ)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] |= 0x0F  # the number of samples has 36 bits, the last 4 of this byte first
    content[22:26] = b"\xff\xff\xff\xff"
    (tmp_path / "a.flac").write_bytes(content)
    _refused(tmp_path / "a.flac", "truncated")
