from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject

from pipeline.errors import InputError
from pipeline.inspection.nwb import describe_nwb
from pipeline.inspection.nwb_picture import draw_nwb, rates_over_time

REAL = Path(__file__).resolve().parents[2].parent / "shared/data/nwb"
SPIKES_S = [np.arange(0.5, 100, 1.0), np.array([1.0, 50.0]), np.array([])]


@pytest.fixture
def nwb_file(tmp_path):
    """Three units (100, 2 and no spikes), a series of each kind of clock, one table of intervals."""
    nwb = NWBFile("a session", "id-1", datetime(2026, 1, 1, tzinfo=UTC))
    nwb.subject = Subject(subject_id="anna", species="Mus musculus")
    nwb.add_unit_column("location", "where")
    for spikes_s, place in zip(SPIKES_S, ("PAG", "PAG", "ACC"), strict=True):
        nwb.add_unit(spike_times=spikes_s, obs_intervals=[[0.0, 50.0], [60.0, 110.0]], location=place)
    nwb.add_acquisition(
        TimeSeries(name="sound", data=np.zeros(1000, np.int16), unit="V", rate=500.0, starting_time=3.0)
    )
    nwb.add_acquisition(TimeSeries(name="ttl", data=np.ones(5), unit="V", timestamps=[0.0, 1.0, 2.0, 3.0, 9.0]))
    calls = TimeIntervals(name="calls", description="labelled")
    calls.add_row(start_time=1.0, stop_time=1.5)
    calls.add_row(start_time=2.0, stop_time=2.5)
    nwb.add_time_intervals(calls)
    with NWBHDF5IO(tmp_path / "a.nwb", "w") as io:
        io.write(nwb)
    return tmp_path / "a.nwb"


def _by_title(path):
    return {section.title.removeprefix(str(path)): section for section in describe_nwb(path)}


def test_all_that_a_file_holds(nwb_file):
    sections = _by_title(nwb_file)
    session = dict(sections[""].rows)
    assert session["subject"] == "id anna, species Mus musculus" and session["identifier"] == "id-1"
    units = dict(sections["/units"].rows)
    assert (units["units"], units["spikes"], units["regions"]) == ("3", "102", "PAG: 2, ACC: 1")
    assert units["rate, lowest / median / highest"] == "0 / 0.02 / 1 Hz"
    assert units["spikes from, to"] == "0.5 to 99.5 s" and units["observed"] == "100 s (median)"
    assert "location" in units["columns"]
    each = sections["/units, one by one"].rows
    assert each[0] == ("0", "100", "1", "0.5", "99.5", "100", "PAG")
    assert each[2] == ("2", "0", "0", "-", "-", "100", "ACC")
    series = {row[0]: row[1:] for row in sections["series"].rows}
    assert series["/acquisition/sound"] == ("TimeSeries", "1000", "V", "500 Hz", "3", "5")
    assert series["/acquisition/ttl"] == ("TimeSeries", "5", "V", "5 timestamps, 1 Hz", "0", "9")
    assert sections["intervals"].rows == [("/intervals/calls", "2", "1", "2.5", "start_time, stop_time")]


def test_events_of_an_extension_are_found_by_what_lies_in_them(nwb_file):
    with h5py.File(nwb_file, "a") as file:
        group = file.create_group("processing/behavior/pulses")
        group.attrs["neurodata_type"] = "TTLs"
        group["timestamps"] = [4.0, 5.0, 7.0]
    assert _by_title(nwb_file)["events"].rows == [("/processing/behavior/pulses", "TTLs", "3", "4", "7")]


