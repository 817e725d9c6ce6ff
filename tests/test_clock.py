import numpy as np
import pytest
import xarray as xr

from pipeline.clock import Clock, fit_clock
from pipeline.errors import InputError
from pipeline.pulses.session_clock import read_clock
from pipeline.sessions import Session

PULSES_S = np.linspace(0, 600, 21)


def csv(tmp_path, audio_s, nwb_s, header="audio_s,nwb_s"):
    path = tmp_path / "sync.csv"
    np.savetxt(path, np.c_[audio_s, nwb_s], "%.6f", ",", header=header, comments="")
    return str(path)


def read(sync, max_residual_s=0.002):
    session = Session(
        name="s", subject="m", audio=(), audio_series=None, nwb=None, sync=sync, annotations=None, condition=""
    )
    return read_clock(session, max_residual_s=max_residual_s)


def test_empty_and_number():
    t = np.array([-1.0, 0.0, 3600.0])
    np.testing.assert_array_equal(read("").to_session(t), t)
    clock = read("12.5")
    np.testing.assert_allclose(clock.to_session(t), t + 12.5)  # NWB time = audio time + offset
    np.testing.assert_allclose(clock.to_audio(t), t - 12.5)
    assert clock.drift_ppm == 0
    assert abs(read("1700000000.1234567").drift_ppm) < 1e-6


def test_offset_and_drift_are_recovered(tmp_path):
    clock = read(csv(tmp_path, PULSES_S, 37.25 + PULSES_S * (1 + 60e-6)))
    assert clock.drift_ppm == pytest.approx(60, abs=0.01)
    assert clock.residual_s < 2e-6
    t = np.array([[-50.0, 0.0], [123.456, 5000.0]])  # outside the pulses as well
    np.testing.assert_allclose(clock.to_session(t), 37.25 + t * (1 + 60e-6), atol=1e-5)
    np.testing.assert_allclose(clock.to_audio(clock.to_session(t)), t, atol=1e-9)


def test_jitter_is_fitted_by_a_line_as_least_squares_does(tmp_path):
    jitter = 5e-4 * np.random.default_rng(3).uniform(-1, 1, 21)
    nwb_s = 3 + PULSES_S * (1 - 12e-6) + jitter
    clock = read(csv(tmp_path, PULSES_S, nwb_s))
    design = np.c_[PULSES_S, np.ones(21)]
    expected = np.linalg.lstsq(design, nwb_s, rcond=None)[0]
    assert len(clock.audio_s) == 2
    assert clock.slope == pytest.approx(expected[0], abs=1e-8)
    assert clock.residual_s == pytest.approx(np.abs(design @ expected - nwb_s).max(), abs=2e-6)


def test_a_wandering_clock_is_followed_piecewise():
    def truth(t):
        return 3 + t * (1 + 20e-6) + 0.05 * np.sin(t / 200)

    clock = fit_clock(PULSES_S, truth(PULSES_S), max_residual_s=0.002, where="test")
    assert clock.source.startswith("piecewise")
    t = np.linspace(0, 600, 997)
    assert np.abs(clock.to_session(t) - truth(t)).max() < 2e-4  # h^2/8 |f''| = 30^2/8 * 0.05/200^2 = 1.4e-4 s
    assert 1e-5 < clock.residual_s < 0.002
    np.testing.assert_allclose(clock.to_audio(clock.to_session(t)), t, atol=1e-9)
    beyond = clock.to_session(800.0) - clock.to_session(700.0)
    assert beyond == pytest.approx(100 * clock.slope, abs=1e-9)


@pytest.mark.parametrize("wander", [0.0, 20e-6])
@pytest.mark.parametrize("jitter_s", [1e-4, 5e-4])
def test_an_hour_of_jittered_pulses_is_right_within_a_millisecond(wander, jitter_s):
    def truth(t):
        return 3 + t * (1 + 100e-6) + wander * 1800 / (2 * np.pi) * np.sin(2 * np.pi * t / 1800)

    for seed in range(5):
        rng = np.random.default_rng(seed)
        audio_s = np.sort(rng.uniform(0, 3600, 720))
        nwb_s = truth(audio_s) + jitter_s * rng.uniform(-2, 2, 720)
        clock = fit_clock(audio_s, nwb_s, max_residual_s=0.002, where="test")
        t = np.linspace(0, 3600, 5000)  # also before the first and after the last pulse
        assert np.abs(clock.to_session(t) - truth(t)).max() <= 1e-3
        assert clock.residual_s < 2e-3 and "720 pulses, typically" in clock.source


