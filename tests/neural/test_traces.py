import h5py
import numpy as np
import pytest
from pynwb.ophys import Fluorescence, ImageSegmentation, OpticalChannel, RoiResponseSeries

from pipeline.errors import InputError
from pipeline.neural.grid import Grid
from pipeline.neural.recording import read_header
from pipeline.neural.resampling import resampled


@pytest.fixture
def rois(write_nwb):
    """An NWB file with traces (n_frames, n_rois) and a plane segmentation; `edit` may change the open HDF5 file."""

    def _write(data, *, edit=None, cells=None, extra=0, unsegmented=False, name="rois.nwb", **series):
        def add(nwb):
            device = nwb.create_device("scope")
            channel = OpticalChannel(name="green", description="green", emission_lambda=510.0)
            plane = nwb.create_imaging_plane(
                name="plane",
                optical_channel=channel,
                description="a plane",
                device=device,
                excitation_lambda=480.0,
                indicator="GCaMP",
                location="HVC",
            )
            module = nwb.create_processing_module("ophys", "imaging")
            segmentation = ImageSegmentation()
            module.add(segmentation)
            table = segmentation.create_plane_segmentation("regions", plane, "cells")
            n = data.shape[1] if data.ndim == 2 else 1
            for roi in range(n + extra):
                table.add_roi(id=100 + roi, pixel_mask=[(roi, 0, 1.0)])
            if cells is not None:
                table.add_column("cell", "accepted", data=cells)
            region = table.create_roi_table_region("all", region=list(range(extra, n + extra)))
            fluorescence = Fluorescence()
            module.add(fluorescence)
            options = {"rate": 30.0, "unit": "a.u."} | series
            fluorescence.add_roi_response_series(RoiResponseSeries(name="dff", data=data, rois=region, **options))

        path = write_nwb(add=add, name=name)
        if edit:
            with h5py.File(path, "r+") as nwb:
                edit(nwb["processing/ophys/Fluorescence/dff"])
        return path

    return _write


@pytest.fixture
def data(rng):
    return rng.normal(size=(900, 4)).astype(np.float32)


def loop(data, times_s, counts, dt, *, gap_s):
    """The definition, bin by bin."""
    frame_s = np.median(np.diff(times_s))
    expected = np.full((counts.sizes["bin"], data.shape[1]), np.nan)
    for k, start_s in enumerate(counts["bin"].values):
        inside = (times_s >= start_s - 1e-9) & (times_s < start_s + dt - 1e-9)
        if dt >= frame_s and inside.any():
            good = data[inside]
            n = np.isfinite(good).sum(0)
            expected[k] = np.where(n > 0, np.nansum(good, 0) / np.maximum(n, 1), np.nan)
            continue
        left = np.flatnonzero(times_s <= start_s + dt / 2)
        if not len(left) or left[-1] + 1 == len(times_s):
            continue
        a, b = left[-1], left[-1] + 1
        if times_s[b] - times_s[a] <= gap_s:
            weight = (start_s + dt / 2 - times_s[a]) / (times_s[b] - times_s[a])
            expected[k] = (1 - weight) * data[a] + weight * data[b]
    return expected


@pytest.mark.parametrize("dt", [0.01, 0.035, 0.05, 0.25])
def test_resampling_is_the_definition(rois, binned, data, dt):
    data[40:60, 2] = np.nan
    counts, table, warned = binned(rois(data, starting_time=2.5), bin_width_s=dt)
    assert counts.attrs["kind"] == "traces" and counts["counts"].dtype == np.float32 and not warned
    expected = loop(data, 2.5 + np.arange(900) / 30, counts, dt, gap_s=1.5 / 30)
    np.testing.assert_allclose(counts["counts"].values, expected, atol=1e-5)
    np.testing.assert_array_equal(counts["valid"].values, np.isfinite(expected))
    assert list(table["nwb_id"]) == ["100", "101", "102", "103"] and set(table["region"]) == {"HVC"}
    assert list(counts["unit"].values) == [f"s1|dff|{row}" for row in range(4)]
    assert table["rate_hz"].isna().all() and table["included"].all()
    np.testing.assert_allclose(table["observed_s"], counts["valid"].values.sum(0) * dt)