def test_damage_is_told_and_does_not_hide_the_rest(nwb_file):
    with h5py.File(nwb_file, "a") as file:
        file["units/spike_times_index"][1] = 250
        file["acquisition/video"] = h5py.ExternalLink("gone.h5", "/x")
    sections = _by_title(nwb_file)
    assert "2 units points beyond" in dict(sections["/units"].rows)["damaged"]
    assert sections["broken links"].rows == [("/acquisition/video",)]
    assert len(sections["series"].rows) == 2


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("acquisition/ttl/timestamps", np.array([b"a"] * 5)),
        ("acquisition/sound/starting_time", [1.0, 2.0]),
        ("intervals/calls/start_time", np.array([b"a"] * 2)),
        ("units/spike_times", np.array([b"a"] * 102)),
        ("units/spike_times", np.zeros((102, 2))),
        ("units/obs_intervals", np.zeros(3)),
        ("units/spike_times_index", np.array([1.0, np.nan, 3.0])),
    ],
)
def test_a_damaged_table_is_told_beside_the_others(nwb_file, path, values):
    with h5py.File(nwb_file, "a") as file:
        attributes = dict(file[path].attrs)
        del file[path]
        file[path] = values
        file[path].attrs.update({name: value for name, value in attributes.items() if name == "rate"})
    sections = describe_nwb(nwb_file)
    assert "damaged" in str([section.rows for section in sections])
    paths = {row[0] for section in sections for row in section.rows}
    assert {"/acquisition/sound", "/acquisition/ttl", "/intervals/calls", "identifier"} <= paths


def test_a_column_that_claims_terabytes(nwb_file):
    with h5py.File(nwb_file, "a") as file:
        for name in ("spike_times", "spike_times_index"):
            del file[f"units/{name}"]
            file.create_dataset(f"units/{name}", shape=(10**12,), dtype=float, chunks=(1024,))
    assert "more values than the file holds" in str(describe_nwb(nwb_file))
    with pytest.raises(InputError, match="more values than the file holds"):
        draw_nwb(nwb_file)


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "a.nwb").write_bytes(b"nothing of the kind")
    for look in (describe_nwb, draw_nwb):
        with pytest.raises(InputError, match=r"a\.nwb"):
            look(tmp_path / "a.nwb")


def test_long_tables_are_cut_and_counted(tmp_path):
    nwb = NWBFile("a session", "id-1", datetime(2026, 1, 1, tzinfo=UTC))
    for _ in range(60):
        nwb.add_unit(spike_times=[1.0, 2.0])
    with NWBHDF5IO(tmp_path / "a.nwb", "w") as io:
        io.write(nwb)
    each = _by_title(tmp_path / "a.nwb")["/units, one by one"].rows
    assert len(each) == 41 and each[-1][0] == "and 20 more"


def test_rates_over_time_whatever_the_blocks(monkeypatch):
    random = np.random.default_rng(0)
    spikes_s = [np.sort(random.uniform(0, 20, n)) for n in (500, 0, 31)]
    spikes_s[2][-1] = np.nan
    edges = np.linspace(*np.nanquantile(np.concatenate(spikes_s), [0, 1]), 11)
    expected = [np.histogram(unit[np.isfinite(unit)], edges)[0] / np.diff(edges) for unit in spikes_s]
    for block in (7, 10**6):
        monkeypatch.setattr("pipeline.inspection.nwb_picture.BLOCK_SPIKES", block)
        stops = np.cumsum([len(unit) for unit in spikes_s])
        rates_hz, edges_s = rates_over_time(np.concatenate(spikes_s), stops, n_bins=10)
        np.testing.assert_allclose(edges_s, edges)
        np.testing.assert_allclose(rates_hz, expected)


def test_pictures(nwb_file, tmp_path):
    figure = draw_nwb(nwb_file)
    assert figure.axes[0].images[0].get_array().shape[0] == 3
    with h5py.File(nwb_file, "a") as file:
        del file["units"]
    assert "neither units" in draw_nwb(nwb_file).texts[0].get_text()
    with h5py.File(nwb_file, "a") as file:
        group = file.create_group("processing/ophys/dff")
        group.attrs["neurodata_type"] = "RoiResponseSeries"
        group["data"] = np.random.default_rng(0).normal(size=(50, 4))
        group["starting_time"] = 2.0
        group["starting_time"].attrs["rate"] = 10.0
    image = draw_nwb(nwb_file).axes[0].images[0]
    assert image.get_array().shape == (4, 50) and image.get_extent()[:2] == pytest.approx([2.0, 6.9])


@pytest.mark.skipif(not REAL.is_dir(), reason="no shared recordings")
def test_real_files():
    units = dict(_by_title(REAL / "A8604-211122.nwb")["/units"].rows)
    assert (units["units"], units["spikes"]) == ("3", "21,354")
    sections = _by_title(REAL / "sub-4_ses-4_ecephys+image.nwb")
    assert dict(sections["/units"].rows)["spikes"] == "214,278"
    assert "not sorted" in sections["series"].rows[0][4]