def test_pulses_in_any_order_with_gaps_and_repeats(tmp_path):
    nwb_s = 5 + PULSES_S * (1 + 30e-6)
    audio_s = PULSES_S.copy()
    order = np.random.default_rng(0).permutation(21)
    audio_s, nwb_s = np.r_[audio_s[order], audio_s[3], np.nan, 40.0], np.r_[nwb_s[order], nwb_s[3], 7.0, np.nan]
    with pytest.warns(UserWarning, match="2 pulses without both times"):
        clock = read(csv(tmp_path, audio_s, nwb_s))
    assert clock.drift_ppm == pytest.approx(30, abs=0.01)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_extra_columns_and_spreadsheet_marks(tmp_path, delimiter):
    rows = [["pulse", "nwb_s", "audio_s"], ["a", "11", "1"], ["b", "12", "2"], ["c", "", "3"]]
    path = tmp_path / "sync.csv"
    path.write_text("\n".join(delimiter.join(row) for row in rows), encoding="utf-8-sig")
    with pytest.warns(UserWarning, match="1 pulses"):
        assert read(str(path)).to_session(0.0) == pytest.approx(10)


def test_one_pulse_gives_the_offset_only(tmp_path):
    with pytest.warns(UserWarning, match="one pulse"):
        clock = read(csv(tmp_path, [2.0], [10.5]))
    assert clock.to_session(100.0) == pytest.approx(108.5)


def test_a_wrong_pulse_is_refused_and_named(tmp_path):
    nwb_s = 5 + PULSES_S
    nwb_s[7] += 0.05
    path = csv(tmp_path, PULSES_S, nwb_s)
    with pytest.raises(InputError, match=r"50 ms at audio_s 210(.|\n)*neural.max_residual_s"):
        read(path)
    assert read(path, max_residual_s=0.06).residual_s > 0.04  # raised knowingly


def test_a_jump_of_a_clock_is_refused():
    nwb_s = PULSES_S + np.where(PULSES_S > 300, 2.0, 0.0)
    with pytest.raises(InputError, match="do not fit one clock"):
        fit_clock(PULSES_S, nwb_s, max_residual_s=0.002, where="test")


@pytest.mark.parametrize(
    ("audio_s", "nwb_s", "part"),
    [
        ([], [], "no pulse"),
        ([np.nan], [1.0], "no pulse"),
        (PULSES_S, 1000 * PULSES_S, "different rates"),  # milliseconds
        (PULSES_S, 600 - PULSES_S, "does not increase"),
        ([1.0, 2.0, 2.0, 3.0], [1.0, 2.0, 2.5, 3.0], "does not increase"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*pulses without both times")
def test_impossible_pulses(tmp_path, audio_s, nwb_s, part):
    with pytest.raises(InputError, match=part):
        read(csv(tmp_path, audio_s, nwb_s))


def test_unreadable_tables(tmp_path):
    with pytest.raises(InputError, match="columns are missing"):
        read(csv(tmp_path, [1.0], [1.0], header="sound,ephys"))
    path = tmp_path / "words.csv"
    path.write_text("audio_s,nwb_s\n1,2\nx,3\n")
    with pytest.raises(InputError, match="line 3"):
        read(str(path))
    path.write_bytes(b"\x89HDF\xff\xfe")
    with pytest.raises(InputError, match="cannot read"):
        read(str(path))
    path.write_text("")
    with pytest.raises(InputError, match="columns are missing"):
        read(str(path))


def test_the_clock_travels_with_the_counts():
    clock = fit_clock(PULSES_S, 5 + PULSES_S * 1.00004, max_residual_s=0.002, where="test")
    stored = xr.Dataset(
        {"clock_audio_s": ("knot", clock.audio_s), "clock_session_s": ("knot", clock.session_s)},
        attrs={"clock_residual_ms": clock.residual_s * 1e3, "clock_source": clock.source},
    )
    again = Clock.from_dataset(stored)
    assert again.to_session(432.1) == clock.to_session(432.1)
    assert (again.residual_s, again.source) == (pytest.approx(clock.residual_s), clock.source)