@pytest.mark.parametrize("dt", [0.01, 0.05])
def test_never_across_gaps(rois, binned, data, rng, dt):
    times = np.arange(900) / 30 + rng.uniform(-0.002, 0.002, 900)
    times[300:] += 0.8
    counts, _, warned = binned(rois(data, rate=None, timestamps=times), bin_width_s=dt)
    frame_s = np.median(np.diff(times))
    np.testing.assert_allclose(counts["counts"].values, loop(data, times, counts, dt, gap_s=1.5 * frame_s), atol=1e-5)
    start_s = counts["bin"].values
    assert not counts["valid"].values[(start_s > times[299]) & (start_s + dt < times[300])].any() and not warned


def test_blocks_do_not_matter(monkeypatch, data):
    times = np.arange(900) / 30
    grid = Grid(-5, 3100, 0.01)
    whole = resampled(lambda a, b: data[a:b].astype(float), times, n_channels=4, grid=grid)
    reads = []

    def read(a, b):
        reads.append(b - a)
        return data[a:b].astype(float)

    monkeypatch.setattr("pipeline.neural.resampling.BLOCK_VALUES", 40)
    np.testing.assert_array_equal(resampled(read, times, n_channels=4, grid=grid), whole)
    assert max(reads) <= 11
    np.testing.assert_array_equal(
        resampled(read, times, n_channels=4, grid=Grid(0, 120, 0.25)),
        resampled(lambda a, b: data[a:b].astype(float), times, n_channels=4, grid=Grid(0, 120, 0.25)),
    )


def test_conversion_and_offset(rois, binned, rng):
    stored = rng.integers(-3000, 3000, (300, 3)).astype(np.int16)
    counts, _, _ = binned(rois(stored, conversion=2e-3, offset=-4.0), bin_width_s=1 / 30)
    np.testing.assert_allclose(counts["counts"].values[:300], stored * 2e-3 - 4.0, rtol=1e-5, atol=1e-5)
    for key, value in (("conversion", 0.0), ("conversion", np.nan), ("offset", np.inf)):

        def spoil(group, key=key, value=value):
            group["data"].attrs[key] = value

        with pytest.raises(InputError, match="conversion of the series is not usable"):
            binned(rois(stored, edit=spoil))


def test_a_transposed_matrix_is_turned(rois, binned, data):
    def turn(group):
        values, attributes = group["data"][:], dict(group["data"].attrs)
        del group["data"]
        group["data"] = values.T
        group["data"].attrs.update(attributes)

    counts, _, warned = binned(rois(data, edit=turn), bin_width_s=0.05)
    assert len(warned) == 1 and "(ROI, time), (4, 900)" in warned[0] and "rois.nwb" in warned[0]
    np.testing.assert_array_equal(counts["counts"], binned(rois(data, name="b.nwb"), bin_width_s=0.05)[0]["counts"])

    def cut(group):
        values = group["rois"][:3]
        del group["rois"]
        group["rois"] = values

    with pytest.raises(InputError, match=r"do not fit the ROIs(.|\n)*\(900, 4\); 3 ROIs"):
        binned(rois(data, edit=cut))


def test_rate_and_time_stamps_both(rois, binned, data):
    def both(group):
        group["timestamps"] = 10 + np.arange(900) / 20

    counts, _, warned = binned(rois(data, edit=both), bin_width_s=0.05)
    assert len(warned) == 1 and "both time stamps and a rate" in warned[0]
    assert counts["bin"].values[0] == pytest.approx(10)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda g: g.pop("starting_time"), "neither time stamps nor a rate"),
        (lambda g: g["starting_time"].attrs.__setitem__("rate", 0.0), "rate of the series is not usable"),
        (lambda g: g["starting_time"].attrs.__setitem__("rate", 1e-9), "too long for its bins"),
        (lambda g: g.__setitem__("timestamps", np.arange(7.0)), "time stamps do not fit the data"),
        (lambda g: g.__setitem__("timestamps", np.arange(900.0)[::-1]), "time stamps do not increase"),
        (lambda g: g.pop("data"), "has no data"),
        (lambda g: g["rois"].__setitem__(0, 999), "rois points past the table"),
    ],
)
def test_series_that_cannot_be_used(rois, binned, data, edit, said):
    def spoil(group):
        with np.errstate(all="ignore"):
            edit(DictLike(group))

    with pytest.raises(InputError, match=said) as caught:
        binned(rois(data, edit=spoil))
    assert "rois.nwb" in str(caught.value) or "session" in str(caught.value)


