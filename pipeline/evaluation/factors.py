"""What is known of the sound of a clip, whatever made it: its pitch, its level, how long it sounds; and its call type.

The first three are read from the log spectrogram alone, so that a decoded clip has them as a recorded one does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.clips import SessionClips
from pipeline.evaluation.heldout import with_modalities
from pipeline.evaluation.planted import Song
from pipeline.evaluation.scores import resampling_blocks

FACTORS = {"pitch": "Hz", "level": "dB", "duration": "s"}
CALL_TYPE = "call type"
FEWEST_OF_A_TYPE = 10  # clips of a split
MOST_CLIPS = 4000  # of a split; more, evenly thinned, only cost time


@dataclass(frozen=True)
class KnownClips:
    """The clips of one session that have certain modalities, by split, and the factors of their sound.

    clips: train, validation and test, none of them empty. factors: by split and factor, shape (n_clips,), NaN where a
    clip has none; of simulated sessions those of `Song.within` too, of labelled ones those of `type_factors`. blocks:
    of the test clips, shape (n_clips,).
    """

    clips: dict[str, SessionClips]
    factors: dict[str, dict[str, np.ndarray]]
    blocks: np.ndarray

    def usable(self, factor: str) -> bool:
        """Whether `factor` is known and varies in every split."""
        known = [found[factor][np.isfinite(found[factor])] for found in self.factors.values() if factor in found]
        return len(known) == len(self.factors) and all(len(values) > 1 and np.ptp(values) > 0 for values in known)

    @property
    def decodable(self) -> dict[str, list[str]]:
        """Factors of the sound that can be scored, and the names in `factors` that each is made of."""
        types = [name for name in self.factors["test"] if name.startswith(f"{CALL_TYPE} ")]
        found = {name: [name] for name in FACTORS if self.usable(name)}
        return found | ({CALL_TYPE: types} if types else {})


def known_clips(
    session: SessionClips, *, modalities: Sequence[str], min_peak_db: float, chunk_s: float, song: Song | None = None
) -> KnownClips | None:
    """The clips of `session` that have all of `modalities`, sound among them; None where a split has none.

    min_peak_db: see `sound_factors`. chunk_s: see `resampling_blocks`. song: what a simulated session planted.
    """
    clips = {}
    for split in ("train", "validation", "test"):
        chosen = with_modalities(session.where(split), tuple(modalities))
        if not len(chosen) or "audio" not in modalities:
            return None
        clips[split] = chosen.take(np.arange(len(chosen))[:: -(-len(chosen) // MOST_CLIPS)])
    factors = {
        split: sound_factors(
            part.spectrogram, frequency_hz=part.frequency_hz, frame_s=part.frame_s, min_peak_db=min_peak_db
        )
        for split, part in clips.items()
    }
    if song is not None and song.fits(clips["train"], sounds=np.isfinite(factors["train"]["pitch"])):
        factors = {split: found | song.within(clips[split]) for split, found in factors.items()}
    types = type_factors({split: part.label for split, part in clips.items()})
    factors = {split: found | types[split] for split, found in factors.items()}
    test = clips["test"]
    return KnownClips(clips, factors, resampling_blocks(bout=test.bout, start_s=test.start_s, chunk_s=chunk_s))


def type_factors(labels: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Whether a clip is of each call type: by split and `call type NAME`, 0 or 1 of shape (n_clips,), NaN unlabelled.

    labels: by split, shape (n_clips,), "" where a clip has none. Types with fewer than `FEWEST_OF_A_TYPE` clips in any
    split are left out; there is none where fewer than two are left.
    """
    names = sorted(set(labels["train"]) - {""})
    names = [name for name in names if min((of == name).sum() for of in labels.values()) >= FEWEST_OF_A_TYPE]
    return {
        split: {f"{CALL_TYPE} {name}": np.where(of == "", np.nan, of == name) for name in names if len(names) > 1}
        for split, of in labels.items()
    }


def sound_factors(
    spectrogram: np.ndarray, *, frequency_hz: np.ndarray, frame_s: np.ndarray, min_peak_db: float
) -> dict[str, np.ndarray]:
    """Pitch (Hz), level (dB) and duration (s) of clips (n_clips, n_frequencies, n_frames), dB; shape (n_clips,) each.

    pitch: the mean frequency of all cells, weighted by their power; NaN where no cell reaches `min_peak_db`. level:
    the mean of all cells, linear in them, so that it survives the averaging of a decoder. duration: the time of the
    frames whose loudest band reaches `min_peak_db`.
    """
    peak_db = spectrogram.max(axis=1)  # (n_clips, n_frames)
    loudest_db = peak_db.max(axis=1)
    power = np.power(10.0, (spectrogram - loudest_db[:, None, None]) / 10, dtype=np.float32).sum(axis=2)
    pitch_hz = (power @ frequency_hz) / power.sum(axis=1)
    frame_width_s = frame_s[1] - frame_s[0] if len(frame_s) > 1 else 0.0
    return {
        "pitch": np.where(loudest_db >= min_peak_db, pitch_hz, np.nan),
        "level": spectrogram.mean(axis=(1, 2), dtype=np.float64),
        "duration": (peak_db >= min_peak_db).sum(axis=1) * float(frame_width_s),
    }
