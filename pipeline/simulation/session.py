"""Whole sessions as a lab would deliver them, audio and NWB on two clocks, with the truth about them."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.seeds import numpy_generator
from pipeline.simulation.firing import SPIKE_CLOCK_HZ, Heard, draw_spikes
from pipeline.simulation.movement import SPEED_RATE_HZ, running_speed, singing
from pipeline.simulation.nwb_file import SPEED_SERIES, write_nwb
from pipeline.simulation.plan import Plan, draw_cast
from pipeline.simulation.truth import bands_truth, call_truth, unit_truth
from pipeline.simulation.vocal_organ import write_audio
from pipeline.storage import write_table

REGIONS = ("PAG", "AUDp")

_OFFSET_RANGE_S, _DRIFT_RANGE_PPM = (4.0, 7.0), (10.0, 40.0)
_MARGIN_S = 2.0  # the neural recording runs on after the audio
_PULSE_GAP_S = (1.0, 3.0)


def animals_of_sessions(*, n_sessions: int, sessions_per_animal: int) -> dict[str, str]:
    """Animal of each session, by name: mouse1, mouse2, ... or, where animals have several, mouse1_day1, ..."""
    animals = {}
    for index in range(n_sessions):
        animal, day = divmod(index, sessions_per_animal)
        name = f"mouse{animal + 1}"
        animals[f"{name}_day{day + 1}" if sessions_per_animal > 1 else name] = name
    return animals


def simulate_sessions(
    *, out_dir: str | Path, seed: int, n_sessions: int, sessions_per_animal: int, plan: Plan, n_processes: int
) -> dict:
    """Write `n_sessions` sessions into `out_dir` and return the truth about all of them, as JSON can hold it.

    Each session has its own song, clocks and units; the planted bands are the same in all.
    """
    one = partial(simulate_session, out_dir=out_dir, seed=seed, plan=plan)
    animals = animals_of_sessions(n_sessions=n_sessions, sessions_per_animal=sessions_per_animal)
    if min(n_processes, n_sessions) > 1:
        with ProcessPoolExecutor(min(n_processes, n_sessions)) as pool:
            sessions = list(pool.map(one, animals, animals.values()))
    else:
        sessions = [one(name, animal) for name, animal in animals.items()]
    return {"bands": bands_truth(plan), "sessions": dict(zip(animals, sessions, strict=True))}


def simulate_session(name: str, animal: str, *, out_dir: str | Path, seed: int, plan: Plan) -> dict:
    """Write NAME.wav, NAME.nwb and NAME_sync.csv (audio_s, nwb_s) into `out_dir`; return the truth of the session."""
    out_dir = Path(out_dir)
    cast = draw_cast(name, seed=seed, plan=plan)
    write_audio(
        cast.all_calls,
        out_dir / f"{name}.wav",
        duration_s=plan.duration_s,
        rate_hz=plan.rate_hz,
        harmonic_db=plan.harmonic_db,
        noise_db=plan.noise_db,
        generator=numpy_generator(seed, name, "noise"),
    )
    clocks = numpy_generator(seed, name, "clocks")
    offset_s = round(clocks.uniform(*_OFFSET_RANGE_S), 3)
    drift_ppm = round(clocks.uniform(*_DRIFT_RANGE_PPM) * clocks.choice([-1, 1]), 2)
    clock = {"offset_s": offset_s, "drift_ppm": drift_ppm}
    pulses = _pulses(duration_s=plan.duration_s, rate_hz=plan.rate_hz, generator=clocks, **clock)
    write_table(pulses, out_dir / f"{name}_sync.csv")

    neural_s = float(np.ceil(offset_s + plan.duration_s * (1 + drift_ppm / 1e6) + _MARGIN_S))
    speed_m_s = None
    if plan.n_movement:
        speed_m_s = running_speed(
            cast.calls,
            duration_s=neural_s,
            correlation=plan.movement_correlation,
            generator=numpy_generator(seed, name, "movement"),
            **clock,
        )
    heard = Heard.of(cast.heard_calls, **clock)
    spikes = [
        draw_spikes(
            unit,
            heard,
            speed_m_s=speed_m_s,
            duration_s=neural_s,
            drift_sd=plan.drift_sd,
            generator=numpy_generator(seed, name, "spikes", row),
        )
        for row, unit in enumerate(cast.units)
    ]
    regions = numpy_generator(seed, name, "regions").choice(REGIONS, len(cast.units)).tolist()
    write_nwb(
        out_dir / f"{name}.nwb",
        name=name,
        subject=animal,
        spikes=spikes,
        regions=regions,
        speed_m_s=speed_m_s,
        observed_s=neural_s,
    )
    truth = {
        "subject": animal,
        "duration_s": plan.duration_s,
        "neural_duration_s": neural_s,
        **clock,
        "calls": [call_truth(call) for call in cast.calls],
        "units": {
            f"{name}|units|{row}": unit_truth(unit, plan) | {"region": region, "n_spikes": len(times)}
            for row, (unit, region, times) in enumerate(zip(cast.units, regions, spikes, strict=True))
        },
    }
    if cast.second_calls:
        truth["second_animal_calls"] = [call_truth(call) for call in cast.second_calls]
    if plan.scenario == "other_session":
        truth["other_session_calls"] = [call_truth(call) for call in cast.heard_calls]
    if speed_m_s is not None:
        sung = singing(cast.calls, n_samples=len(speed_m_s), **clock)
        correlation = np.corrcoef(speed_m_s, sung)[0, 1]
        truth["movement"] = {"series": SPEED_SERIES, "rate_hz": SPEED_RATE_HZ, "correlation": round(correlation, 4)}
    return truth


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
