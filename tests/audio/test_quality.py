import numpy as np

from pipeline.audio.quality import QualityWatch

N_WINDOW, N_HOP, RATE_HZ = 40, 10, 10_000


def _usable(samples, block_samples):
    n_frames = (len(samples) - N_WINDOW) // N_HOP + 1
    watch = QualityWatch(n_frames=n_frames, n_window=N_WINDOW, n_hop=N_HOP, rate_hz=RATE_HZ, full_scale=1.0)
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
