"""Files as broken as real ones: the right result with one warning, or one message; never a traceback or silence."""

import h5py
import numpy as np
import pytest

from pipeline.errors import InputError

TRAIN = np.arange(1, 2001) / 20 + 0.013  # 20 Hz for 100 s
OTHER = np.arange(1, 1001) / 10 + 0.007


def refusal(binned, path, **options):
    with pytest.raises(InputError) as caught:
        binned(path, **options)
    text = str(caught.value)
    assert "where:" in text and "Traceback" not in text
    return text


def only(warned):
    assert len(warned) == 1, warned
    return warned[0]


def test_no_units_table_and_no_spike_times(binned, by_hand, write_nwb):
    assert "no units table" in refusal(binned, write_nwb())
    text = refusal(binned, by_hand([TRAIN], columns={"spike_times": None, "spike_times_index": None}))
    assert "no spike times" in text and "/units" in text and "add_unit" in text
    assert "no spike_times_index" in refusal(binned, by_hand([TRAIN], columns={"spike_times_index": None}))


def test_empty_units(binned, by_hand):
    counts, table, warned = binned(by_hand([TRAIN, [], OTHER]))
    assert list(table["exclusion_reason"]) == ["", "no spikes", ""] and not warned
    assert counts["counts"].values.sum(0).tolist() == [2000, 1000]
    text = refusal(binned, by_hand([[], []]), audio=[[0, 9]])
    assert "no unit is left" in text or "neither" in text


def test_small_disorder_is_sorted(binned, by_hand):
    mixed = TRAIN.copy()
    mixed[[10, 11, 500, 501]] = mixed[[11, 10, 501, 500]]
    counts, _, warned = binned(by_hand([OTHER, mixed], columns={"id": [7, 9]}))
    text = only(warned)
    assert "broken.nwb" in text and "unit 9" in text and "2 spike times were not in order" in text
    np.testing.assert_array_equal(counts["counts"], binned(by_hand([OTHER, TRAIN]))[0]["counts"])
    shuffled = np.random.default_rng(0).permutation(TRAIN)
    np.testing.assert_array_equal(
        binned(by_hand([OTHER, shuffled]))[0]["counts"], binned(by_hand([OTHER, TRAIN]))[0]["counts"]
    )


def test_times_that_start_again_are_refused(binned, by_hand):
    blocks = np.r_[TRAIN, TRAIN]
    text = refusal(binned, by_hand([OTHER, blocks], columns={"id": [7, 9]}))
    assert "start again midway" in text and "unit 9" in text and "spike 2000 of 4000 at 100.013 s" in text
    assert "0.063 s" in text and "start time" in text


def test_times_that_are_no_numbers(binned, by_hand):
    train = TRAIN.copy()
    train[[4, 9]] = np.nan, np.inf
    counts, table, warned = binned(by_hand([OTHER, train], columns={"id": [7, 9]}))
    text = only(warned)
    assert "2 spike times" in text and "unit 9" in text and "broken.nwb" in text
    assert list(table["n_dropped_nonfinite"]) == [0, 2] and int(counts["counts"].sum()) == 2998
    train[:40] = np.nan
    text = refusal(binned, by_hand([OTHER, train], columns={"id": [7, 9]}))
    assert "40 of 3000" in text and "unit 9" in text and "0.1%" in text


@pytest.mark.parametrize(("kind", "audio"), [(float, [[0, 110]]), (np.int64, [[0, 110]]), (float, ())])
def test_sample_numbers_are_refused_with_the_rate(binned, by_hand, kind, audio):
    samples = [np.rint(train * 24_414.0625).astype(kind) for train in (TRAIN, OTHER)]
    text = refusal(binned, by_hand(samples), audio=audio)
    assert "sample numbers, not seconds" in text and "divide" in text
    assert ("24414.1 Hz" in text) if len(audio) else ("common rate" in text)
    text = refusal(binned, by_hand(samples, attributes={"resolution": 1 / 24_414.0625}))
    assert "24414.1 Hz" in text and "resolution" in text


