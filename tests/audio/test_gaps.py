"""Several files on one clock: frames on a common grid, none across a gap."""

import numpy as np
import pytest
import soundfile
from scipy import signal

from pipeline.audio.recording import open_recording
from pipeline.audio.spectrogram import compute_spectrogram
from pipeline.audio.spectrogram_file import open_spectrogram
from pipeline.errors import InputError
from pipeline.storage import read_dataset

RATE_HZ = 250_000
SETTINGS = {"low_hz": 30_000, "high_hz": 125_000, "hop_s": 0.001, "window_s": 0.002048, "scale": "linear"}


@pytest.fixture
def open_pieces(tmp_path, noise):
    """Writes noise as files of given lengths and opens them at given times."""

    def _open(durations_s, start_s):
        samples = [noise(duration_s) for duration_s in durations_s]
        paths = [tmp_path / f"{i}.wav" for i in range(len(samples))]
        for path, piece in zip(paths, samples, strict=True):
            soundfile.write(path, piece, RATE_HZ, subtype="FLOAT")
        return samples, open_recording(paths, series=None, channel=0, start_s=start_s)

    return _open


def _written(recording, path, **settings):
    compute_spectrogram(recording, path, n_bands=None, **(SETTINGS | settings))
    return path


def test_files_lie_on_the_clock(open_pieces):
    samples, recording = open_pieces([0.5, 0.25, 0.25], [2.0, 2.5, 3.0000013])
    np.testing.assert_allclose(recording.file_start_s, [2.0, 2.5, 3.0], atol=1e-12)
    np.testing.assert_allclose(recording.file_stop_s, [2.5, 2.75, 3.25], atol=1e-12)
    assert recording.stretches == [(0, 187_500), (250_000, 312_500)]
    np.testing.assert_array_equal(
        recording.read(187_400, 62_700), np.r_[samples[1][-100:], np.zeros(62_500), samples[2][:100]]
    )
    np.testing.assert_array_equal(np.concatenate(list(recording.blocks(9999))), recording.read(0, recording.n_samples))


def test_every_usable_frame_is_that_of_its_own_file(open_pieces, tmp_path):
    samples, recording = open_pieces([0.2, 0.11, 0.3], [1.0, 1.3003, 2.0])
    with read_dataset(_written(recording, tmp_path / "s.nc")) as spectrogram:
        assert len(spectrogram["time"]) == (recording.n_samples - 512) // 250 + 1
        np.testing.assert_allclose(np.diff(spectrogram["time"]), 0.001, rtol=1e-6)
        time_s, usable = spectrogram["time"].values, spectrogram["usable"].values
        inside = np.any(
            [
                (time_s - 0.001024 > start - 1e-7) & (time_s + 0.001024 < stop + 1e-7)
                for start, stop in zip(recording.file_start_s, recording.file_stop_s, strict=True)
            ],
            axis=0,
        )
        np.testing.assert_array_equal(usable, inside)
        # Each file alone, from the first sample on the common grid.
        for first, piece in zip(recording.first_samples, samples, strict=True):
            skipped = -first % 250
            _, seconds, power = signal.spectrogram(
                piece[skipped:].astype(float), RATE_HZ, window="hann", nperseg=512, noverlap=262, scaling="spectrum",
                detrend=False,
            )  # fmt: skip
            at = np.searchsorted(time_s, recording.start_s + (first + skipped) / RATE_HZ + seconds - 1e-6)
            levels_db = spectrogram["power_db"].values[at].astype(float)
            np.testing.assert_allclose(levels_db.T, 10 * np.log10(power[-levels_db.shape[1] :]), atol=0.07)


def test_gaps_neither_depend_on_blocks_nor_reach_the_noise_floor(open_pieces, tmp_path):
    _, recording = open_pieces([0.4, 0.4], [0.0, 60.0])
    with (
        read_dataset(_written(recording, tmp_path / "a.nc")) as whole,
        read_dataset(_written(recording, tmp_path / "b.nc", block_frames=48)) as blocks,
    ):
        assert whole.load().identical(blocks.load())
        levels_db = whole["power_db"].values[whole["usable"].values]
        np.testing.assert_allclose(whole["noise_floor_db"], np.median(levels_db.astype(float), axis=0), atol=0.05)


def test_a_gap_of_hours_costs_little_disk_and_reads_as_silence(open_pieces, tmp_path):
    _, recording = open_pieces([1.0, 1.0], [0.0, 4 * 3600.0])
    _, without = open_pieces([1.0, 1.0], None)
    path = _written(recording, tmp_path / "gap.nc")
    plain = _written(without, tmp_path / "plain.nc").stat().st_size
    n_frames = 4 * 3600 * 1000
    assert path.stat().st_size - plain < 0.3 * n_frames + 2 * 2 * 4096 * 195  # times, and chunks that are partly gap
    with open_spectrogram(path) as spectrogram:
        assert spectrogram.n_frames > n_frames
        assert spectrogram.usable.sum() == 2 * 998
        silence_db = spectrogram.power_db(n_frames // 2, n_frames // 2 + 3)
        assert np.isfinite(silence_db).all() and (silence_db < spectrogram.noise_floor_db - 20).all()


@pytest.mark.parametrize(
    ("start_s", "message"),
    [
        ([0.0, 0.2], r"overlap[\s\S]*0\.wav and .*1\.wav[\s\S]*from 0 to 0\.4 s, the second starts at 0\.2 s"),
        ([5.0, 1.0], r"wrong order[\s\S]*from 5 to 5\.4 s, the second starts at 1 s"),
        ([0.0, 2e8], r"impossibly long[\s\S]*days[\s\S]*seconds on the audio clock"),
        ([1.7e9, 0.0], "wrong order"),
    ],
)
def test_times_that_cannot_be(open_pieces, start_s, message):
    with pytest.raises(InputError, match=message):
        open_pieces([0.4, 0.4], start_s)


def test_files_shorter_than_a_window_hold_no_frame(open_pieces, tmp_path):
    _, recording = open_pieces([0.001, 0.1, 0.001], [0.0, 0.5, 1.0])
    with open_spectrogram(_written(recording, tmp_path / "s.nc")) as spectrogram:
        assert spectrogram.usable.sum() == (25_000 - 512) // 250 + 1
    _, recording = open_pieces([0.001, 0.001], [0.0, 0.5])
    with pytest.raises(InputError, match="shorter than one window"):
        _written(recording, tmp_path / "none.nc")
    assert not (tmp_path / "none.nc").exists()
