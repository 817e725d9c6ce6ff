import numpy as np

from pipeline.audio.half import HalfPrecision


def _rounded(values, factor=1.0):
    return HalfPrecision((1, len(values)))(values.astype(np.float32)[None], factor)[0].copy()


def test_rounding_is_that_of_numpy_but_for_ties(rng):
    values = np.r_[rng.uniform(-200, 200, 100_000), 10.0 ** rng.uniform(-9, 4.8, 10_000), 0.0].astype(np.float32)
    values = values[values.view(np.uint32) & 0x1FFF != 0x1000]  # no ties
    np.testing.assert_array_equal(_rounded(values), values.astype(np.float16))
    np.testing.assert_array_equal(_rounded(values, 0.25), (values * np.float32(0.25)).astype(np.float16))


def test_ties_go_away_from_zero():
    np.testing.assert_array_equal(_rounded(np.array([2049.0, -2049.0, 2051.0])), [2050, -2050, 2052])


def test_every_float16_is_itself():
    values = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = values[np.isfinite(values)]
    np.testing.assert_array_equal(_rounded(values), values)
