import numpy as np
import pytest

from pipeline.clock import Clock, shifted_clock
from pipeline.errors import InputError
from pipeline.neural.binning import bin_session
from pipeline.neural.grid import bin_index, bins_inside, bins_touched
from pipeline.neural.recording import Units, read_units

EQUAL = shifted_clock(0.0, source="equal clocks")


def units_of(trains, observed=None, invalid=()):
    n = len(trains)
    return Units(
        table="units",
        nwb_id=[str(i) for i in range(n)],
        region=[""] * n,
        spike_times_s=[np.sort(np.asarray(t, float)) for t in trains],
        observed_s=[None if o is None else np.asarray(o, float).reshape(-1, 2) for o in observed or [None] * n],
        n_nonfinite=np.zeros(n, int),
        invalid_times_s=np.asarray(invalid, float).reshape(-1, 2),
    )


def count(units, files=(), *, clock=EQUAL, bin_width_s=0.01, min_rate_hz=0.0):
    files = np.asarray(files, float).reshape(-1, 2)
    return bin_session(
        units,
        clock=clock,
        file_start_s=files[:, 0],
        file_stop_s=files[:, 1],
        bin_width_s=bin_width_s,
        min_rate_hz=min_rate_hz,
        session="s1",
        subject="anna",
    )


