"""Unsorted activity: threshold crossings of channels, counted like spikes, though several neurons make them.

The events of SpikeEventSeries, one "unit" a series; where there is none, a units table with one row a channel.
"""

import numpy as np

from pipeline.neural.nwb import Nwb, check_size, named_or_only, numbers
from pipeline.neural.recording import Choice, Units, UnitsHeader
from pipeline.neural.signals import units
from pipeline.neural.spikes import SpikeStream
from pipeline.neural.tables import electrode_regions, invalid_times_of

TYPE = "SpikeEventSeries"


def usable(nwb: Nwb) -> bool:
    """Whether there are threshold crossings or a units table."""
    return bool(nwb.of_type(TYPE)) or units.usable(nwb)


def open_signal(nwb: Nwb, choice: Choice) -> Units:
    """One unit a series, in the order of their paths; their events are read when they are gone through."""
    paths = _paths(nwb, choice)
    if not paths:
        return units.open_signal(nwb, choice, distinct=False)
    names = [path.rsplit("/", 1)[-1] for path in paths]
    streams = [_stream(nwb, path, name) for path, name in zip(paths, names, strict=True)]
    n_nonfinite, n_duplicate = np.zeros(len(paths), int), np.zeros(len(paths), int)

    def times():
        for unit, stream in enumerate(streams):
            yield from stream
            n_nonfinite[unit] = stream.n_nonfinite[0]

    return Units(
        table="multiunit",
        nwb_id=names,
        region=[_region(nwb, path) for path in paths],
        spike_times_s=times(),
        observed_s=[None] * len(paths),
        n_nonfinite=n_nonfinite,
        n_duplicate=n_duplicate,
        invalid_times_s=invalid_times_of(nwb),
    )


def look(nwb: Nwb, choice: Choice) -> UnitsHeader:
    """Numbers of series and events, and when the first and last were."""
    paths = _paths(nwb, choice)
    if not paths:
        return units.look(nwb, choice, distinct=False)
    stamps = [nwb.root[path]["timestamps"] for path in paths]
    ends = np.array([stamp[place] for stamp in stamps if len(stamp) for place in (0, len(stamp) - 1)], float)
    ends = ends[np.isfinite(ends)]
    start_s, stop_s = (ends.min(), ends.max()) if len(ends) else (np.nan, np.nan)
    return UnitsHeader(len(paths), sum(len(stamp) for stamp in stamps), float(start_s), float(stop_s))


def _paths(nwb: Nwb, choice: Choice) -> list[str]:
    paths = [path for path in nwb.of_type(TYPE) if "timestamps" in nwb.root[path]]
    if choice.series:
        return [named_or_only(nwb, choice.series, paths, what=TYPE, key="neural.series")]
    return [] if choice.table else paths


def _stream(nwb: Nwb, path: str, name: str) -> SpikeStream:
    where = f"{nwb.where}, {path}"
    stamps = numbers(nwb.root[path]["timestamps"], where=f"{where}/timestamps")
    check_size(stamps, len(stamps), where=f"{where}/timestamps")
    return SpikeStream(stamps, np.array([len(stamps)]), names=[name], where=where, distinct=False)


def _region(nwb: Nwb, path: str) -> str:
    group = nwb.root[path]
    if "electrodes" not in group:
        return ""
    return electrode_regions(nwb, [group["electrodes"][:]], where=f"{nwb.where}, {path}")[0]