def test_whole_seconds_are_no_samples(binned, by_hand):
    counts, _, warned = binned(by_hand([np.arange(3, 500.0)]))
    assert int(counts["counts"].sum()) == 497 and not warned


def test_negative_times_are_times(binned, by_hand):
    counts, _, warned = binned(by_hand([TRAIN - 0.5, OTHER], columns={"id": [7, 9]}))
    assert "9 spike times lie before 0 s and are kept" in only(warned) and "unit 7" in warned[0]
    assert counts["bin"].values[0] == pytest.approx(-0.44) and int(counts["counts"].sum()) == 3000
    _, table, _ = binned(by_hand([TRAIN - 0.5, OTHER]), audio=[[0, 110]])
    assert list(table["n_dropped_no_audio"]) == [9, 0]


@pytest.mark.parametrize("far", [1e6, 3e9, -2e6, -3e9, 1e300])
def test_one_far_off_spike_does_not_stretch_the_grid(binned, by_hand, far):
    train = np.sort(np.r_[TRAIN, far])
    counts, table, warned = binned(by_hand([OTHER, train], columns={"id": [7, 9]}))
    text = next(one for one in warned if "far from all others" in one)
    assert "1 spike times" in text and "unit 9" in text and f"{far:.6g}" in text
    assert counts.sizes["bin"] == binned(by_hand([OTHER, TRAIN]))[0].sizes["bin"]
    assert list(table["n_dropped_outlier"]) == [0, 1] and int(counts["counts"].sum()) == 3000
    assert int(binned(by_hand([train, OTHER]))[0]["counts"].sum()) == 3000
    _, table, warned = binned(by_hand([OTHER, train]), audio=[[0, 200]])
    assert list(table["n_dropped_outlier"]) == [0, 1] and any("far from all others" in one for one in warned)


def test_seconds_since_1970_are_times(binned, by_hand):
    start_s = 1_700_000_000
    counts, _, warned = binned(by_hand([OTHER + start_s, TRAIN + start_s]))
    expected, _, _ = binned(by_hand([OTHER, TRAIN]))
    np.testing.assert_array_equal(counts["counts"], expected["counts"])
    np.testing.assert_allclose(counts["bin"] - start_s, expected["bin"], atol=1e-6)
    heard, _, _ = binned(by_hand([OTHER + start_s, TRAIN + start_s]), audio=[[0, 50]], offset_s=start_s)
    assert int(heard["counts"].sum()) == (OTHER < 50).sum() + (TRAIN < 50).sum() and not warned


def test_no_grid_of_gigabytes(binned, by_hand):
    intervals = {"obs_intervals": [[0.0, 4e9]], "obs_intervals_index": [1]}
    assert "too long" in refusal(binned, by_hand([TRAIN], columns=intervals))
    many = {"obs_intervals": [[0.0, 3e5]] * 400, "obs_intervals_index": np.arange(1, 401)}
    assert "too long" in refusal(binned, by_hand([TRAIN[::9]] * 400, columns=many))


def with_intervals(by_hand, *intervals):
    stops = np.cumsum([len(one) for one in intervals])
    rows = np.concatenate([np.reshape(one, (-1, 2)) for one in intervals])
    return by_hand([TRAIN, OTHER], columns={"id": [7, 9], "obs_intervals": rows, "obs_intervals_index": stops})


def test_observation_with_a_gap_and_missing(binned, by_hand):
    counts, table, warned = binned(with_intervals(by_hand, [[0, 40], [60, 101]], []))
    in_gap = (counts["bin"].values > 40) & (counts["bin"].values < 60 - 0.011)
    assert not counts["valid"].values[in_gap, 0].any() and counts["valid"].values[in_gap, 1].all()
    assert "400 spikes lie outside their unit's obs_intervals" in only(warned) and "unit 7" in warned[0]
    assert list(table["n_dropped_unobserved"]) == [400, 0]


