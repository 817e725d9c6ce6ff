"""Whole sessions as a lab would deliver them, audio and NWB on two clocks, with the truth about them."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.seeds import numpy_generator
from pipeline.simulation.neurons import SPIKE_CLOCK_HZ, Unit, draw_spikes, draw_units, planted_bands
from pipeline.simulation.vocal_organ import Call, sing, write_audio
from pipeline.storage import write_table, written_whole

REGIONS = ("PAG", "AUDp")

_OFFSET_RANGE_S, _DRIFT_RANGE_PPM = (4.0, 7.0), (10.0, 40.0)
_RECORDED = datetime(2024, 1, 1, 12, tzinfo=UTC)  # NWB wants a date; a fixed one keeps files alike
_MARGIN_S = 2.0  # the neural recording runs on after the audio
_PULSE_GAP_S = (1.0, 3.0)


def session_names(n_sessions: int) -> list[str]:
    """Names of the sessions, which are also those of the animals: mouse1, mouse2, ..."""
    return [f"mouse{number}" for number in range(1, n_sessions + 1)]


def simulate_sessions(
    *,
    out_dir: str | Path,
    seed: int,
    n_sessions: int,
    duration_s: float,
    rate_hz: int,
    tuning: Literal["bands", "continuum"],
    gain: float,
    units_per_band: int,
    n_vocal: int,
    n_unrelated: int,
    n_processes: int,
) -> dict:
    """Write `n_sessions` sessions into `out_dir` and return the truth about all of them, as JSON can hold it.

    Each session has its own animal, song, clocks and units; the planted bands are the same in all.
    """
    one = partial(
        simulate_session,
        out_dir=out_dir,
        seed=seed,
        duration_s=duration_s,
        rate_hz=rate_hz,
        tuning=tuning,
        gain=gain,
        units_per_band=units_per_band,
        n_vocal=n_vocal,
        n_unrelated=n_unrelated,
    )
    names = session_names(n_sessions)
    if min(n_processes, n_sessions) > 1:
        with ProcessPoolExecutor(min(n_processes, n_sessions)) as pool:
            sessions = list(pool.map(one, names))
    else:
        sessions = [one(name) for name in names]
    bands = planted_bands(tuning=tuning, gain=gain)
    return {
        "bands": [{"cluster": index, "best_hz": band.best_hz, **asdict(band)} for index, band in enumerate(bands)],
        "sessions": dict(zip(names, sessions, strict=True)),
    }


def simulate_session(
    name: str,
    *,
    out_dir: str | Path,
    seed: int,
    duration_s: float,
    rate_hz: int,
    tuning: Literal["bands", "continuum"],
    gain: float,
    units_per_band: int,
    n_vocal: int,
    n_unrelated: int,
) -> dict:
    """Write NAME.wav, NAME.nwb and NAME_sync.csv (audio_s, nwb_s) into `out_dir`; return the truth of the session."""
    out_dir = Path(out_dir)
    calls = sing(duration_s=duration_s, generator=numpy_generator(seed, name, "song"))
    write_audio(
        calls,
        out_dir / f"{name}.wav",
        duration_s=duration_s,
        rate_hz=rate_hz,
        generator=numpy_generator(seed, name, "noise"),
    )
    clocks = numpy_generator(seed, name, "clocks")
    offset_s = round(clocks.uniform(*_OFFSET_RANGE_S), 3)
    drift_ppm = round(clocks.uniform(*_DRIFT_RANGE_PPM) * clocks.choice([-1, 1]), 2)
    pulses = _pulses(duration_s=duration_s, offset_s=offset_s, drift_ppm=drift_ppm, rate_hz=rate_hz, generator=clocks)
    write_table(pulses, out_dir / f"{name}_sync.csv")

    units = draw_units(
        tuning=tuning,
        gain=gain,
        units_per_band=units_per_band,
        n_vocal=n_vocal,
        n_unrelated=n_unrelated,
        generator=numpy_generator(seed, name, "units"),
    )
    neural_s = float(np.ceil(offset_s + duration_s * (1 + drift_ppm / 1e6) + _MARGIN_S))
    spikes = [
        draw_spikes(
            unit,
            calls,
            duration_s=neural_s,
            offset_s=offset_s,
            drift_ppm=drift_ppm,
            generator=numpy_generator(seed, name, "spikes", row),
        )
        for row, unit in enumerate(units)
    ]
    regions = numpy_generator(seed, name, "regions").choice(REGIONS, len(units)).tolist()
    write_nwb(out_dir / f"{name}.nwb", name=name, spikes=spikes, regions=regions, observed_s=neural_s)
    return {
        "subject": name,
        "duration_s": duration_s,
        "neural_duration_s": neural_s,
        "offset_s": offset_s,
        "drift_ppm": drift_ppm,
        "calls": [_call_truth(call) for call in calls],
        "units": {
            f"{name}|units|{row}": _unit_truth(unit) | {"region": region, "n_spikes": len(times)}
            for row, (unit, region, times) in enumerate(zip(units, regions, spikes, strict=True))
        },
    }


def _pulses(
    *, duration_s: float, offset_s: float, drift_ppm: float, rate_hz: int, generator: np.random.Generator
) -> pd.DataFrame:
    """Pulses at random intervals, as each of the two machines stamped them on its own sample grid."""
    gaps_s = generator.uniform(*_PULSE_GAP_S, int(duration_s / _PULSE_GAP_S[0]))
    audio_s = np.cumsum(gaps_s) - gaps_s[0] / 2
    audio_s = audio_s[audio_s < duration_s]
    nwb_s = offset_s + (1 + drift_ppm / 1e6) * audio_s
    stamped = {
        "audio_s": np.floor(audio_s * rate_hz) / rate_hz,
        "nwb_s": np.floor(nwb_s * SPIKE_CLOCK_HZ) / SPIKE_CLOCK_HZ,
    }
    return pd.DataFrame(stamped).round(6)


def write_nwb(
    path: str | Path, *, name: str, spikes: Sequence[np.ndarray], regions: Sequence[str], observed_s: float
) -> None:
    """Write an NWB file with a units table: row i fired at `spikes[i]` (seconds) at an electrode in `regions[i]`."""
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.file import Subject

    file = NWBFile(
        session_description="simulated song and spikes",
        identifier=f"simulated-{name}",
        session_start_time=_RECORDED,
        session_id=name,
        experiment_description="simulated: no animal was recorded",
        subject=Subject(subject_id=name, species="Mus musculus", sex="U", age="P90D", description="simulated animal"),
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
    with written_whole(path) as partial_path, NWBHDF5IO(str(partial_path), "w") as io:
        io.write(file)


def _call_truth(call: Call) -> dict:
    pitch_hz = call.pitch_hz
    return {
        "bout": call.bout,
        "start_s": round(call.start_s, 6),
        "stop_s": round(call.stop_s, 6),
        "mean_hz": round(float(pitch_hz.mean()), 1),
        "low_hz": round(float(pitch_hz.min()), 1),
        "high_hz": round(float(pitch_hz.max()), 1),
        "first_hz": round(float(pitch_hz[0]), 1),
        "last_hz": round(float(pitch_hz[-1]), 1),
        "level_db": round(float(call.level_db.mean()), 2),
        "pressure_pa": round(float(call.pressure_pa.mean()), 1),
        "length_m": round(float(call.length_m.mean()), 7),
        "modes": sorted(int(mode) for mode in set(call.mode)),
    }


def _unit_truth(unit: Unit) -> dict:
    band = unit.band
    return {
        "kind": unit.kind,
        "cluster": unit.cluster,
        "low_hz": band and round(band.low_hz, 1),
        "high_hz": band and round(band.high_hz, 1),
        "best_hz": band and round(band.best_hz, 1),
        "lag_s": None if unit.kind == "unrelated" else round(unit.lag_s, 5),
        "gain": unit.gain,
        "baseline_hz": round(unit.baseline_hz, 4),
    }
