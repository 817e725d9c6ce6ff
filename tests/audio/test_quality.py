import numpy as np

from pipeline.audio.quality import QualityWatch

N_WINDOW, N_HOP, RATE_HZ = 40, 10, 10_000


def _usable(samples, block_samples, full_scale=1.0):
    n_frames = (len(samples) - N_WINDOW) // N_HOP + 1
    watch = QualityWatch(n_frames=n_frames, n_window=N_WINDOW, n_hop=N_HOP, rate_hz=RATE_HZ, full_scale=full_scale)
    for start in range(0, len(samples), block_samples):
        watch.see(samples[start : start + block_samples].copy(), start)
    return watch.usable


def _touching(n_frames, spans):
    """Frames that share a sample with one of the spans, by definition."""
    starts = np.arange(n_frames) * N_HOP
    return np.any([(starts < stop) & (starts + N_WINDOW > start) for start, stop in spans], axis=0)


def test_bad_stretches_mark_the_frames_that_touch_them_whatever_the_blocks(rng):
    samples = (0.1 * rng.standard_normal(5000)).astype(np.float32)
    samples[1003:1006] = 1.0  # clipped
    samples[2000:2060] = samples[2000]  # dropout: 6 ms of the same value
    samples[3100] = np.nan
    samples[3500:3502] = -1.0  # two samples: the tip of a wave
    samples[4000:4045] = 0.0  # 4.5 ms: too short for a dropout
    expected = ~_touching(497, [(1003, 1006), (2000, 2060), (3100, 3101)])
    for block_samples in (5000, 1000, 333, 2, 1005):
        np.testing.assert_array_equal(_usable(samples, block_samples), expected)


def test_loud_sound_below_full_scale_is_usable():
    assert _usable(np.sin(np.arange(5000)).astype(np.float32) * 0.99, 700).all()


def test_integers_are_watched_as_they_are(rng):
    samples = (3000 * rng.standard_normal(5000)).clip(-9000, 9000).astype(np.int16)
    samples[1003:1006] = -32_768  # its own negative does not fit int16
    samples[2000:2003] = 32_767
    samples[3000:3060] = 17
    expected = ~_touching(497, [(1003, 1006), (2000, 2003), (3000, 3060)])
    for block_samples in (5000, 1000, 333, 2):
        np.testing.assert_array_equal(_usable(samples, block_samples, full_scale=32_767), expected)


def test_quiet_integers_are_no_dropouts(rng):
    samples = rng.integers(-1, 2, 50_000).astype(np.int16)  # a third of all neighbours are equal
    assert _usable(samples, 4000, full_scale=32_767).all()


def test_stretches_on_either_side_of_a_gap_are_not_joined():
    rng = np.random.default_rng(1)
    watch = QualityWatch(n_frames=500, n_window=N_WINDOW, n_hop=N_HOP, rate_hz=RATE_HZ, full_scale=1.0)
    one, other = (0.1 * rng.standard_normal((2, 1000))).astype(np.float32)
    one[-30:], other[:30] = 0.0, 0.0  # 3 ms each: no dropout by itself
    watch.see(one, 0)
    watch.see(other, 3000)
    assert watch.usable.all() and not watch.dropped


def test_what_is_no_number_is_counted_and_silenced():
    samples = np.array([0.1, np.nan, np.inf, -np.inf, 1e30, 0.2], np.float32)
    watch = QualityWatch(n_frames=1, n_window=6, n_hop=1, rate_hz=RATE_HZ, full_scale=1.0)
    watch.see(samples, 0)
    np.testing.assert_array_equal(samples, np.array([0.1, 0, 0, 0, 0, 0.2], np.float32))
    assert watch.n_invalid == 4 and watch.reasons == "not a number" and not watch.usable.any()
