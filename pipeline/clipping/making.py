"""clips.nc from a session's spectrogram, calls and counts."""

import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.clipping.pooling import pool_power, pooled_frequency_hz
from pipeline.clipping.splits import affordable_splits, blocks_of_bouts, blocks_of_time
from pipeline.clipping.windows import bout_spans, largest_overlap, windows_in_spans, windows_over, windows_round
from pipeline.clips import MISSING_COUNT, MODALITIES
from pipeline.clock import Clock
from pipeline.errors import InputError

CLIPS_AT_ONCE = 256  # bounds the memory beside that of the clips themselves,
BINS_AT_ONCE = 2**15  # as does this, of counts.nc
FEW_BOUTS = 5  # fewer cannot be dealt to three roles with any balance: time is cut instead


def make_clips(
    *,
    spectrogram: xr.Dataset,
    calls: pd.DataFrame,
    counts: xr.Dataset,
    mode: str,
    duration_s: float,
    stride_s: float,
    n_bands: int,
    n_frames: int,
    pre_s: float,
    post_s: float,
    n_blocks: int,
    validation_fraction: float,
    test_fraction: float,
    guard_s: float,
    label: str,
    seed: int,
) -> xr.Dataset:
    """The clips of one session, as written to clips.nc.

    `spectrogram` and `counts` may be open lazily: they are read by slices. `mode`: 'sliding' windows inside bouts, one
    window round each 'call', or 'continuous' windows over the whole recording; a session without audio always has the
    last. Clips start on the grid of the counts. Counts are those from `pre_s` before the clip to `post_s` after it.
    `label`: the column of `calls` that labels a clip, by the call that fills most of it.

    Guards are shortened, with a warning, where the session is too short for `guard_s`.

    Raises InputError where there are no clips, or none for training, validation or test, or where `label` is no column
    of text or whole numbers.
    """
    session = str(counts.attrs["session"])
    bin_width_s = float(counts.attrs["bin_width_s"])
    first_bin, n_bins = count_window(duration_s=duration_s, pre_s=pre_s, post_s=post_s, bin_width_s=bin_width_s)
    check_frames(duration_s=duration_s, n_frames=n_frames, hop_s=float(spectrogram.attrs["hop_s"]))
    clock = Clock.from_dataset(counts)
    calls = calls.sort_values("start_s", kind="stable", ignore_index=True)
    labels = call_labels(calls, label)
    call_s = clock.to_session(calls[["start_s", "stop_s"]].to_numpy(float))  # (n_calls, 2)
    if not spectrogram.sizes["time"]:
        mode = "continuous"

    start_bin, bout = _place(
        mode, calls, call_s, counts, session=session, duration_s=duration_s, stride_s=stride_s, bin_width_s=bin_width_s
    )
    edge_s = start_bin[:, np.newaxis] * bin_width_s + np.linspace(0, duration_s, n_frames + 1)
    pooled, has_audio = pool_power(spectrogram, clock.to_audio(edge_s), n_bands=n_bands)
    windows = window_counts(counts, start_bin + first_bin, n_bins=n_bins)
    is_spikes = counts.attrs["kind"] == "spikes"
    has_counts = np.array([(w != MISSING_COUNT if is_spikes else np.isfinite(w)).any() for w in windows], bool)
    kept = has_audio | has_counts
    if not kept.any():
        raise InputError(
            "no clip holds usable sound or observed units",
            where=f"session {session!r}",
            found=f"{len(start_bin)} windows of {duration_s:g} s",
            mend="a shorter clips.duration_s, another clips.mode, or look at the spectrogram's usable frames",
        )
    if not kept.all():
        pooled, windows, has_audio, has_counts, edge_s, bout = (
            of_all[kept] for of_all in (pooled, windows, has_audio, has_counts, edge_s, bout)
        )
    start_s, stop_s = edge_s[:, 0], edge_s[:, -1]

    call = largest_overlap(start_s, stop_s, call_s[:, 0], call_s[:, 1])
    if mode == "continuous":
        bout = np.where(call >= 0, calls["bout"].to_numpy(int)[call] if len(calls) else -1, -1)
    if mode == "continuous" or len(np.unique(bout)) < FEW_BOUTS:
        block = blocks_of_time(start_s, n_blocks=n_blocks)
        if mode != "continuous":
            warnings.warn(
                f"session {session!r} has fewer than {FEW_BOUTS} bouts, so that training, validation and test divide "
                "bouts; tests of units take a bout as one part, and what they say of the model is not fully held out",
                stacklevel=2,
            )
    else:
        block = blocks_of_bouts(_rank_in_time(bout, start_s), n_blocks=n_blocks)
    split, used_guard_s = affordable_splits(
        block,
        start_s - max(pre_s, 0),
        stop_s + max(post_s, 0),
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        guard_s=guard_s,
        seed=seed,
        session=session,
    )
    if used_guard_s < guard_s:
        warnings.warn(
            f"session {session!r} is short: {used_guard_s:g} s instead of {guard_s:g} s (clips.split.guard_s) lie "
            "between training, validation and test; held-out scores may be a little too good",
            stacklevel=2,
        )
    names = calls["call"].to_numpy(int)
    if is_spikes:
        encoding = {"units": "1", "_FillValue": windows.dtype.type(MISSING_COUNT)}
    else:
        windows, encoding = in_training_sds(windows, split == "train"), {"units": "SD"}
    width_s = duration_s / n_frames
    return xr.Dataset(
        {
            "spectrogram": (("clip", "frequency", "frame"), pooled, {"units": "dB"}),
            "counts": (("clip", "unit", "bin"), windows, encoding),
            "present": (("clip", "modality"), np.c_[has_audio, has_counts]),
            "start_s": ("clip", start_s, {"units": "s"}),
            "call": ("clip", np.where(call >= 0, names[call] if len(names) else -1, -1).astype(np.int32)),
            "bout": ("clip", bout.astype(np.int32)),
            "split": ("clip", split),
            "label": ("clip", np.append(labels, "")[call]),
        },
        coords={
            "frequency": ("frequency", pooled_frequency_hz(spectrogram, n_bands=n_bands), {"units": "Hz"}),
            "frame": ("frame", (np.arange(n_frames) + 0.5) * width_s, {"units": "s"}),
            "bin": ("bin", (first_bin + np.arange(n_bins)) * bin_width_s, {"units": "s"}),
            "unit": ("unit", counts["unit"].values.astype(str)),
            "modality": ("modality", list(MODALITIES)),
        },
        attrs={
            "session": session,
            "subject": str(counts.attrs["subject"]),
            "bin_width_s": bin_width_s,
            "duration_s": duration_s,
            "mode": mode,
            "kind": counts.attrs["kind"],
            "guard_s": used_guard_s,
        },
    )


