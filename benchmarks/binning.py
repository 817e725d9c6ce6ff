"""Time, memory and exactness of NWB -> counts in 10 ms bins, beside the raw read and other packages.

    python benchmarks/binning.py [--peers PYTHON] [--units 500] [--hours 1] [--rate-hz 10] [--repeats 3] [--folder DIR]

Draws spikes as 30 kHz sample numbers, writes them as an NWB file without and with gzip, and counts them in each way,
each in a process of its own: wall time, CPU time and peak memory above that of the imports, of the run with the median
wall time. Ways take turns, so that a load on the machine meets all of them. `wrong` compares with counts made by
integer division of the sample numbers. Duet's and elephant's results hold the bins that have spikes; Duet's table of
all bins is laid out when it is asked for, or as the file is written: a line each. Packages that are missing here are
looked for in `--peers`, an interpreter that has them (pip install h5py pynapple elephant spikeinterface pynwb), else
left out with a line.
"""

import argparse
import itertools
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np

RATE_HZ = 30_000
BIN_S = 0.01
SAMPLES_A_BIN = 300
KIB = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="Python that has the peers installed")
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--rate-hz", type=float, default=10.0, help="mean rate of a unit")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(WAYS), choices=list(WAYS), help="ways to measure")
    parser.add_argument("--folder", help="where to put the temporary files (default: the system's place)")
    parser.add_argument("--make", help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        print(json.dumps(measured(args.run[0], Path(args.run[1]))))
        return
    if args.make:
        make_files(Path(args.make), args.units, args.hours * 3600, args.rate_hz)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        # in a process of its own: what this one has ever held would count as memory of all that it starts
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--make", folder], check=True)
        for storage in ("unfiltered", "gzip"):
            report(storage, Path(folder) / f"{storage}.nwb", args)


def report(storage: str, path: Path, args: argparse.Namespace) -> None:
    """Print a table of all ways for one file."""
    runs: dict[str, list[dict]] = {name: [] for name in args.only}
    missing = {}
    for _ in range(args.repeats):
        for name in args.only:
            if name in missing:
                continue
            for python in dict.fromkeys((sys.executable, args.peers or sys.executable)):
                done = subprocess.run(
                    [python, __file__, "--run", name, str(path)], capture_output=True, text=True, check=False
                )
                if done.returncode == 0:
                    runs[name].append(json.loads(done.stdout.splitlines()[-1]))
                    break
            else:
                missing[name] = done.stderr.strip().splitlines()[-1]
    print(f"\n{storage}: {path.stat().st_size / 1e6:.0f} MB\n")
    print("| way | wall s | of the raw read | CPU s | memory MB | wrong bins |\n|---|---|---|---|---|---|")
    middle = {name: sorted(rows, key=lambda row: row["wall_s"])[len(rows) // 2] for name, rows in runs.items() if rows}
    raw_s = middle["raw read"]["wall_s"] if "raw read" in middle else np.nan
    for name, row in middle.items():
        wrong = "" if row["wrong"] is None else f"{row['wrong']}"
        print(
            f"| {name} | {row['wall_s']:.2f} | {row['wall_s'] / raw_s:.2f} | {row['cpu_s']:.2f} | {row['peak_mb']:.0f} "
            f"| {wrong} |"
        )
    for name, why in missing.items():
        print(f"\n{name}: left out ({why})")


def measured(name: str, path: Path) -> dict:
    """Wall and CPU time (s) and peak memory (MB) of a way, above what its imports took; bins that are wrong."""
    prepare, work = WAYS[name]
    tools = prepare()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    counts = work(path, tools)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak_mb = (after.ru_maxrss - before.ru_maxrss) * KIB / 1e6
    return {"wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": peak_mb, "wrong": n_wrong(counts, path)}


def n_wrong(counts, path: Path) -> int | None:
    """Bins whose count is not that of the integer reference. `counts`: one array a unit, from bin 0 on."""
    if counts is None:
        return None
    wrong = 0
    for samples, found in zip(reference(path), counts, strict=True):
        found = np.asarray(found).astype(int)
        expected = np.bincount(samples // SAMPLES_A_BIN, minlength=len(found))
        size = max(len(expected), len(found))
        wrong += np.count_nonzero(np.pad(expected, (0, size - len(expected))) != np.pad(found, (0, size - len(found))))
    return int(wrong)


def reference(path: Path):
    """Sample numbers of each unit."""
    with np.load(path.parent / "samples.npz") as saved:
        return np.split(saved["samples"], saved["stops"][:-1])


def make_files(folder: Path, n_units: int, duration_s: float, rate_hz: float) -> None:
    """Two NWB files of the same units, and samples.npz beside them."""
    from pynwb import NWBHDF5IO, NWBFile

    random = np.random.default_rng(0)
    rates_hz = random.lognormal(0, 0.7, n_units)
    rates_hz *= rate_hz / rates_hz.mean()
    n_samples = int(duration_s * RATE_HZ)
    samples = [np.unique(random.integers(0, n_samples, random.poisson(rate * duration_s))) for rate in rates_hz]
    np.savez(folder / "samples.npz", samples=np.concatenate(samples), stops=np.cumsum([len(one) for one in samples]))
    nwb = NWBFile("for a benchmark", "benchmark", datetime(2024, 1, 1, tzinfo=UTC))
    for _ in samples:
        nwb.add_unit(spike_times=[0.0])
    with NWBHDF5IO(folder / "unfiltered.nwb", "w") as io:
        io.write(nwb)
    shutil.copy(folder / "unfiltered.nwb", folder / "gzip.nwb")
    times_s, stops = np.concatenate(samples) / RATE_HZ, np.cumsum([len(one) for one in samples])
    for storage, options in (("unfiltered", {}), ("gzip", {"compression": "gzip", "chunks": True})):
        with h5py.File(folder / f"{storage}.nwb", "r+") as file:  # pynwb takes minutes to gather so many spikes
            put(file["units"], "spike_times", times_s, **options)
            put(file["units"], "spike_times_index", stops)
            file["units/spike_times_index"].attrs["target"] = file["units/spike_times"].ref
    print(
        f"{n_units} units, {duration_s / 3600:g} h, {sum(map(len, samples)) / 1e6:.1f} M spikes, bins of {BIN_S} s",
        flush=True,
    )


def put(table: h5py.Group, name: str, values: np.ndarray, **options) -> None:
    """Replace the values of a column, not its attributes."""
    attributes = dict(table[name].attrs)
    del table[name]
    table.create_dataset(name, data=values, **options).attrs.update(attributes)


def read_trains(path: Path) -> list[np.ndarray]:
    """Spike times of each unit, in one read."""
    with h5py.File(path) as nwb:
        times_s, stops = nwb["units/spike_times"][:], nwb["units/spike_times_index"][:].astype(int)
    return np.split(times_s, stops[:-1])


def n_bins_of(trains) -> int:
    return int(max(train[-1] for train in trains) / BIN_S + 1e-6) + 1


def raw_read(path: Path, _) -> None:
    with h5py.File(path) as nwb:
        nwb["units/spike_times"][:]


def with_duet():
    import pyarrow.pandas_compat  # noqa: F401  imported with the first table

    from pipeline.clock import shifted_clock
    from pipeline.neural.binning import bin_session
    from pipeline.neural.recording import open_recording
    from pipeline.neural.signals import traces, units  # noqa: F401  imported when a file is opened

    return open_recording, bin_session, shifted_clock(0.0, source="one clock")


def duet(path: Path, tools):
    open_recording, bin_session, clock = tools
    with open_recording(path) as recording:
        counts, _ = bin_session(
            recording,
            clock=clock,
            file_start_s=np.array([]),
            file_stop_s=np.array([]),
            bin_width_s=BIN_S,
            min_rate_hz=0.0,
            session="s",
            subject="a",
        )
    return _from_bin_0(counts)


def duet_dense(path: Path, tools):
    columns = duet(path, tools)
    first = next(columns)  # lays all of them out
    return itertools.chain([first], columns)


def _from_bin_0(counts):
    first = round(float(counts["bin"].values[0]) / BIN_S)
    return (np.pad(column, (first, 0)) for column in _columns(counts))


def _columns(counts):
    yield from counts["counts"].values.T


def with_step():
    from pipeline.config_file import load_config
    from pipeline.steps import bin as step

    with_duet()
    return step, load_config({"neural": {"min_rate_hz": 0.0}})


def duet_step(path: Path, tools):
    import xarray as xr

    step, config = tools
    folder = path.parent
    (folder / "sessions.tsv").write_text(f"session\tsubject\taudio\tnwb\ns\ta\t\t{path.name}\n")
    empty = xr.Dataset({"file_start_s": ("file", np.empty(0)), "file_stop_s": ("file", np.empty(0))})
    empty.to_netcdf(folder / "spectrogram.nc", engine="h5netcdf")
    arguments = argparse.Namespace(
        sheet=str(folder / "sessions.tsv"),
        session="s",
        spectrogram=str(folder / "spectrogram.nc"),
        out=str(folder / "counts.nc"),
        units_out=str(folder / "units.parquet"),
    )
    step.run(arguments, config)
    return _from_file(folder / "counts.nc")


def _from_file(path: Path):
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf") as counts:
        yield from _from_bin_0(counts)


def histogram(path: Path, _):
    trains = read_trains(path)
    edges_s = np.arange(n_bins_of(trains) + 1) * BIN_S
    return np.array([np.histogram(train, edges_s)[0] for train in trains])


def floor_division(path: Path, _):
    trains = read_trains(path)
    n_bins = n_bins_of(trains)
    return np.array([np.bincount((train // BIN_S).astype(int), minlength=n_bins) for train in trains])


def with_elephant():
    import neo
    import quantities
    from elephant.conversion import BinnedSpikeTrain

    return neo, quantities, BinnedSpikeTrain


def elephant(path: Path, tools):
    neo, quantities, binned = tools
    trains = read_trains(path)
    stop_s = n_bins_of(trains) * BIN_S
    spikes = [neo.SpikeTrain(train, units="s", t_start=0.0, t_stop=stop_s) for train in trains]
    matrix = binned(spikes, bin_size=BIN_S * quantities.s, t_start=0 * quantities.s, t_stop=stop_s * quantities.s)
    return (row.toarray()[0] for row in matrix.sparse_matrix)


def with_pynapple():
    import pynapple

    return pynapple


def pynapple(path: Path, nap):
    trains = read_trains(path)
    stop_s = n_bins_of(trains) * BIN_S
    group = nap.TsGroup({unit: nap.Ts(train) for unit, train in enumerate(trains)})
    return group.count(BIN_S, ep=nap.IntervalSet(0.0, stop_s)).values.T


def with_spikeinterface():
    from spikeinterface.extractors import read_nwb_sorting

    return read_nwb_sorting


def spikeinterface(path: Path, read_nwb_sorting):
    sorting = read_nwb_sorting(str(path), sampling_frequency=float(RATE_HZ), t_start=0.0)
    spikes = sorting.to_spike_vector()
    n_bins = int(spikes["sample_index"].max() // SAMPLES_A_BIN) + 1
    place = spikes["unit_index"] * n_bins + spikes["sample_index"] // SAMPLES_A_BIN
    return np.bincount(place, minlength=n_bins * len(sorting.unit_ids)).reshape(-1, n_bins)


def nothing():
    return None


WAYS = {
    "raw read": (nothing, raw_read),
    "Duet, read and count": (with_duet, duet),
    "Duet, and all bins laid out in memory": (with_duet, duet_dense),
    "Duet, whole step with files written": (with_step, duet_step),
    "np.histogram": (nothing, histogram),
    "t // dt and np.bincount": (nothing, floor_division),
    "elephant": (with_elephant, elephant),
    "pynapple": (with_pynapple, pynapple),
    "spikeinterface": (with_spikeinterface, spikeinterface),
}


if __name__ == "__main__":
    main()
