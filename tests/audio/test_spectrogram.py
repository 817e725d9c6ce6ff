import h5py
import librosa
import numpy as np
import pytest
import soundfile
import xarray as xr
from scipy import signal

from pipeline.audio.recording import open_recording
from pipeline.audio.spectrogram import compute_spectrogram, read_power_db, write_silence
from pipeline.audio.spectrogram_file import open_spectrogram
from pipeline.errors import InputError
from pipeline.storage import read_dataset


def test_power_is_that_of_scipy(make_spectrogram, noise):
    samples = noise(0.5)
    with read_dataset(make_spectrogram(samples)) as spectrogram:
        frequency_hz, time_s, power = signal.spectrogram(
            samples, 250_000, window="hann", nperseg=512, noverlap=262, scaling="spectrum", detrend=False
        )
        inside = frequency_hz >= 30_000
        np.testing.assert_allclose(spectrogram["frequency"], frequency_hz[inside])
        np.testing.assert_allclose(spectrogram["time"], time_s)
        # float16 has a step of 1/16 dB at -100 dB.
        np.testing.assert_allclose(spectrogram["power_db"].T, 10 * np.log10(power[inside]), atol=0.07)
        assert spectrogram["power_db"].dtype == np.float16
        assert spectrogram["usable"].dtype == bool
        assert spectrogram["usable"].all()


