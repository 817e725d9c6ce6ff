from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "nwb"


@pytest.fixture
def real_nwb():
    """Path of a recording from another laboratory, by its name."""

    def _path(name):
        if not (REAL / name).is_file():
            pytest.skip(f"{name} is not on this machine")
        return REAL / name

    return _path


@pytest.fixture
def write_nwb(tmp_path):
    """Writes an NWB file by pynwb: one dict of `add_unit` arguments a unit, electrode groups by region."""

    def _write(units=(), *, regions=(), electrodes=(), invalid_times=(), name="session.nwb"):
        nwb = NWBFile("made for a test", "test", datetime(2024, 1, 1, tzinfo=UTC))
        device = nwb.create_device("probe")
        groups = [
            nwb.create_electrode_group(f"shank{i}", "a shank", region, device) for i, region in enumerate(regions)
        ]
        for location in electrodes:
            nwb.add_electrode(location=location, group=groups[0])
        for unit in units:
            unit = dict(unit)
            if "group" in unit:
                unit["electrode_group"] = groups[unit.pop("group")]
            nwb.add_unit(**unit)
        for start_s, stop_s in invalid_times:
            nwb.add_invalid_time_interval(start_time=start_s, stop_time=stop_s)
        path = tmp_path / name
        with NWBHDF5IO(path, "w") as io:
            io.write(nwb)
        return path

    return _write


@pytest.fixture
def rng():
    return np.random.default_rng(20)
