"""A planted session without files: calls in bouts, and units that follow pitch, any call, or nothing."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

DT = 0.01
EDGES_HZ = 40_000 + 3000.0 * np.arange(21)
BANDS_HZ = ((52_000, 61_000), (73_000, 83_000))
LAG_S = 0.03


@dataclass
class Planted:
    calls: pd.DataFrame
    counts: np.ndarray  # (n_bins, n_units)
    kind: np.ndarray  # 0, 1: band; 2: any call; 3: unrelated
    bin_start_s: np.ndarray


def song(generator, duration_s: float) -> pd.DataFrame:
    rows, now, bout = [], 1.0, 0
    while now < duration_s - 12:
        stop = now + generator.uniform(4, 9)
        mood = generator.normal(0, 5000)
        while now < stop:
            length = float(np.clip(generator.lognormal(np.log(0.06), 0.4), 0.02, 0.12))
            time_s = now + np.linspace(0, length, 12)
            slope, middle = generator.normal(0, 6000), generator.uniform(50_000, 90_000) + mood
            pitch = np.clip(middle + slope * np.linspace(-1, 1, 12), 42_000, 99_000)
            level = generator.normal(20, 4)
            rows.append(
                {
                    "call": len(rows),
                    "bout": bout,
                    "start_s": now,
                    "stop_s": now + length,
                    "level_db": level,
                    "contour_s": time_s,
                    "contour_hz": pitch,
                    "contour_db": np.full(12, level),
                }
            )
            now += length + generator.uniform(0.03, 0.1)
        now += generator.uniform(1.5, 4.0) * (1 + now / duration_s)
        bout += 1
    return pd.DataFrame(rows)


def fire(calls, generator, *, duration_s, n_units, gain):
    """Counts and kinds; log-normal rates, gamma noise and slow drift."""
    n_bins = int(duration_s / DT)
    centre_s = (np.arange(n_bins) + 0.5) * DT
    pitch = np.zeros(n_bins)
    for call in calls.itertuples():
        at = (centre_s >= call.start_s) & (centre_s < call.stop_s)
        pitch[at] = np.interp(centre_s[at], call.contour_s, call.contour_hz)
    pitch = np.roll(pitch, round(LAG_S / DT))
    kind = np.repeat([0, 1, 2, 3], n_units)
    rates = 6 * np.exp(0.3 * generator.standard_normal(len(kind)))
    drive = np.ones((n_bins, len(kind)))
    for band, (low, high) in enumerate(BANDS_HZ):
        curve = np.exp2(-4 * ((pitch - (low + high) / 2) / (high - low)) ** 2) * (pitch > 0)
        drive[:, kind == band] += (gain - 1) * curve[:, None]
    drive[:, kind == 2] += (gain - 1) * (pitch > 0)[:, None]
    phase = 2 * np.pi * generator.random(len(kind))
    drift = np.exp(0.4 * np.cos(2 * np.pi * centre_s[:, None] / duration_s + phase))
    noise = np.repeat(generator.gamma(2, 0.5, (n_bins // 10 + 1, len(kind))), 10, axis=0)[:n_bins]
    return generator.poisson(rates * drive * drift * noise * DT), kind