@pytest.mark.parametrize("rate", [30_000, 25_000, 20_000])
@pytest.mark.parametrize("bin_ms", [1, 5, 10, 20])
def test_spikes_on_edges_fall_where_integer_arithmetic_puts_them(rate, bin_ms):
    """Sample times as an acquisition system has them, in a recording of up to a day; exact by integers."""
    per_bin = rate * bin_ms // 1000
    edges = np.arange(0, 86_400 * rate, per_bin * 997, dtype=np.int64)
    samples = np.concatenate([edges, edges + 1, edges[1:] - 1])
    np.testing.assert_array_equal(bin_index(samples / rate, bin_width_s=bin_ms / 1000), samples // per_bin)


def test_plain_floor_division_would_fail():
    edges = np.arange(0, 60 * 30_000, 300)
    assert (np.floor(edges / 30_000 / 0.01) != edges // 300).sum() > 100
    np.testing.assert_array_equal(bin_index(edges / 30_000, bin_width_s=0.01), edges // 300)


def test_intervals_against_a_loop(rng):
    for _ in range(20):
        edges = rng.integers(-50, 450, (6, 2)) / 10  # tenths of a bin of 1 s: many on edges
        intervals = np.sort(edges, axis=1)
        grid = {"first_bin": 3, "n_bins": 30, "bin_width_s": 1.0}
        fine = np.zeros(600, bool)  # tenths from -10 s on
        for a, b in intervals:
            fine[round(a * 10) + 100 : round(b * 10) + 100] = True
        cells = fine[130:430].reshape(30, 10)
        np.testing.assert_array_equal(bins_inside(intervals, **grid), cells.all(1))
        np.testing.assert_array_equal(bins_touched(intervals, **grid), cells.any(1))


def test_files_that_follow_each_other_leave_no_hole():
    files = np.array([[0.0, 1.234], [1.234, 3.0]])
    assert bins_inside(files, first_bin=0, n_bins=300, bin_width_s=0.01).all()


def test_counts_against_a_loop(rng):
    trains = [rng.uniform(-1, 12, n) for n in (400, 90, 3)]
    observed = [[[0, 4.005], [6, 11]], None, [[1, 2]]]
    dataset, table = count(units_of(trains, observed, invalid=[[7.0, 7.33]]), files=[[0.5, 10.0]], bin_width_s=0.1)
    start_s = dataset["bin"].values
    np.testing.assert_allclose(start_s, np.arange(5, 100) / 10)
    for u, unit in enumerate(dataset["unit"].values):
        times = np.array(trains[int(unit.split("|")[2])])
        last, first = max(max(t) for t in trains), min(min(t) for t in trains)
        for k, a in enumerate(np.arange(5, 100)):
            a, b = a / 10, (a + 1) / 10
            spans = observed[int(unit.split("|")[2])] or [[first, last]]
            seen = any(s <= a + 1e-9 and b - 1e-9 <= t for s, t in spans) and not (b > 7.0 + 1e-9 and a < 7.33)
            assert dataset["valid"].values[k, u] == seen
            assert dataset["counts"].values[k, u] == (((times >= a) & (times < b)).sum() if seen else 0)
    assert list(table["n_spikes"] + table["n_dropped"]) == [400, 90, 3]


def test_every_spike_is_counted_or_dropped_for_a_reason():
    trains = [[0.5, 1.5, 2.5, 3.5, 9.5]]
    _, table = count(units_of(trains, [[[1, 10]]], invalid=[[2.2, 2.3]]), files=[[0, 6]], bin_width_s=1.0)
    row = table.iloc[0]
    assert (row["n_spikes"], row["n_dropped"]) == (2, 3)
    assert (row["n_dropped_no_audio"], row["n_dropped_unobserved"], row["n_dropped_invalid_times"]) == (1, 1, 1)
    assert (row["observed_s"], row["rate_hz"]) == (4, 0.5)


def test_times_outside_any_reason_do_no_harm():
    trains = [[-1e18, 0.5, 1.5, 1e300]]
    dataset, table = count(units_of(trains, [[[-np.inf, np.inf]]]), files=[[0, 3]], bin_width_s=0.5)
    assert dataset["counts"].values.sum() == 2 and dataset["valid"].values.all()
    assert table["n_dropped_no_audio"].item() == 2


def test_gaps_between_presentations_are_missing():
    presentations = np.c_[np.arange(20) * 5.5, np.arange(20) * 5.5 + 5.2] + 37.25  # trials on the NWB clock
    trains = [np.arange(37.3, 140, 0.05)]
    dataset, _ = count(units_of(trains, [presentations]), files=[[0, 110]], clock=shifted_clock(37.25, source="test"))
    middle_s = dataset["bin"].values + 0.005 - 37.25
    in_gap = middle_s % 5.5 > 5.2
    valid = dataset["valid"].values[:, 0]
    assert not valid[in_gap].any()
    assert valid[~in_gap].mean() > 0.99
    assert dataset["covered"].values.all()


def test_audio_is_mapped_by_the_clock():
    clock = Clock(np.array([0.0, 100.0]), np.array([10.0, 110.01]))  # 100 ppm
    dataset, _ = count(units_of([np.arange(5, 200, 0.25)]), files=[[0, 50], [60, 100]], clock=clock)
    start_s = dataset["bin"].values
    audio_s, audio_end_s = (start_s - 10) / 1.0001, (start_s + 0.01 - 10) / 1.0001
    inside = ((audio_s > -1e-7) & (audio_end_s < 50 + 1e-7)) | ((audio_s > 60 - 1e-7) & (audio_end_s < 100 + 1e-7))
    np.testing.assert_array_equal(dataset["covered"].values, inside)
    assert dataset.attrs["clock_drift_ppm"] == pytest.approx(100)
    assert Clock.from_dataset(dataset).to_session(70.0) == pytest.approx(80.007)


def test_inclusion_and_its_reasons():
    trains = [np.arange(0, 100, 0.5), [50.0], [], [150.0, 160.0], np.arange(0, 100, 10.0)]
    observed = [[[0, 100]], [[0, 100]], [[0, 100]], [[150, 170]], [[0, 100]]]
    dataset, table = count(units_of(trains, observed), files=[[0, 100]], min_rate_hz=0.1)
    assert list(dataset["unit"].values) == ["s1|units|0", "s1|units|4"]  # 0.1 Hz is enough
    assert list(table["included"]) == [True, False, False, False, True]
    reasons = list(table["exclusion_reason"])
    assert "0.01 Hz, below neural.min_rate_hz 0.1" in reasons[1]
    assert (reasons[2], reasons[3]) == ("no spikes", "not observed in the time that is analysed")
    assert list(table["subject"]) == ["anna"] * 5


def test_audio_alone():
    dataset, table = count(None, files=[[0.0, 2.0]])
    assert dataset.sizes == {"bin": 200, "unit": 0, "knot": 2} and dataset["covered"].values.all()
    assert len(table) == 0 and {"unit_id", "included", "subject"} <= set(table)


def test_neural_alone(real_nwb):
    units = read_units(real_nwb("A8604-211122.nwb"))
    dataset, table = count(units)
    assert int(dataset["counts"].values.sum(dtype=int)) == 21_354 == table["n_spikes"].sum()
    assert not dataset["covered"].values.any() and dataset["valid"].values.all()
    for u, times in enumerate(units.spike_times_s):  # numpy's own histogram, edges moved by the tolerance
        edges = np.append(dataset["bin"].values, dataset["bin"].values[-1] + 0.01) - 1e-8
        np.testing.assert_array_equal(dataset["counts"].values[:, u], np.histogram(times, edges)[0])


@pytest.mark.parametrize("before", [0, 1, 127, 200])
@pytest.mark.parametrize(("n", "dtype"), [(255, np.uint8), (256, np.uint16), (1000, np.uint16)])
def test_crowded_bins_take_two_bytes(before, n, dtype):
    crowd = 50.0 + np.arange(n) * 1e-6
    train = np.concatenate([np.linspace(0.5, 49.5, before), crowd, np.arange(51, 99, 0.5)])
    dataset, _ = count(units_of([train, train[:100]]), files=[[0, 100]])
    assert dataset["counts"].dtype == dtype
    expected = np.bincount(np.floor(train * 100 + 1e-6).astype(int), minlength=10_000)
    np.testing.assert_array_equal(dataset["counts"].values[:, 0], expected)


def test_recordings_that_do_not_overlap():
    with pytest.raises(InputError, match=r"do not overlap(.|\n)*sound at 0 to 10 s, units at 500 to 600 s(.|\n)*sync"):
        count(units_of([np.linspace(500, 600, 99)]), files=[[0, 10]])


def test_other_refusals():
    with pytest.raises(InputError, match=r"no unit is left(.|\n)*2 units: below neural.min_rate_hz 5"):
        count(units_of([np.arange(100.0), np.arange(0, 100, 2.0)]), files=[[0, 100]], min_rate_hz=5)
    with pytest.raises(InputError, match="in seconds"):
        count(units_of([[0.0, 1e8]]))  # samples
    with pytest.raises(InputError, match="too many spikes"):
        count(units_of([np.linspace(0, 0.9, 40_000)]), files=[[0, 1]], bin_width_s=1.0)
    with pytest.raises(InputError, match="neither sound nor spikes"):
        count(units_of([[]]))
