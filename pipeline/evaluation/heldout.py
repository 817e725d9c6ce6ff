"""The clips that a score is taken on, and what the training clips say about them in advance."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.clips import SessionClips
from pipeline.evaluation.scores import (
    Ratio,
    bits_per_bin,
    bits_per_spike,
    explained_count_variance,
    explained_variance,
    mean_counts,
    peak_frequency_error,
    resampling_blocks,
)

SPLITS = ("validation", "test")  # chosen on the first, reported on the second


@dataclass(frozen=True)
class HeldOut:
    """Clips of one split in which some modalities are present, with their blocks and the training clips' means.

    blocks: shape (n_clips,). mean_counts: a bin, shape (n_units,). mean_extra: the same of further modalities, by name.
    mean_spectrogram: dB, (n_frequencies, n_frames).
    """

    clips: SessionClips
    split: str
    blocks: np.ndarray
    mean_counts: np.ndarray
    mean_spectrogram: np.ndarray
    min_peak_db: float
    mean_extra: dict[str, np.ndarray]

    @property
    def noise_sd(self) -> np.ndarray:
        """SD of each unit's counts in a bin if nothing drives them (Poisson), shape (n_units,); traces are in SDs."""
        return np.sqrt(self.mean_counts) if self.clips.kind == "spikes" else np.ones_like(self.mean_counts)

    def thinned(self, n_clips: int) -> "HeldOut":
        """At most `n_clips` of these clips, evenly spread."""
        chosen = np.unique(np.linspace(0, len(self.clips) - 1, min(n_clips, len(self.clips))).round().astype(int))
        blocks = np.unique(self.blocks[chosen], return_inverse=True)[1]
        return replace(self, clips=self.clips.take(chosen), blocks=blocks)

    def scores(self, target: str, predicted: np.ndarray) -> dict[tuple[str, str], Ratio]:
        """Scores of a prediction of `target` for these clips, by (metric, its unit).

        predicted: expected counts (n_clips, n_units, n_bins), with one score a unit, or dB (n_clips, n_frequencies,
        n_frames). Further modalities are scored as counts or traces are.
        """
        common = {"predicted": predicted, "blocks": self.blocks}
        if target != "audio":
            series = self.clips.series(target)
            common |= {"reference": self.mean_counts if target == "neural" else self.mean_extra[target]}
            found = {("explained_variance", "1"): explained_count_variance(counts=series.values, **common)}
            if series.kind == "traces":
                found["bits_per_bin", "bits/bin"] = bits_per_bin(traces=series.values, **common)
            elif np.all(predicted > 0):  # a Gaussian model of counts may predict fewer than none
                found["bits_per_spike", "bits/spike"] = bits_per_spike(counts=series.values, **common)
            return found
        common["truth"] = self.clips.spectrogram
        return {
            ("explained_variance", "1"): explained_variance(reference=self.mean_spectrogram, **common),
            ("peak_frequency_error", "Hz"): peak_frequency_error(
                frequency_hz=self.clips.frequency_hz, min_peak_db=self.min_peak_db, **common
            ),
        }


def with_modalities(clips: SessionClips, modalities: tuple[str, ...]) -> SessionClips:
    """The clips in which all of `modalities` are present."""
    return clips.take(np.flatnonzero(clips.has(modalities)))


def held_out(
    clips: SessionClips, *, split: str, modalities: tuple[str, ...], chunk_s: float, min_peak_db: float
) -> HeldOut | None:
    """The clips of `split` in which all of `modalities` are present, or None where there are none to score.

    Means come from the training clips that have the modality. chunk_s: see `resampling_blocks`. min_peak_db: frames
    whose peak is lower have no peak frequency.
    """
    chosen = with_modalities(clips.where(split), modalities)
    training = {modality: with_modalities(clips.where("train"), (modality,)) for modality in modalities}
    if not len(chosen) or not all(len(known) for known in training.values()):
        return None
    shape = clips.spectrogram.shape[1:]
    means = {
        name: mean_counts(known.series(name).values, kind=clips.series(name).kind)
        for name, known in training.items()
        if name != "audio"
    }
    return HeldOut(
        clips=chosen,
        split=split,
        blocks=resampling_blocks(bout=chosen.bout, start_s=chosen.start_s, chunk_s=chunk_s),
        mean_counts=means.pop("neural", np.full(len(clips.unit_ids), np.nan)),
        mean_extra=means,
        mean_spectrogram=training["audio"].spectrogram.mean(axis=0) if "audio" in training else np.full(shape, np.nan),
        min_peak_db=min_peak_db,
    )
