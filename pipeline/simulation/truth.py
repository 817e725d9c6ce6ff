"""What was planted, as truth.json holds it."""

from dataclasses import asdict

import numpy as np

from pipeline.simulation.neurons import Unit, planted_bands
from pipeline.simulation.plan import Plan
from pipeline.simulation.vocal_organ import Call


def bands_truth(plan: Plan) -> list[dict]:
    """The bands that there are to find."""
    bands = planted_bands(scenario=plan.scenario, tuning=plan.tuning, band_width=plan.band_width, gain=plan.gain)
    return [{"cluster": index, "best_hz": band.best_hz, **asdict(band)} for index, band in enumerate(bands)]


def unit_truth(unit: Unit, plan: Plan) -> dict:
    """A unit; units that follow a song which was not recorded are of kind `other_session` and in no cluster."""
    follows_song = unit.kind not in ("unrelated", "movement")
    elsewhere = follows_song and plan.scenario == "other_session"
    own = unit.bands[0] if len(unit.bands) == 1 else None
    return {
        "kind": "other_session" if elsewhere else unit.kind,
        "cluster": -1 if elsewhere else unit.cluster,
        "low_hz": own and round(own.low_hz, 1),
        "high_hz": own and round(own.high_hz, 1),
        "best_hz": own and round(own.best_hz, 1),
        "bands_hz": [[round(band.low_hz, 1), round(band.high_hz, 1)] for band in unit.bands],
        "lag_s": round(unit.lag_s, 5) if follows_song else None,
        "gain": unit.gain,
        "sign": int(np.sign(unit.gain - 1)),
        "baseline_hz": round(unit.baseline_hz, 4),
        "trend": round(unit.trend, 4),
    }


def call_truth(call: Call) -> dict:
    """A call; values that change within it are means, unless their names say otherwise."""
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
