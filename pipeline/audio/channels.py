"""Which channel of a recording to analyse, where the user leaves it to the sound."""

import numpy as np
import scipy.fft
from scipy.ndimage import uniform_filter1d

from pipeline.audio.recording import Recording, check_range
from pipeline.audio.windows import hann
from pipeline.errors import InputError

N_STRETCHES, STRETCH_S = 100, 0.05  # 5 s in all: calls fill a few per cent of most recordings
TOP_SHARE = 0.05  # of the frames: those that calls may fill
SMOOTH_BINS = 3
CLIPPED_SHARE, NEARLY = 0.01, 0.999
LEVELS_SHARE, LEVELS_WIDTH = 0.9, 0.1  # a square wave spends its time in the outer tenths of its range
TINY = 1e-20  # power; digital silence has none


def choose_channel(recording: Recording, *, low_hz: float, high_hz: float, window_s: float) -> tuple[Recording, str]:
    """The recording with its best channel, and why, in words; as it is where the channel is given already.

    Each channel is heard in N_STRETCHES short stretches spread evenly over the sound. A channel is out if it is
    constant, if more than CLIPPED_SHARE of its samples lie at full scale, or if its samples keep to two levels (pulses
    of a clock). Of the others the one wins whose sound between `low_hz` and `high_hz` stands out most: of each frame,
    by how many dB its strongest frequency exceeds the median of that frequency over all frames, less what all
    frequencies of the frame exceed theirs by (a click); of these, the mean over the TOP_SHARE highest.

    Raises InputError where no channel carries sound, or the range does not fit the sampling rate.
    """
    if recording.channel != "best":
        return recording, f"channel {recording.channel} as set"
    check_range(recording, low_hz=low_hz, high_hz=high_hz, window_s=window_s)
    starts, n_samples = _places(recording)
    full_scale = min(source.full_scale for source in recording.sources)
    n_window = max(round(window_s * recording.rate_hz), 2)
    scores, faults = {}, {}
    for channel in range(recording.n_channels):
        with recording.with_channel(channel) as one:
            samples = np.stack([one.read(start, n_samples) for start in starts])
        fault = _fault(samples, full_scale)
        if fault:
            faults[channel] = fault
        else:
            scores[channel] = _score(
                samples, n_window=n_window, rate_hz=recording.rate_hz, low_hz=low_hz, high_hz=high_hz
            )
    if not scores:
        raise InputError(
            "no channel carries sound",
            where=recording.sources[0].path,
            found="; ".join(f"channel {channel} {fault}" for channel, fault in faults.items()),
            mend="set audio.channel to the one to analyse",
        )
    best = max(scores, key=scores.get)
    told = [f"{channel}: {score:.1f} dB" for channel, score in scores.items()]
    told += [f"{channel} {fault}" for channel, fault in faults.items()]
    return recording.with_channel(best), f"channel {best} is the best ({', '.join(told)})"


def _places(recording: Recording) -> tuple[list[int], int]:
    """First samples of the stretches to hear, none across a gap, and their length."""
    spans = np.array(recording.stretches)
    lengths = np.diff(spans, axis=1)[:, 0]
    n_samples = min(round(STRETCH_S * recording.rate_hz), int(lengths.max()))
    spans, lengths = spans[lengths >= n_samples], lengths[lengths >= n_samples]
    heard = np.linspace(0, lengths.sum(), N_STRETCHES, endpoint=False).astype(int)
    ends = np.cumsum(lengths)
    at = np.searchsorted(ends, heard, side="right")
    starts = spans[at, 0] + heard - (ends - lengths)[at]
    return np.minimum(starts, spans[at, 1] - n_samples).tolist(), n_samples


def _fault(samples: np.ndarray, full_scale: float) -> str | None:
    """What speaks against a channel, samples of shape (n_stretches, n_samples)."""
    low, high = samples.min(), samples.max()
    if not np.ptp(samples, axis=1).any():
        return "is silent"
    if np.mean(np.abs(samples) >= NEARLY * full_scale) > CLIPPED_SHARE and high - low <= 2.001 * full_scale:
        return "is clipped"
    edge = LEVELS_WIDTH * (high - low)
    if np.mean((samples < low + edge) | (samples > high - edge)) > LEVELS_SHARE:
        return "is a square wave"
    return None


def _score(samples: np.ndarray, *, n_window: int, rate_hz: float, low_hz: float, high_hz: float) -> float:
    """How far the strongest frequencies stand out, dB."""
    n_frames = samples.shape[1] // n_window
    frames = samples[:, : n_frames * n_window].reshape(-1, n_window) * hann(n_window).astype(np.float32)
    frequency_hz = np.arange(n_window // 2 + 1) * rate_hz / n_window
    spectrum = scipy.fft.rfft(frames, axis=1, workers=1)[:, (frequency_hz >= low_hz) & (frequency_hz <= high_hz)]
    power = uniform_filter1d(np.abs(spectrum) ** 2, min(SMOOTH_BINS, spectrum.shape[1]), axis=1)
    level_db = 10 * np.log10(np.maximum(power, TINY))
    level_db -= np.median(level_db, axis=0)
    out_db = np.sort(level_db.max(axis=1) - np.median(level_db, axis=1))
    return float(out_db[-max(round(TOP_SHARE * len(out_db)), 1) :].mean())