def test_intervals_that_overlap_are_joined(binned, by_hand):
    counts, table, warned = binned(with_intervals(by_hand, [[0, 50], [40, 101]], [[0, 101]]))
    assert "1 obs_intervals overlap" in only(warned) and "unit 7" in warned[0]
    assert counts["valid"].values.all() and table["n_dropped"].sum() == 0


def test_observation_that_excludes_all_spikes(binned, by_hand):
    counts, table, warned = binned(with_intervals(by_hand, [[200, 300]], [[0, 101]]))
    assert list(table["exclusion_reason"]) == ["all spikes lie outside obs_intervals", ""]
    assert "2000 spikes" in only(warned) and counts.sizes["unit"] == 1
    text = refusal(binned, with_intervals(by_hand, [[200, 300]], [[200, 300]]))
    assert "2 units: all spikes lie outside obs_intervals" in text


def test_intervals_of_a_wrong_shape(binned, by_hand):
    for values in (np.arange(5.0), np.zeros((2, 3)), np.array([b"a", b"b"])):
        text = refusal(binned, by_hand([TRAIN], columns={"obs_intervals": values, "obs_intervals_index": [2]}))
        assert "obs_intervals" in text
    index = {"obs_intervals": [[0.0, 101.0]], "obs_intervals_index": [1]}
    assert "1 rows for 2 units" in refusal(binned, by_hand([TRAIN, OTHER], columns=index))


def test_columns_of_bytes_and_objects(binned, by_hand):
    quality = np.array([b"good", b"mua"])
    location = np.array(["A1", "ä-Kern"], dtype=h5py.string_dtype())
    path = by_hand([TRAIN, OTHER], columns={"quality": quality, "location": location})
    _, table, warned = binned(path, unit_filter="quality == 'good'")
    assert list(table["region"]) == ["A1", "ä-Kern"] and list(table["included"]) == [True, False] and not warned
    for values in (np.array([b"1.0", b"2.0"]), np.array(["1", "2"], dtype=h5py.string_dtype())):
        text = refusal(binned, by_hand([[0.0, 1.0]], columns={"spike_times": values}))
        assert "spike_times" in text and "no numbers" in text


def test_ids_that_stand_for_several_units(binned, by_hand):
    counts, table, warned = binned(by_hand([TRAIN, OTHER, OTHER], columns={"id": [4, 4, 6]}))
    assert "1 ids stand for several units (4)" in only(warned)
    assert list(table["nwb_id"]) == ["4", "4", "6"] and counts["unit"].to_index().is_unique
    assert "3 ids, 2 rows" in refusal(binned, by_hand([TRAIN, OTHER], columns={"id": [1, 2, 3]}))


def test_an_index_that_does_not_fit(binned, by_hand):
    text = refusal(binned, by_hand([TRAIN, OTHER], columns={"spike_times_index": [2000, 9000]}))
    assert "does not fit" in text and "row 1" in text and "index 9000, 3000 values" in text
    text = refusal(binned, by_hand([TRAIN, OTHER], columns={"spike_times_index": np.array([2000, 184], np.uint16)}))
    assert "index 184" in text and "index 2000 in the row before" in text
    counts, _, warned = binned(by_hand([TRAIN, OTHER], columns={"spike_times_index": [2000, 2900]}))
    assert "100 values after those of the last unit" in only(warned) and int(counts["counts"].sum()) == 2900


def test_an_array_that_claims_more_than_the_file_holds(binned, by_hand):
    path = by_hand([TRAIN])
    with h5py.File(path, "r+") as nwb:
        del nwb["units/spike_times"], nwb["units/spike_times_index"]
        nwb.create_dataset("units/spike_times", shape=(10**13,), dtype=float, chunks=(1000,))
        nwb["units/spike_times_index"] = [10**13]
    text = refusal(binned, path)
    assert "claims more values than the file holds" in text and "/spike_times" in text


@pytest.mark.parametrize("root", ["NWB-1.0.6", "1.0.5_beta"])
def test_nwb_1(binned, tmp_path, root):
    with h5py.File(tmp_path / "old.nwb", "w") as nwb:
        nwb["nwb_version"] = root
        nwb["processing/ephys/UnitTimes/unit_1/times"] = TRAIN
    text = refusal(binned, tmp_path / "old.nwb")
    assert "NWB 1.x" in text and root in text and "add_unit" in text