def call_labels(calls: pd.DataFrame, column: str) -> np.ndarray:
    """What a column says of each call as text, "" where nothing, Shape (n_calls,).

    Raises InputError where `column` is no column of text or whole numbers.
    """
    kinds = {name: pd.api.types.infer_dtype(calls[name], skipna=True) for name in calls}
    allowed = [name for name, kind in kinds.items() if kind in ("string", "integer", "boolean", "categorical", "empty")]
    if column not in allowed:
        raise InputError("no such column of labels in the calls", where="clips.label", found=column, allowed=allowed)
    return np.array(["" if pd.isna(value) else str(value) for value in calls[column]], dtype=str)


def count_window(*, duration_s: float, pre_s: float, post_s: float, bin_width_s: float) -> tuple[int, int]:
    """First bin of the count window, relative to the clip's start, and the number of bins.

    Raises InputError where the window is shorter than half a bin.
    """
    n_bins = round((duration_s + pre_s + post_s) / bin_width_s)
    if n_bins < 1:
        raise InputError(
            "the count window is shorter than a bin",
            where="clips.counts, neural.bin_width_s",
            found=f"{duration_s + pre_s + post_s:g} s in bins of {bin_width_s:g} s",
            mend="raise clips.counts.pre_s or post_s, or take a smaller neural.bin_width_s",
        )
    return round(-pre_s / bin_width_s), n_bins


def check_frames(*, duration_s: float, n_frames: int, hop_s: float) -> None:
    """Raise InputError where a clip has more frames than the spectrogram in its time."""
    if duration_s / n_frames < hop_s * (1 - 1e-6):
        raise InputError(
            "a clip has more frames than the spectrogram",
            where="clips.n_frames",
            found=f"{n_frames} frames in {duration_s:g} s",
            allowed=f"up to {int(duration_s / hop_s * (1 + 1e-6))} (audio.hop_s {hop_s:g})",
        )


