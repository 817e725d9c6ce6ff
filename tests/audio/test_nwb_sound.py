"""Sound in NWB files, as labs write them and as it breaks; made with h5py, since pynwb refuses to write most of it."""

import warnings

import h5py
import numpy as np
import pytest
import soundfile

from pipeline.audio.recording import open_recording
from pipeline.errors import InputError

RATE_HZ = 250_000
SERIES = "/acquisition/mic"


@pytest.fixture
def sound(rng):
    return rng.integers(-3000, 3000, (9000, 2), dtype=np.int16)


@pytest.fixture
def write(tmp_path):
    """Writes a series of the type AcousticWaveformSeries with what is given; `None` leaves a part out."""

    def _write(name="a.nwb", *, data=None, rate=float(RATE_HZ), start=0.0, stamps=None, external=None, **attributes):
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            group = file.create_group(SERIES)
            group.attrs["neurodata_type"] = "AcousticWaveformSeries"
            if data is not None:
                group["data"] = data
                group["data"].attrs.update({"unit": "volts"} | attributes)
            if rate is not None:
                group["starting_time"] = start
                group["starting_time"].attrs["rate"] = rate
            if stamps is not None:
                group["timestamps"] = stamps
            if external is not None:
                group.create_dataset("external_file", data=external, dtype=h5py.string_dtype())
        return path

    return _write


def _open(path, channel=0, n_warnings=0):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        recording = open_recording([path], series=SERIES, channel=channel)
    assert len(told) == n_warnings, [str(w.message) for w in told]
    return recording


def _refused(path, *parts):
    with pytest.raises(InputError) as raised:
        open_recording([path], series=SERIES, channel=0)
    for part in (*parts, path.name):
        assert part in str(raised.value)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "uint8"])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_conversion_and_offset_in_short_reads(write, sound, dtype, offset):
    data = np.abs(sound // 32).astype(dtype)
    with _open(write(data=data, conversion=2e-3, offset=offset, start=7.5), channel=1) as recording:
        assert (recording.start_s, recording.rate_hz, recording.sources[0].unit) == (7.5, RATE_HZ, "volts")
        for start in (0, 8000, 17):
            expected = data[start : start + 1000, 1] * 2e-3 + offset
            np.testing.assert_allclose(recording.read(start, 1000), expected, rtol=1e-5)


def test_a_matrix_of_channels_by_time_is_turned(write, sound):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        recording = open_recording([write(data=sound.T)], series=SERIES, channel=1)
    assert len(told) == 1 and "(2, 9000)" in str(told[0].message)
    assert (recording.n_samples, recording.n_channels) == (9000, 2)
    np.testing.assert_array_equal(recording.read(100, 50), sound[100:150, 1])


def test_rate_and_time_stamps_that_agree(write, sound):
    stamps = 3 + np.arange(9000) / RATE_HZ
    recording = _open(write(data=sound, start=3.0, stamps=stamps))
    assert (recording.rate_hz, recording.start_s) == (RATE_HZ, 3.0)


@pytest.mark.parametrize("stamps", [5 + np.arange(9000) / RATE_HZ, np.arange(9000) / 125_000])
def test_rate_and_time_stamps_that_disagree(write, sound, stamps):
    _refused(write(data=sound, stamps=stamps), "two clocks that disagree", "remove the one that is wrong")


def test_uneven_time_stamps_are_told_with_their_place(write, sound):
    stamps = np.arange(9000) / RATE_HZ
    stamps[4000:] += 0.25
    _refused(write(data=sound, rate=None, stamps=stamps), "not evenly sampled", "near sample 40", "timestamps")
    stamps[0] = np.nan
    _refused(write(data=sound, rate=None, stamps=stamps), "not evenly sampled")


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"rate": 0.0}, "sampling rate"),
        ({"rate": np.nan}, "sampling rate"),
        ({"rate": 4e9}, "sampling rate"),
        ({"rate": None}, "no sampling rate"),
        ({"rate": None, "stamps": np.arange(5.0)}, "5 time stamps for 9000 samples"),
        ({"conversion": 0.0}, "cannot be scaled"),
        ({"conversion": np.nan}, "cannot be scaled"),
    ],
)
def test_clocks_and_scales_that_cannot_be(write, sound, settings, part):
    _refused(write(data=sound, **settings), part)


