"""Clips: short windows of sound and of counts around them, both on one grid, ready for a model."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.storage import read_dataset

if TYPE_CHECKING:
    import xarray as xr

MODALITIES = ("audio", "neural")  # those that every file of clips has columns for
MISSING_COUNT = -1


@dataclass(frozen=True)
class Series:
    """What one modality other than sound is in the bins of the clips.

    `values`  Shape (n_clips, n_channels, n_bins), float32; NaN where missing. By `kind`: "spikes", their number in a
              bin; "traces", less their mean over training, in SDs.
    `channels`  names of units, electrodes' bands, covariates.
    """

    values: np.ndarray
    channels: list[str]
    kind: str


@dataclass
class SessionClips:
    """The clips of one session, in memory.

    `spectrogram`  Shape (n_clips, n_frequencies, n_frames), float32 dB above the noise floor; NaN without audio.
    `counts`       Shape (n_clips, n_units, n_bins), float32; NaN where the bin is missing. By `kind`: "spikes", their
                   number in a bin; "traces" (calcium, band power of LFP), less their mean over training, in SDs.
    `present`      Shape (n_clips, n_modalities), bool: audio, neural, then those of `extra`; all but audio are present
                   if at least one of their numbers is.
    `start_s`      Shape (n_clips,), session seconds; `call`, `bout` (-1: none), `split` and `label` (of the call, ""
                   where there is none; by default of all) likewise.
    `frame_s`, `bin_s`  seconds after the clip's start: frame centres and bin starts.
    `extra`        further modalities by name, in the bins of the counts; one that the session lacks has no channels.
    """

    session: str
    subject: str
    spectrogram: np.ndarray
    counts: np.ndarray
    present: np.ndarray
    start_s: np.ndarray
    call: np.ndarray
    bout: np.ndarray
    split: np.ndarray
    unit_ids: list[str]
    frequency_hz: np.ndarray
    frame_s: np.ndarray
    bin_s: np.ndarray
    bin_width_s: float
    kind: str = "spikes"
    label: np.ndarray | None = None
    extra: dict[str, Series] = field(default_factory=dict)

    def __post_init__(self):
        if self.label is None:
            self.label = np.full(len(self), "")

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the columns of `present`."""
        return (*MODALITIES, *self.extra)

    def has(self, modalities: Sequence[str]) -> np.ndarray:
        """Which clips hold all of `modalities`, bool (n_clips,)."""
        return self.present[:, [self.modalities.index(name) for name in modalities]].all(axis=1)

    def series(self, modality: str) -> Series:
        """The counts, or one of `extra`."""
        return Series(self.counts, self.unit_ids, self.kind) if modality == "neural" else self.extra[modality]

    def where(self, split: str) -> "SessionClips":
        """The clips of one split: train, validation, test or guard."""
        return self.take(np.flatnonzero(self.split == split))

    def take(self, indices: Sequence[int] | np.ndarray) -> "SessionClips":
        """The clips at `indices`, in that order."""
        names = ("spectrogram", "counts", "present", "start_s", "call", "bout", "split", "label")
        extra = {name: replace(series, values=series.values[indices]) for name, series in self.extra.items()}
        return replace(self, **{name: getattr(self, name)[indices] for name in names}, extra=extra)


def read_clips(path: str | Path) -> SessionClips:
    """Read clips.nc.

    Raises InputError where the file is missing, unreadable or holds no clips.
    """
    with read_dataset(path) as dataset:
        missing = {"spectrogram", "counts", "present", "split"} - set(dataset.variables)
        if missing:
            raise InputError("these arrays are no clips", where=path, found=f"no {', '.join(sorted(missing))}")
        clips = dataset.load()
    return SessionClips(
        session=str(clips.attrs["session"]),
        subject=str(clips.attrs["subject"]),
        spectrogram=clips["spectrogram"].values.astype(np.float32, copy=False),
        counts=clips["counts"].values.astype(np.float32, copy=False),  # missing bins were decoded to NaN
        present=clips["present"].values.astype(bool),
        start_s=clips["start_s"].values.astype(float),
        call=clips["call"].values.astype(np.int32),
        bout=clips["bout"].values.astype(np.int32),
        split=clips["split"].values.astype(str),
        unit_ids=[str(unit) for unit in clips["unit"].values],
        frequency_hz=clips["frequency"].values.astype(float),
        frame_s=clips["frame"].values.astype(float),
        bin_s=clips["bin"].values.astype(float),
        bin_width_s=float(clips.attrs["bin_width_s"]),
        kind=str(clips.attrs["kind"]),
        label=clips["label"].values.astype(str) if "label" in clips else None,
        extra={str(name): _extra(clips, str(name)) for name in clips["modality"].values[len(MODALITIES) :]},
    )


def _extra(clips: "xr.Dataset", name: str) -> Series:
    array = clips[f"extra_{name}"]
    channels = [str(channel) for channel in clips[f"{name}_channel"].values]
    return Series(array.values.astype(np.float32, copy=False), channels, str(array.attrs["kind"]))