@pytest.mark.parametrize(
    ("rate_hz", "subtype"),
    [
        (20_000, "PCM_U8"),
        (48_000, "PCM_24"),
        (48_828, "FLOAT"),
        (192_000, "PCM_32"),
        (333_333, "PCM_16"),
        (500_000, "PCM_16"),
    ],
)
def test_power_at_other_rates_and_widths(make_spectrogram, rng, rate_hz, subtype):
    samples = 0.1 * rng.standard_normal(rate_hz // 4)
    settings = {"low_hz": 0, "high_hz": rate_hz / 2, "hop_s": 0.003, "window_s": 0.01}
    path = make_spectrogram(samples, rate_hz=rate_hz, subtype=subtype, **settings)
    stored, _ = soundfile.read(f"{path}.0.wav")
    window, hop = round(0.01 * rate_hz), round(0.003 * rate_hz)
    frequency_hz, time_s, power = signal.spectrogram(
        stored, rate_hz, window="hann", nperseg=window, noverlap=window - hop, scaling="spectrum", detrend=False
    )
    with open_spectrogram(path) as spectrogram:
        np.testing.assert_allclose(spectrogram.frequency_hz, frequency_hz)
        levels_db = spectrogram.power_db(0, spectrogram.n_frames)
        assert len(levels_db) == len(time_s)
        loud = power.T > 1e-7  # above the noise of rounding to 8 bits
        assert loud.mean() > 0.9
        np.testing.assert_allclose(levels_db[loud], 10 * np.log10(power.T[loud]), atol=0.07)


@pytest.mark.filterwarnings("ignore:.*frames .* are not analysed")
def test_blocks_do_not_matter_to_integers_either(make_spectrogram, noise):
    samples = noise(0.7)
    samples[90_000:92_000] = 0  # a dropout
    whole = _contents(make_spectrogram(samples, name="whole.nc", subtype="PCM_16"))
    for block_frames in (1, 48, 1000):
        blocks = _contents(make_spectrogram(samples, name="blocks.nc", subtype="PCM_16", block_frames=block_frames))
        xr.testing.assert_identical(whole, blocks)
    assert 5 < (~whole["usable"]).sum() < 15


def test_tone_has_its_level_and_frequency(make_spectrogram):
    frequency_hz = 128 * 250_000 / 512
    tone = 0.2 * np.sin(2 * np.pi * frequency_hz * np.arange(50_000) / 250_000)
    with open_spectrogram(make_spectrogram(tone)) as spectrogram:
        power_db = spectrogram.power_db(0, spectrogram.n_frames)
        assert (spectrogram.frequency_hz[power_db.argmax(axis=1)] == frequency_hz).all()
        np.testing.assert_allclose(power_db.max(axis=1), 10 * np.log10(0.2**2 / 2), atol=0.02)


def test_mel_power_is_that_of_librosa(make_spectrogram, rng):
    samples = rng.standard_normal(24_000).astype(np.float32)
    settings = {"low_hz": 200, "high_hz": 20_000, "hop_s": 0.005, "window_s": 0.04, "scale": "mel", "n_bands": 32}
    with open_spectrogram(make_spectrogram(samples, rate_hz=48_000, **settings)) as spectrogram:
        expected = librosa.feature.melspectrogram(
            y=samples, sr=48_000, n_fft=1920, hop_length=240, center=False, n_mels=32, fmin=200, fmax=20_000
        )
        filters = librosa.filters.mel(sr=48_000, n_fft=1920, n_mels=32, fmin=200, fmax=20_000)
        window = signal.get_window("hann", 1920)
        power = expected.T / filters.sum(axis=1) * 2 / window.sum() ** 2
        np.testing.assert_allclose(spectrogram.power_db(0, 1000), 10 * np.log10(power), atol=0.05)


def _contents(path):
    with xr.open_dataset(path, engine="h5netcdf") as spectrogram:
        return spectrogram.load()


@pytest.mark.filterwarnings("ignore:.*frames .* are not analysed")
@pytest.mark.parametrize("settings", [{}, {"hop_s": 0.0007}, {"window_s": 0.02, "scale": "log", "n_bands": 20}])
def test_neither_blocks_nor_files_change_the_result(make_spectrogram, noise, settings):
    samples = noise(1.7)
    samples[100_000:100_005] = 1.2
    whole = _contents(make_spectrogram(samples, name="whole.nc", **settings))
    blocks = _contents(make_spectrogram(samples, name="blocks.nc", block_frames=16, **settings))
    xr.testing.assert_identical(whole, blocks)
    files = _contents(make_spectrogram(samples[:99_999], samples[99_999:], name="files.nc", **settings))
    xr.testing.assert_identical(whole.drop_dims("file"), files.drop_dims("file"))
    np.testing.assert_allclose(files["file_start_s"], [0, 99_999 / 250_000])
    np.testing.assert_allclose(files["file_stop_s"], [99_999 / 250_000, 1.7])
    assert 0 < (~whole["usable"]).sum() < 30


def test_noise_floor_is_the_median_and_thinned_evenly(make_spectrogram, noise, monkeypatch):
    monkeypatch.setattr("pipeline.audio.noise_floor.RESERVOIR_FRAMES", 200)
    samples = noise(3.0)
    samples[: int(0.8 * 250_000)] *= 100  # a loud part that is no majority
    result = _contents(make_spectrogram(samples))
    power_db = result["power_db"].values.astype(float)
    np.testing.assert_allclose(result["noise_floor_db"], np.median(power_db[::8], axis=0), atol=1e-3)


def test_noise_floor_is_that_of_the_sound_between_digital_silence(make_spectrogram, noise, monkeypatch):
    monkeypatch.setattr("pipeline.audio.noise_floor.RESERVOIR_FRAMES", 200)
    samples = np.zeros(10 * 250_000, np.float32)
    samples[1_000_000:1_125_000] = noise(0.5)
    with pytest.warns(UserWarning, match="constant"):
        result = _contents(make_spectrogram(samples, subtype="PCM_16"))
    usable = result["usable"].values
    assert 490 < usable.sum() < 510
    expected = np.median(result["power_db"].values[usable].astype(float), axis=0)
    difference_db = result["noise_floor_db"].values - expected
    assert np.abs(difference_db).max() < 2 and abs(difference_db.mean()) < 0.1


def test_digital_silence_has_the_level_of_rounding(make_spectrogram):
    with pytest.warns(UserWarning, match=r"98 of 98 frames \(100\.00%\) are not analysed \(constant\)"):
        path = make_spectrogram(np.zeros(25_000), subtype="PCM_16")
    window = signal.get_window("hann", 512)
    step = 2.0**-15
    expected = 10 * np.log10(2 * step**2 / 12 * (window**2).sum() / window.sum() ** 2)
    np.testing.assert_allclose(read_power_db(path, 0, 10), expected, atol=0.07)
    assert not _contents(path)["usable"].any()


def test_slices_are_read_from_a_path_or_a_dataset(make_spectrogram, noise):
    path = make_spectrogram(noise(0.1))
    with read_dataset(path) as spectrogram:
        expected = spectrogram["power_db"].values[7:20].astype(np.float32)
        np.testing.assert_array_equal(read_power_db(spectrogram, 7, 20), expected)
        np.testing.assert_array_equal(read_power_db(path, 7, 20), expected)
        assert len(read_power_db(path, 90, 1000)) == spectrogram.sizes["time"] - 90


def test_what_is_no_spectrogram_is_told(tmp_path):
    (tmp_path / "s.nc").write_text("nothing")
    with pytest.raises(InputError, match=r"cannot read this spectrogram[\s\S]*s\.nc"):
        read_power_db(tmp_path / "s.nc", 0, 1)
    with h5py.File(tmp_path / "other.nc", "w") as file:
        file["counts"] = np.zeros(3)
    with pytest.raises(InputError, match=r"not a spectrogram[\s\S]*counts"):
        read_power_db(tmp_path / "other.nc", 0, 1)


def test_rates_that_divide_badly_keep_true_times(make_spectrogram):
    samples = np.full(400_000, 1e-3) * np.random.default_rng(0).standard_normal(400_000)
    samples[333_333:333_339] += 0.5  # a click at 1 s
    result = _contents(make_spectrogram(samples, rate_hz=333_333))
    loudest = int(result["power_db"].astype(np.float32).mean("frequency").values.argmax())
    assert abs(float(result["time"][loudest]) - 1.0) <= result.attrs["hop_s"] / 2 + 1e-5
    assert result.attrs["hop_s"] == 333 / 333_333


def test_session_without_audio_has_no_frames(tmp_path):
    write_silence(tmp_path / "s.nc", low_hz=30_000, high_hz=125_000, hop_s=0.001, window_s=0.002, scale="linear")
    result = _contents(tmp_path / "s.nc")
    assert dict(result.sizes) == {"time": 0, "frequency": 0, "file": 0}
    assert result.attrs["duration_s"] == 0


def test_failure_leaves_no_file(tmp_path, noise):
    path = tmp_path / "cut.flac"
    soundfile.write(path, noise(2), 250_000)
    whole = path.read_bytes()
    recording = open_recording([path], series=None, channel=0)
    path.write_bytes(whole[:200_000])
    with pytest.raises(InputError, match="truncated"):
        compute_spectrogram(
            recording, tmp_path / "s.nc", low_hz=30_000, high_hz=125_000, hop_s=0.001, window_s=0.002,
            scale="linear", n_bands=None,
        )  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["cut.flac"]