def test_schema_2_0_extensions_and_no_cached_specs(binned, by_hand, write_nwb):
    path = write_nwb([{"spike_times": TRAIN}])
    with h5py.File(path, "r+") as nwb:
        del nwb["specifications"]
        del nwb.attrs[".specloc"]
        nwb.attrs["nwb_version"] = np.bytes_("2.0.0")
        nwb["units"].attrs["neurodata_type"] = np.bytes_("LabUnits")
        nwb["units"].attrs["namespace"] = np.bytes_("ndx-of-a-lab")
    counts, _, warned = binned(path)
    assert int(counts["counts"].sum()) == 2000 and not warned


def test_a_table_in_a_module_and_several_tables(binned, by_hand):
    path = by_hand([OTHER], path="processing/ecephys/sorted")
    counts, _, _ = binned(path)
    assert list(counts["unit"].values) == ["s1|sorted|0"] and int(counts["counts"].sum()) == 1000
    with h5py.File(path, "r+") as nwb:
        nwb.copy("processing/ecephys/sorted", "units")
        nwb["units/spike_times"][:] += 1
    text = refusal(binned, path)
    assert "several units tables" in text and "/processing/ecephys/sorted, /units" in text and "neural.table" in text
    counts, _, _ = binned(path, table="/units")
    assert list(counts["unit"].values) == ["s1|units|0"]
    text = refusal(binned, path, table="/processing/ecephys/sortd")
    assert "did you mean /processing/ecephys/sorted" in text


def test_a_reference_time_that_is_not_the_start(binned, by_hand):
    times = {
        "session_start_time": "2024-01-01T10:00:30+00:00",
        "timestamps_reference_time": "2024-01-01T11:00:00+01:00",
    }
    counts, _, warned = binned(by_hand([TRAIN], **times))
    assert "30 s before session_start_time" in only(warned) and "sync is 30" in warned[0]
    assert counts["bin"].values[0] == pytest.approx(0.06)
    times["timestamps_reference_time"] = "2024-01-01T11:00:30+01:00"
    assert not binned(by_hand([TRAIN], **times))[2]


def test_equal_spikes_are_one_unless_units_are_unsorted(binned, by_hand):
    path = by_hand([OTHER, np.sort(np.r_[TRAIN, TRAIN[::200]])], columns={"id": [7, 9]})
    _, table, warned = binned(path)
    assert "10 spikes at the very time of another" in only(warned) and "unit 9" in warned[0]
    assert list(table["n_dropped_duplicate"]) == [0, 10] and list(table["n_spikes"]) == [1000, 2000]
    _, table, warned = binned(path, signal="multiunit")
    assert list(table["n_spikes"]) == [1000, 2010] and not warned


def test_float32_late_in_a_session(binned, by_hand):
    late = (TRAIN + 40_000).astype(np.float32)
    _, table, warned = binned(by_hand([OTHER.astype(np.float32) + 40_000, late], columns={"id": [7, 9]}))
    text = only(warned)
    assert "float32" in text and "3.91 ms" in text and "units 7, 9" in text
    assert list(table["n_dropped_duplicate"]) == [0, 0]
    assert not binned(by_hand([TRAIN.astype(np.float32)]))[2]


def test_float32_with_the_clocks_step_is_exact(binned, by_hand):
    samples = np.arange(0, 900_000, 37)
    edges = np.arange(300, 900_000, 300)
    samples = np.unique(np.r_[samples, edges, edges - 1])
    times = (samples / 30_000).astype(np.float32)
    expected = np.bincount(samples // 300)
    counts, _, _ = binned(by_hand([times], attributes={"resolution": 1 / 30_000}))
    np.testing.assert_array_equal(counts["counts"].values[:, 0], expected)
    plain, _, _ = binned(by_hand([times], attributes={"resolution": -1.0}))
    assert (plain["counts"].values[:, 0] != expected).any()
