import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipeline.errors import InputError
from pipeline.storage import read_dataset, read_table, write_dataset, write_table, written_whole


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / "new" / "a.txt") as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert list((tmp_path / "new").iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), written_whole(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stands_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with written_whole(path) as partial:
        assert partial.suffix == path.suffix and partial.parent == path.parent
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv"])
def test_tables_come_back_as_written(tmp_path, suffix):
    table = pd.DataFrame({"unit_id": ["a|units|0", "b|units|1"], "rate_hz": [0.1, 2.5], "n_spikes": [3, 4]})
    write_table(table, tmp_path / f"units{suffix}")
    pd.testing.assert_frame_equal(read_table(tmp_path / f"units{suffix}"), table)


def test_tsv_is_separated_by_tabs(tmp_path):
    write_table(pd.DataFrame({"a": [1], "b": [2]}), tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_text() == "a\tb\n1\t2\n"


def test_arrays_come_back_with_their_labels(tmp_path):
    values = np.array([[1, -1]], "int16")
    written = xr.Dataset({"counts": (("bin", "unit"), values)}, {"unit": ["u0", "u1"]}, {"bin_width_s": 0.01})
    write_dataset(written, tmp_path / "counts.nc", encoding={"counts": {"_FillValue": -1}})
    with read_dataset(tmp_path / "counts.nc") as read:
        assert read.attrs["bin_width_s"] == 0.01
        assert list(read["unit"].values) == ["u0", "u1"]
        assert np.array_equal(read["counts"].values, [[1, np.nan]], equal_nan=True)


@pytest.mark.parametrize("name", ["units.parquet", "units.csv", "units.nc"])
def test_a_file_of_another_kind_is_told(tmp_path, name):
    table = pd.DataFrame({"unit_id": ["a"], "region": ["PAG"]})
    if name.endswith(".nc"):
        write_dataset(xr.Dataset.from_dataframe(table), tmp_path / name)
        read = read_dataset
    else:
        write_table(table, tmp_path / name)
        read = read_table
    assert list(read(tmp_path / name, needs="region")["region"]) == ["PAG"]
    with pytest.raises(InputError, match=rf"(?s)another kind: it has no bout.*{name}.*unit_id, region"):
        read(tmp_path / name, needs="bout")


@pytest.mark.parametrize("read, name", [(read_table, "t.parquet"), (read_table, "t.csv"), (read_dataset, "t.nc")])
def test_a_file_that_is_missing_or_broken_is_named(tmp_path, read, name):
    with pytest.raises(InputError, match=name):
        read(tmp_path / name)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=name):
        read(tmp_path / name)