class DictLike:
    """A group of h5py with `pop`."""

    def __init__(self, group):
        self._group = group

    def __getattr__(self, name):
        return getattr(self._group, name)

    def __getitem__(self, name):
        return self._group[name]

    def __setitem__(self, name, value):
        self._group[name] = value

    def pop(self, name):
        del self._group[name]


def test_a_few_bad_time_stamps_are_left_out(rois, binned, rng):
    data = rng.normal(size=(3000, 2)).astype(np.float32)
    times = np.arange(3000) / 30
    times[[5, 900]] = np.nan, 3.0
    counts, _, warned = binned(rois(data, rate=None, timestamps=times), bin_width_s=1 / 30)
    assert len(warned) == 2 and "1 samples without a finite time stamp" in warned[0] and "1 time stamps" in warned[1]
    assert counts["valid"].values.sum() >= 2 * 2990


def test_flat_and_empty_traces_are_left_out(rois, binned, data):
    data[:, 1], data[:, 2] = 3.5, np.nan
    counts, table, _ = binned(rois(data, cells=[True, True, True, False]), bin_width_s=0.05, unit_filter="cell")
    assert list(counts["unit"].values) == ["s1|dff|0"]
    assert table["exclusion_reason"][1] == "flat: always 3.5 a.u."
    assert table["exclusion_reason"][2] == "no value in the time that is analysed"
    assert table["exclusion_reason"][3] == "neural.unit_filter: not cell (cell False)"


def test_rows_of_a_larger_table(rois, binned, data):
    path = rois(data, extra=2, cells=[False] * 2 + [True, False, True, True])
    _, table, _ = binned(path, unit_filter="cell", bin_width_s=0.05)
    assert list(table["nwb_id"]) == ["102", "103", "104", "105"] and list(table["included"]) == [
        True,
        False,
        True,
        True,
    ]


def test_sound_and_invalid_times_limit_traces(rois, binned, data, write_nwb):
    counts, table, _ = binned(rois(data), audio=[[0, 8], [10, 20]], offset_s=1.0, bin_width_s=0.05)
    start_s = counts["bin"].values
    np.testing.assert_array_equal(counts["valid"].values[:, 0], (start_s < 8.99) | (start_s > 10.99))
    assert np.isnan(counts["counts"].values[~counts["valid"].values]).all() and table["observed_s"][0] == pytest.approx(
        18
    )
    with pytest.raises(InputError, match="do not overlap"):
        binned(rois(data), audio=[[0, 8]], offset_s=500.0)


def test_the_header_of_traces(rois, data):
    header = read_header(rois(data, starting_time=1.0))
    assert (header.n_units, header.kind, header.start_s) == (4, "traces", 1.0)
    assert header.stop_s == pytest.approx(1 + 899 / 30)


def test_real_calcium(real_nwb, binned):
    path = real_nwb("mackevicius_hvc_DERIVED.nwb")
    with h5py.File(path) as nwb:
        data = nwb["processing/ophys/Fluorescence/RoiResponseSeries/data"][:]
    counts, table, warned = binned(path, bin_width_s=0.05)
    assert len(table) == 75 and not warned
    flat = table["exclusion_reason"].str.startswith("flat")
    np.testing.assert_array_equal(flat, np.ptp(data, 0) == 0)
    expected = loop(data[:, ~flat], np.arange(666) / 30, counts, 0.05, gap_s=0.05)
    np.testing.assert_allclose(counts["counts"].values, expected, rtol=1e-5, atol=1e-6)


def test_which_signal_is_taken(write_nwb, rois, binned, data):
    with pytest.raises(InputError, match="no units table"):
        binned(write_nwb(name="empty.nwb"))
    with pytest.raises(InputError, match="no units table"):
        binned(rois(data), signal="units")
    with pytest.raises(InputError, match="no RoiResponseSeries"):
        binned(write_nwb([{"spike_times": [1.0, 2.0]}]), signal="traces")

    def twice(group):
        group.parent.copy(group, "other")

    path = rois(data, edit=twice, name="two.nwb")
    with pytest.raises(InputError, match=r"several RoiResponseSeries(.|\n)*/dff, (.|\n)*/other(.|\n)*neural.series"):
        binned(path)
    assert binned(path, series="processing/ophys/Fluorescence/other", bin_width_s=0.05)[0].sizes["unit"] == 4
