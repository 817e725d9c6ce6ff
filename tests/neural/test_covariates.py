import warnings

import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries

from pipeline.__main__ import main
from pipeline.covariates import read_covariates
from pipeline.errors import InputError
from pipeline.neural.covariates import check_covariates, open_covariates, sample_covariates
from pipeline.neural.grid import Grid
from pipeline.storage import read_dataset

GRID = Grid(first_bin=200, n_bins=800, bin_width_s=0.01)  # 2 to 10 s
CENTRE_S = GRID.start_s + 0.005


@pytest.fixture
def nwb(write_nwb):
    """A file with speed in a behavior module (rate, conversion, offset) and a position (time stamps)."""

    def add(nwb):
        module = nwb.create_processing_module("behavior", "of a test")
        time_s = 0.02 * np.arange(600)
        speed = TimeSeries(
            name="speed", data=time_s, unit="m/s", starting_time=0.0, rate=50.0, conversion=2.0, offset=1.0
        )
        module.add(BehavioralTimeSeries(time_series=speed))
        place = SpatialSeries(
            name="nose", data=np.c_[time_s, -time_s], timestamps=time_s, unit="m", reference_frame="a corner"
        )
        module.add(Position(spatial_series=place))
        module.add(TimeSeries(name="still", data=np.full(600, 7.0), unit="a.u.", starting_time=0.0, rate=50.0))

    units = [{"spike_times": np.arange(2, 10, 0.1), "obs_intervals": [[2.0, 10.0]]}]
    return write_nwb(units, add=add)


@pytest.fixture
def table(tmp_path):
    def _table(*lines, name="breath.csv"):
        (tmp_path / name).write_text("\n".join(lines))
        return tmp_path / name

    return _table


def sampled(entries, nwb=None, *, grid=GRID):
    """The covariates, and the messages of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with open_covariates(entries, nwb) as sources:
            covariates = sample_covariates(sources, grid)
    return covariates, [str(one.message) for one in caught]


def message(entries, nwb=None, *, grid=GRID):
    with pytest.raises(InputError) as caught:
        sampled(entries, nwb, grid=grid)
    return str(caught.value)


def test_series_of_the_nwb_are_converted_and_named_by_column(nwb):
    entries = ["nwb:/processing/behavior/BehavioralTimeSeries/speed", "nwb:/processing/behavior/Position/nose"]
    covariates, warned = sampled(entries, nwb)
    assert covariates.names == ["speed", "nose_0", "nose_1"] and covariates.units == ["m/s", "m", "m"]
    assert covariates.values.dtype == np.float32 and not warned
    expected = np.c_[2 * CENTRE_S + 1, CENTRE_S, -CENTRE_S]  # straight lines: every sample is on them
    np.testing.assert_allclose(covariates.values, expected, atol=1e-5)


def test_samples_of_a_table_are_averaged_and_gaps_and_empty_cells_stay(table):
    time_s = np.arange(0, 12, 0.005)
    time_s = time_s[(time_s < 4) | (time_s >= 4.5)]
    rows = [f"{t:.3f};{t * t:.6f};{'' if 7 <= t < 8 else t}" for t in time_s]
    covariates, warned = sampled([table("time_s; breath; pupil", *rows)])
    assert covariates.names == ["breath", "pupil"]
    mean = (GRID.start_s**2 + (GRID.start_s + 0.005) ** 2) / 2  # two samples a bin
    gap = (GRID.start_s >= 4 - 1e-9) & (GRID.start_s < 4.5 - 1e-9)
    np.testing.assert_allclose(covariates.values[~gap, 0], mean[~gap], rtol=1e-5)
    assert np.isnan(covariates.values[gap]).all()
    assert np.isnan(covariates.values[500:600, 1]).all() and np.isnan(covariates.values[:, 1]).sum() == 150
    assert len(warned) == 1 and "of 800 bins" in warned[0] and "breath in 50, pupil in 150" in warned[0]
    assert "use the 650 others" in warned[0]
    halves = [f"{t},{t if t < 6 else ''},{t if t > 6 else ''}" for t in np.arange(0, 12, 0.01)]
    assert "no bin in which all covariates are known" in message([table("time_s,a,b", *halves)])


def test_a_constant_is_left_out_and_nothing_else_is_an_error(nwb, table):
    entries = ["nwb:/processing/behavior/still", table("time_s,x", *(f"{t},{t}" for t in range(14)))]
    covariates, warned = sampled(entries, nwb)
    assert covariates.names == ["x"] and covariates.values.shape == (800, 1)
    assert len(warned) == 1 and "still (always 7)" in warned[0]
    assert "no covariate is left" in message(["nwb:/processing/behavior/still"], nwb)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["time,x", "0,1"], "need a column time_s"),
        (["time_s", "0", "1"], "others beside it"),
        (["time_s,x"], "0 rows"),
        (["time_s,x", "0,1", "1,fast"], "line 3"),
        (["time_s;x", "0;1,5", "1;2"], "decimals take a ."),
        (["time_s,x", *(f"{t},{t}" for t in (0, 3, 2, 1, 4, 3, 5))], "time stamps do not increase"),
        (["time_s,x", ",1", ",2"], "no times"),
        (["time_s,x", "100,1", "101,2"], "samples from 100 to 101 s"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*without a finite time stamp")
def test_a_table_that_cannot_be_used_is_one_message(table, lines, told):
    assert told in message([table(*lines)])


def test_other_mistakes_name_what_is_there(nwb, table, tmp_path):
    assert "did you mean /processing/behavior/still" in message(["nwb:/processing/behavior/stil"], nwb)
    first, second = (table("time_s,x", "0,1", "9,2", name=name) for name in ("a.csv", "b.csv"))
    many = ",".join(f"x{i}" for i in range(33))
    assert "up to 32" in message([table(f"time_s,{many}", "0" + 33 * ",1")])
    assert "two covariates are called 'x'" in message([first, second])
    with pytest.raises(InputError, match="no sample in the time of the session"):
        check_covariates([first], None, span_s=(20.0, 30.0))
    check_covariates([first], None, span_s=(5.0, 30.0))
    check_covariates([first], None, span_s=None)


def test_the_step_uses_the_bins_of_the_counts(nwb, table, binned, tmp_path):
    table("time_s,x", *(f"{0.05 * t:.2f},{t % 9}" for t in range(300)))
    counts, _, _ = binned(nwb, bin_width_s=0.02)
    counts.to_netcdf(tmp_path / "counts.nc", engine="h5netcdf")
    cell = "breath.csv; nwb:/processing/behavior/Position/nose"
    sheet = tmp_path / "sessions.tsv"
    sheet.write_text(f"session\tsubject\tnwb\tcovariates\ns1\tanna\t{nwb.name}\t{cell}\n")
    paths = {"--sheet": sheet, "--counts": tmp_path / "counts.nc", "--out": tmp_path / "covariates.nc"}
    assert main(["covariates", "--session", "s1", *(str(item) for pair in paths.items() for item in pair)]) == 0
    covariates = read_covariates(tmp_path / "covariates.nc")
    assert covariates.names == ["x", "nose_0", "nose_1"] and covariates.units == ["", "m", "m"]
    with read_dataset(tmp_path / "counts.nc") as counts:
        assert np.array_equal(covariates.start_s, counts["bin"].values) and covariates.bin_width_s == 0.02
    np.testing.assert_allclose(covariates.values[:, 1], covariates.start_s + 0.01, atol=0.011)
    with read_dataset(tmp_path / "covariates.nc") as dataset:
        assert dataset["values"].dims == ("bin", "covariate") and dataset.attrs["start_s"] == covariates.start_s[0]
