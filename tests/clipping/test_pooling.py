import numpy as np
import pytest

from pipeline.clipping import pooling
from pipeline.clipping.pooling import band_groups, pool_power, pooled_frequency_hz
from pipeline.errors import InputError


def edges_of(start_s, *, duration_s=0.1, n_frames=8):
    return np.asarray(start_s, float)[:, None] + np.linspace(0, duration_s, n_frames + 1)


@pytest.mark.parametrize("slice_frames", [16_384, 150, 1])
def test_cells_are_means_of_the_frames_in_them(spectrogram_of, rng, monkeypatch, slice_frames):
    monkeypatch.setattr(pooling, "SLICE_FRAMES", slice_frames)  # the result must not depend on the reading
    monkeypatch.setattr(pooling, "GAP_FRAMES", slice_frames)
    floor_db = rng.uniform(-90, -70, 20)
    spectrogram = spectrogram_of(rng.normal(-60, 9, (3000, 20)), floor_db=floor_db)
    start = np.sort(rng.uniform(0.0, 2.9, 40))
    pooled, present = pool_power(spectrogram, edges_of(start), n_bands=6)
    assert present.all()
    power = spectrogram["power_db"].values.astype(float) - floor_db.astype(np.float32)
    time_s = spectrogram["time"].values
    groups = np.array_split(np.arange(20), 6)
    first, size = band_groups(20, n_bands=6)
    assert sorted(map(len, groups)) == sorted(size) and size.max() - size.min() <= 1
    for c, s in enumerate(start):
        for f in range(8):
            a, b = s + f * 0.1 / 8, s + (f + 1) * 0.1 / 8
            frames = (time_s >= a) & (time_s < b)
            for g in range(6):
                expected = power[frames, first[g] : first[g] + size[g]].mean()
                assert pooled[c, g, f] == pytest.approx(expected, abs=0.02)  # float16 at 20 dB
    np.testing.assert_allclose(
        pooled_frequency_hz(spectrogram, n_bands=6),
        [spectrogram["frequency"].values[a : a + n].mean() for a, n in zip(first, size, strict=True)],
    )


def test_cells_as_long_as_a_hop_take_each_one_frame(spectrogram_of):
    spectrogram = spectrogram_of(np.arange(100.0)[:, None] * np.ones(4), floor_db=0.0)
    pooled, present = pool_power(spectrogram, edges_of([0.0305], duration_s=0.02, n_frames=20), n_bands=1)
    assert present.all()
    np.testing.assert_array_equal(pooled[0, 0], np.arange(30, 50))


def test_sound_must_lie_in_a_file_and_be_usable(spectrogram_of):
    usable = np.ones(1000, bool)
    usable[700] = False
    power = np.full((1000, 4), -70.0)
    power[700] = np.nan
    spectrogram = spectrogram_of(power, files=[[0.0, 0.3], [0.3, 0.5], [0.55, 1.002]], usable=usable)
    start = [-0.05, 0.0, 0.25, 0.401, 0.52, 0.551, 0.61, 0.71, 0.901, 0.95, 2.0]
    pooled, present = pool_power(spectrogram, edges_of(start), n_bands=2)
    assert list(present) == [False, True, True, False, False, True, False, True, True, False, False]
    assert np.isnan(pooled[~present]).all()
    np.testing.assert_allclose(pooled[present], 10.0)


def test_without_audio(spectrogram_of):
    spectrogram = spectrogram_of(np.empty((0, 0)))
    pooled, present = pool_power(spectrogram, edges_of([0.0, 1.0]), n_bands=5)
    assert not present.any() and np.isnan(pooled).all() and pooled.shape == (2, 5, 8)
    np.testing.assert_allclose(pooled_frequency_hz(spectrogram, n_bands=5), 30_000 + 19_000 * (np.arange(5) + 0.5))


def test_more_bands_than_stored(spectrogram_of):
    with pytest.raises(InputError, match=r"clips\.n_bands"):
        pool_power(spectrogram_of(np.zeros((100, 4))), edges_of([0.0]), n_bands=5)
