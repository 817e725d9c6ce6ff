import numpy as np
import pytest
import xarray as xr

from pipeline.clips import SessionClips, read_clips
from pipeline.errors import InputError
from pipeline.storage import write_dataset


def clips_of(n_clips):
    number = np.arange(n_clips)
    return SessionClips(
        session="s1",
        subject="anna",
        spectrogram=np.broadcast_to(number[:, None, None], (n_clips, 4, 3)).astype(np.float32),
        counts=np.broadcast_to(number[:, None, None], (n_clips, 2, 5)).astype(np.float32),
        present=np.ones((n_clips, 2), bool),
        start_s=number / 10,
        call=number,
        bout=number // 2,
        split=np.array(["train", "guard", "test", "validation"])[number % 4],
        unit_ids=["s1|units|0", "s1|units|3"],
        frequency_hz=np.linspace(3e4, 6e4, 4),
        frame_s=np.arange(3) / 10,
        bin_s=np.arange(5) / 100,
        bin_width_s=0.01,
    )


def test_a_split_keeps_all_that_belongs_to_a_clip_together():
    part = clips_of(11).where("test")
    assert list(part.call) == [2, 6, 10] and len(part) == 3
    np.testing.assert_array_equal(part.spectrogram[:, 0, 0], [2, 6, 10])
    np.testing.assert_array_equal(part.counts[:, 1, 4], [2, 6, 10])
    assert list(part.bout) == [1, 3, 5] and part.unit_ids == ["s1|units|0", "s1|units|3"]
    assert len(clips_of(11).where("nothing")) == 0


def test_clips_are_taken_in_the_order_asked_for():
    np.testing.assert_array_equal(clips_of(6).take([5, 0, 5]).start_s, [0.5, 0.0, 0.5])
    assert clips_of(6).take([5, 0, 5]).label.tolist() == [""] * 3


def test_other_files_are_refused(tmp_path):
    write_dataset(xr.Dataset({"counts": ("bin", [1, 2])}), tmp_path / "counts.nc")
    with pytest.raises(InputError, match="no present, spectrogram, split"):
        read_clips(tmp_path / "counts.nc")
    with pytest.raises(InputError, match=r"none\.nc"):
        read_clips(tmp_path / "none.nc")
