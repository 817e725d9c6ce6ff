"""The NWB file of a simulated session; the same content gives the same bytes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from pipeline.simulation.firing import SPIKE_CLOCK_HZ
from pipeline.simulation.movement import SPEED_RATE_HZ
from pipeline.storage import written_whole

SPEED_SERIES = "/processing/behavior/running_speed"

_RECORDED = datetime(2024, 1, 1, 12, tzinfo=UTC)  # NWB wants a date; a fixed one keeps files alike


def write_nwb(
    path: str | Path,
    *,
    name: str,
    subject: str,
    spikes: Sequence[np.ndarray],
    regions: Sequence[str],
    speed_m_s: np.ndarray | None,
    observed_s: float,
) -> None:
    """Write a units table: row i fired at `spikes[i]` (seconds) at an electrode in `regions[i]`.

    `speed_m_s` (n_samples,) is written as the time series `SPEED_SERIES`, unless it is None.
    """
    from pynwb import NWBHDF5IO, NWBFile, TimeSeries
    from pynwb.file import Subject

    file = NWBFile(
        session_description="simulated song and spikes",
        identifier=f"simulated-{name}",
        session_start_time=_RECORDED,
        file_create_date=_RECORDED,
        session_id=name,
        experiment_description="simulated: no animal was recorded",
        subject=Subject(
            subject_id=subject, species="Mus musculus", sex="U", age="P90D", description="simulated animal"
        ),
    )
    device = file.create_device(name="probe", description="simulated probe")
    groups = {
        region: file.create_electrode_group(name=f"shank_{region}", description="", location=region, device=device)
        for region in sorted(set(regions))
    }
    for region in regions:
        file.add_electrode(group=groups[region], location=region)
    for row, times in enumerate(spikes):
        file.add_unit(id=row, spike_times=times, obs_intervals=[[0.0, observed_s]], electrodes=[row])
    if file.units is not None:
        file.units.resolution = 1 / SPIKE_CLOCK_HZ
    if speed_m_s is not None:
        module, series = SPEED_SERIES.split("/")[2:]
        file.create_processing_module(name=module, description="simulated behavior").add(
            TimeSeries(
                name=series,
                description="running speed",
                data=speed_m_s.astype(np.float32),
                unit="m/s",
                starting_time=0.0,
                rate=SPEED_RATE_HZ,
            )
        )
    with written_whole(path) as partial_path:
        with NWBHDF5IO(str(partial_path), "w") as io:
            io.write(file)
        _name_objects(partial_path, name)


def _name_objects(path: Path, name: str) -> None:
    """Replace pynwb's random identifiers of objects by ones made from the session and the object's path."""
    import h5py

    with h5py.File(path, "r+") as file:

        def rename(place: str, item: h5py.HLObject) -> None:
            if "object_id" in item.attrs:
                item.attrs.modify("object_id", str(uuid5(NAMESPACE_URL, f"{name}/{place}")))

        rename("", file)
        file.visititems(rename)