def test_data_that_are_no_waveform(write):
    _refused(write(data=np.zeros((3, 4, 5))), "not a waveform", "(3, 4, 5)")
    _refused(write(data=np.array([b"a", b"b"])), "not a waveform")
    _refused(write(data=np.zeros(0)), "no samples")


def test_a_shape_without_samples_allocates_nothing(write):
    path = write()
    with h5py.File(path, "a") as file:
        file[SERIES].create_dataset("data", shape=(10**13,), chunks=(10**6,), dtype="i2")
    _refused(path, "no samples", "0 bytes stored")
    with h5py.File(path, "a") as file:
        file[SERIES]["data"][:10] = 1
    _refused(path, "impossibly long", "days")


def test_sound_files_that_a_series_names(write, tmp_path, sound):
    (tmp_path / "wav").mkdir()
    for i, part in enumerate((sound[:5000], sound[5000:])):
        soundfile.write(tmp_path / "wav" / f"{i}.wav", part, RATE_HZ)
    recording = _open(write(external=["wav/0.wav", "wav/1.wav"], start=2.5), channel=1)
    np.testing.assert_array_equal(recording.read(0, 9000) * 2**15, sound[:, 1])
    np.testing.assert_allclose(recording.file_start_s, [2.5, 2.52])
    _refused(write(external=["wav/2.wav"]), "broken link", "external_file", "wav/2.wav", str(tmp_path / "wav"))
    _refused(write(external=["wav/0.wav"], rate=192_000.0), "differ in sampling rate", "192000")
    (tmp_path / "notes.txt").write_text("notes")
    _refused(write(external=["notes.txt"]), "no sound file", "notes.txt")
    _refused(write(external=np.array([], dtype=object)), "names no file")


def test_links_to_another_file(write, tmp_path, sound):
    with h5py.File(tmp_path / "samples.h5", "w") as file:
        file["raw"] = sound[:, 0]
    path = write()
    with h5py.File(path, "a") as file:
        file[SERIES]["data"] = h5py.ExternalLink("samples.h5", "/raw")
    np.testing.assert_array_equal(_open(path).read(10, 20), sound[10:30, 0])
    (tmp_path / "samples.h5").unlink()
    _refused(path, "broken link", f"{SERIES}/data", "/raw in samples.h5", str(tmp_path / "samples.h5"))


def test_links_within_the_file(write, sound):
    path = write(data=sound)
    with h5py.File(path, "a") as file:
        file["acquisition/alias"] = h5py.SoftLink(SERIES)
        file["acquisition/dangling"] = h5py.SoftLink("/nowhere")
    assert open_recording([path], series="/acquisition/alias", channel=0).n_samples == 9000
    with pytest.raises(InputError, match=r"broken link[\s\S]*/nowhere"):
        open_recording([path], series="/acquisition/dangling", channel=0)


def test_files_that_are_no_nwb_or_cut(write, tmp_path, sound):
    (tmp_path / "text.nwb").write_text("no recording")
    _refused(tmp_path / "text.nwb", "cannot read this NWB file")
    path = write(data=sound)
    path.write_bytes(path.read_bytes()[:2000])
    _refused(path, "cannot read this NWB file")
    _refused(tmp_path / "b.nwb", "no such audio file", "did you mean 'a.nwb'?")


def test_a_zarr_folder_is_told(tmp_path):
    (tmp_path / "a.nwb.zarr").mkdir()
    _refused(tmp_path / "a.nwb.zarr", "Zarr", "export")


def test_a_series_without_sound_lists_those_with(write, sound):
    path = write(data=sound)
    with pytest.raises(InputError, match=r"no such series[\s\S]*nearest: /acquisition/mic"):
        open_recording([path], series="/acquisition/mik", channel=0)
