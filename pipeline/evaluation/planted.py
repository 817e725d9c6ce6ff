"""What sang, where it is known: pressure, length and pitch of simulated calls, from the truth.json of `duet simulate`.

A recording has no such truth; nothing else of the evaluation rests on it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from warnings import warn

import numpy as np

from pipeline.clips import SessionClips
from pipeline.errors import InputError

LOG_VALUES = {"planted_pitch": "mean_hz", "pressure": "pressure_pa", "length": "length_m"}
COLUMNS = ("start_s", "stop_s", "level_db", *LOG_VALUES.values())
SHORTEST_S = 1e-6  # of sound; less is rounding
LEAST_COVERED = 0.8  # of the clips with sound; where fewer hold a planted call, clips and truth are on different clocks


@dataclass(frozen=True)
class Song:
    """The calls of a simulated session, audio seconds and mean values, shape (n_calls,) each.

    values: by name, natural logarithms of Hz, Pa and m, and `planted_level` in dB. Session seconds are
    offset_s + (1 + drift_ppm / 1e6) * audio seconds.
    """

    session: str
    start_s: np.ndarray
    stop_s: np.ndarray
    values: dict[str, np.ndarray]
    offset_s: float
    drift_ppm: float

    def within(self, clips: SessionClips) -> dict[str, np.ndarray]:
        """Means over the calls that sound in each clip, weighted by their time in it, and `planted_duration` (s).

        Shape (n_clips,) each; values of clips without a call are NaN, their duration is 0.
        """
        step_s = clips.frame_s[1] - clips.frame_s[0] if len(clips.frame_s) > 1 else 0.0
        from_s, to_s = clips.start_s + clips.frame_s[0] - step_s / 2, clips.start_s + clips.frame_s[-1] + step_s / 2
        slope, offset_s = (1 + self.drift_ppm / 1e6, self.offset_s) if clips.unit_ids else (1.0, 0.0)
        start_s, stop_s = offset_s + slope * self.start_s, offset_s + slope * self.stop_s

        def summed(values: np.ndarray) -> np.ndarray:
            """Integral over each clip of the sum of `values` (n_calls,) of the calls that sound, (n_clips,)."""
            at_s, change = np.concatenate([start_s, stop_s]), np.concatenate([values, -values])
            order = np.argsort(at_s, kind="stable")
            steps = np.cumsum(change[order])[:-1] * np.diff(at_s[order])
            integral = np.concatenate([[0.0], np.cumsum(steps)])
            return np.interp(to_s, at_s[order], integral) - np.interp(from_s, at_s[order], integral)

        duration_s = summed(np.ones_like(start_s))
        duration_s[duration_s < SHORTEST_S] = 0.0
        known = duration_s > 0
        means = {
            name: np.divide(summed(values), duration_s, out=np.full(len(clips), np.nan), where=known)
            for name, values in self.values.items()
        }
        return means | {"planted_duration": duration_s}

    def fits(self, clips: SessionClips, *, sounds: np.ndarray) -> bool:
        """Whether nearly all clips that have sound, `sounds` (n_clips,), hold a planted call; warns if not."""
        covered = float(np.mean(self.within(clips)["planted_duration"][sounds] > 0)) if sounds.any() else 0.0
        if covered < LEAST_COVERED:
            warn(
                f"session {self.session}: {100 * (1 - covered):.0f} % of the clips with sound hold no planted call; "
                "pressure and length are left out (is this the truth of these recordings, on their clocks?)",
                stacklevel=2,
            )
        return covered >= LEAST_COVERED


def read_truth(path: str | Path) -> dict:
    """The truth.json of `duet simulate`.

    Raises InputError where it cannot be read.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("cannot read the truth", where=path, found=error) from error


def planted_songs(truth: dict) -> dict[str, Song]:
    """The song of each session of a truth, of all animals that sang in it, by session."""
    songs = {}
    for session, told in truth.get("sessions", {}).items():
        calls = [*told["calls"], *told.get("second_animal_calls", [])]
        column = {key: np.array([call[key] for call in calls], float) for key in COLUMNS}
        values = {name: np.log(column[key]) for name, key in LOG_VALUES.items()} | {"planted_level": column["level_db"]}
        clock = {"offset_s": told["offset_s"], "drift_ppm": told["drift_ppm"]}
        songs[session] = Song(session, column["start_s"], column["stop_s"], values, **clock)
    return songs
