import warnings
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile

from pipeline.clock import shifted_clock
from pipeline.neural.binning import bin_session
from pipeline.neural.recording import Choice, open_recording

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def real_nwb():
    """Path of a recording from another laboratory, by its name."""

    def _path(name):
        path = SHARED / ("calcium" if "hvc" in name else "nwb") / name
        if not path.is_file():
            pytest.skip(f"{name} is not on this machine")
        return path

    return _path


@pytest.fixture
def write_nwb(tmp_path):
    """Writes an NWB file by pynwb: one dict of `add_unit` arguments a unit, electrode groups by region."""

    def _write(units=(), *, regions=(), electrodes=(), invalid_times=(), columns=(), name="session.nwb", add=None):
        nwb = NWBFile("made for a test", "test", datetime(2024, 1, 1, tzinfo=UTC))
        device = nwb.create_device("probe")
        groups = [
            nwb.create_electrode_group(f"shank{i}", "a shank", region, device) for i, region in enumerate(regions)
        ]
        for location in electrodes:
            nwb.add_electrode(location=location, group=groups[0])
        for column in columns:
            nwb.add_unit_column(column, "of a test")
        for unit in units:
            unit = dict(unit)
            if "group" in unit:
                unit["electrode_group"] = groups[unit.pop("group")]
            nwb.add_unit(**unit)
        for start_s, stop_s in invalid_times:
            nwb.add_invalid_time_interval(start_time=start_s, stop_time=stop_s)
        if add:
            add(nwb)
        path = tmp_path / name
        with NWBHDF5IO(path, "w") as io:
            io.write(nwb)
        return path

    return _write


@pytest.fixture
def by_hand(tmp_path):
    """Writes what pynwb refuses to: a units table out of plain arrays. `columns` replace or add data sets (None: not).

    `trains`: times a unit; `attributes`: of the data set of spike times.
    """

    def _write(trains, *, columns=None, path="units", name="broken.nwb", attributes=None, **root):
        times = np.concatenate([np.asarray(train) for train in trains]) if len(trains) else np.empty(0)
        stops = np.cumsum([len(train) for train in trains])
        data = {"id": np.arange(len(trains)), "spike_times": times, "spike_times_index": stops} | (columns or {})
        file = tmp_path / name
        with h5py.File(file, "w") as nwb:
            nwb.attrs["nwb_version"] = "2.7.0"
            table = nwb.create_group(path)
            table.attrs["neurodata_type"] = "Units"
            for key, values in data.items():
                if values is not None:
                    table[key] = values
            for key, value in (attributes or {}).items():
                table["spike_times"].attrs[key] = value
            for key, value in root.items():
                nwb[key] = value
        return file

    return _write


@pytest.fixture
def binned():
    """counts.nc and units.parquet of a file in memory, and the messages of its warnings; without audio by default."""

    def _bin(path, *, audio=(), offset_s=0.0, bin_width_s=0.01, min_rate_hz=0.0, **choice):
        audio = np.asarray(audio, float).reshape(-1, 2)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with open_recording(path, Choice(**choice)) as recording:
                counts, table = bin_session(
                    recording,
                    clock=shifted_clock(offset_s, source="test"),
                    file_start_s=audio[:, 0],
                    file_stop_s=audio[:, 1],
                    bin_width_s=bin_width_s,
                    min_rate_hz=min_rate_hz,
                    session="s1",
                    subject="anna",
                )
        return counts, table, [str(one.message) for one in caught]

    return _bin


@pytest.fixture
def rng():
    return np.random.default_rng(20)