def window_counts(counts: xr.Dataset, first_bin: np.ndarray, *, n_bins: int) -> np.ndarray:
    """Counts of `n_bins` bins from bin number `first_bin` of each clip, Shape (n_clips,).

    Returns Shape (n_clips, n_units, n_bins): int8 where that holds them, else int16, float32 for traces; MISSING_COUNT,
    or NaN, where the bin is not valid or outside the grid.
    """
    origin = round(float(counts["bin"].values[0]) / float(counts.attrs["bin_width_s"]))
    row = first_bin[:, np.newaxis] - origin + np.arange(n_bins)  # (n_clips, n_bins)
    inside = (row >= 0) & (row < counts.sizes["bin"])
    row = np.clip(row, 0, counts.sizes["bin"] - 1)
    is_spikes = counts.attrs["kind"] == "spikes"
    windows = np.empty((len(row), counts.sizes["unit"], n_bins), np.int8 if is_spikes else np.float32)
    # Clips are in the order of time.
    edges = [*np.flatnonzero(np.diff(row[:, 0] // BINS_AT_ONCE, prepend=-1)), len(row)]
    for begin, end in pairwise(edges):
        first, stop = row[begin:end].min(), row[begin:end].max() + 1
        values, valid = (counts[name][first:stop].values for name in ("counts", "valid"))
        if is_spikes and values.max(initial=0) > np.iinfo(windows.dtype).max:
            windows = windows.astype(np.int16)
        missing = windows.dtype.type(MISSING_COUNT if is_spikes else np.nan)
        for i in range(begin, end, CLIPS_AT_ONCE):
            part = slice(i, min(i + CLIPS_AT_ONCE, end))
            of_part = row[part] - first
            known = valid[of_part] & inside[part, :, np.newaxis]
            windows[part] = np.where(known, values[of_part].astype(windows.dtype), missing).transpose(0, 2, 1)
    return windows


def in_training_sds(traces: np.ndarray, is_training: np.ndarray) -> np.ndarray:
    """Traces (n_clips, n_units, n_bins) less each unit's mean over the training clips (n_clips,), in their SDs.

    A unit that never moves in training is missing throughout: there is no scale to read it on.
    """
    known = traces[is_training].swapaxes(0, 1).reshape(traces.shape[1], -1).astype(np.float64)
    size = np.isfinite(known).sum(axis=1)
    mean = np.nansum(known, axis=1) / np.maximum(size, 1)
    variance = np.nansum((known - mean[:, None]) ** 2, axis=1) / np.maximum(size, 1)
    sd = np.where(variance > np.square(1e-6 * np.maximum(np.abs(mean), 1e-12)), np.sqrt(variance), np.nan)
    return ((traces - mean[:, None]) / sd[:, None]).astype(np.float32)


def _place(
    mode: str,
    calls: pd.DataFrame,
    call_s: np.ndarray,
    counts: xr.Dataset,
    *,
    session: str,
    duration_s: float,
    stride_s: float,
    bin_width_s: float,
) -> tuple[np.ndarray, np.ndarray]:
    """First bin and bout of each window (-1: not asked for), in the order of time. Each Shape (n_clips,)."""
    if mode == "continuous":
        grid_s = counts["bin"].values
        start_s = windows_over(grid_s[0], grid_s[-1] + bin_width_s, duration_s=duration_s, stride_s=stride_s)
        bout = np.full(len(start_s), -1)
    elif not len(calls):
        raise InputError(
            "there are no calls to cut clips from",
            where=f"session {session!r}, clips.mode: {mode}",
            mend="clips.mode: continuous, a lower calls.peak_threshold, or annotations in the sheet; "
            "if the animal did not call, delete the row from the sheet",
        )
    elif mode == "call":
        start_s = windows_round(call_s[:, 0], call_s[:, 1], duration_s=duration_s)
        bout = calls["bout"].to_numpy(int)
    else:
        names, first_s, last_s = bout_spans(calls["bout"].to_numpy(int), call_s[:, 0], call_s[:, 1])
        start_s, span = windows_in_spans(first_s, last_s, duration_s=duration_s, stride_s=stride_s)
        bout = names[span]
    order = np.argsort(start_s, kind="stable")
    start_bin, bout = np.rint(start_s[order] / bin_width_s).astype(np.int64), bout[order]
    if mode != "call":  # a stride below a bin would give the same clip twice
        start_bin, fresh = np.unique(start_bin, return_index=True)
        bout = bout[fresh]
    return start_bin, bout


def _rank_in_time(bout: np.ndarray, start_s: np.ndarray) -> np.ndarray:
    """Number of each clip's bout in the order of the bouts' first clips. Shape (n_clips,)."""
    _, first, member = np.unique(bout, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(start_s[first], kind="stable"))[member]
