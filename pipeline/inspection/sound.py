"""What a sound file, or a series of sound in an NWB file, holds: its format, its level over time, its loudest stretch.

The file is read once, block by block, so that memory does not depend on its length.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.figure import Figure
from scipy.signal import get_window, spectrogram

from pipeline.audio.recording import Recording, open_recording
from pipeline.inspection import Section
from pipeline.report.style import ALARM, INK, MODEL, extent_of, in_style, new_figure

FRAME_S = 0.1
BLOCK_FRAMES = 10  # a block stays in the cache
STRETCH_S = 2.0
WINDOW_S = 0.002
NEARLY = 0.999  # of full scale: two equal samples there are clipped
LARGEST = 1e15  # no sound, in any unit; keeps its square finite
SILENT_DB = -200.0
SHOWN_DB = 50.0


@dataclass(frozen=True)
class Sound:
    """One channel of a recording. Levels are dB relative to full scale; n_frames of `FRAME_S`, the last one shorter."""

    path: str
    format: str
    rate_hz: float
    n_channels: int
    channel: int
    start_s: float
    n_samples: int
    full_scale: float
    unit: str
    level_db: np.ndarray  # (n_frames,) root mean square
    change_db: np.ndarray  # (n_frames,) of the difference of neighbouring samples: ultrasound more than rumble
    is_clipped: np.ndarray  # (n_frames,) bool
    n_clipped: int
    n_invalid: int  # samples that are not a number
    peak_db: float
    mean: float  # of all samples, relative to full scale
    complete: bool

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.rate_hz

    @property
    def frame_start_s(self) -> np.ndarray:
        """Start of each frame, s on the audio clock, shape (n_frames,)."""
        return self.start_s + round(FRAME_S * self.rate_hz) / self.rate_hz * np.arange(len(self.level_db))

    @property
    def loudest_start_s(self) -> float:
        """Start of the stretch of `STRETCH_S` with most sound: of the highest mean level in dB, so no single click."""
        n_frames = min(round(STRETCH_S / FRAME_S), len(self.change_db))
        total = np.cumsum(np.concatenate([[0.0], self.change_db]))
        return float(self.frame_start_s[np.argmax(total[n_frames:] - total[:-n_frames])])


def look_at_sound(path: str | Path, *, series: str | None = None, channel: int = 0) -> tuple[Sound, Recording]:
    """Read one channel once. Raises InputError where the file is missing, damaged, no audio or has no such channel."""
    with open_recording([path], series=series, channel=channel) as recording:
        source = recording.sources[0]
        n_frame = max(round(FRAME_S * recording.rate_hz), 1)
        limit = NEARLY * source.full_scale
        level, change, clipped = [], [], []
        n_clipped = n_invalid = 0
        total = peak = 0.0
        for block in recording.blocks(n_frame * BLOCK_FRAMES):
            if not (block.max() < LARGEST and block.min() > -LARGEST):  # not-a-number fails both
                invalid = ~(np.abs(block) < LARGEST)
                n_invalid += int(invalid.sum())
                block[invalid] = 0
            highest = max(block.max(), -block.min())
            peak = max(peak, float(highest))
            total += float(block.sum(dtype=np.float64))
            level.append(_mean_square(block, n_frame))
            change.append(_mean_square(np.diff(block, prepend=block[:1]), n_frame))
            rail = np.zeros(len(block), bool)
            if highest >= limit:
                # equal to the sample before it, too: float files may go beyond full scale without being clipped
                rail[1:] = (np.abs(block[1:]) >= limit) & (block[1:] == block[:-1])
            n_clipped += int(rail.sum())
            clipped.append(np.logical_or.reduceat(rail, np.arange(0, len(block), n_frame)))
        sound = Sound(
            path=str(path) if series is None else f"{path}:{series}",
            format=_format(source.path) if series is None else f"NWB series, {source.dtype}",
            rate_hz=recording.rate_hz,
            n_channels=recording.n_channels,
            channel=channel,
            start_s=recording.start_s,
            n_samples=recording.n_samples,
            full_scale=source.full_scale,
            unit=source.unit,
            level_db=_db(np.concatenate(level) / source.full_scale**2),
            change_db=_db(np.concatenate(change) / source.full_scale**2),
            is_clipped=np.concatenate(clipped),
            n_clipped=n_clipped,
            n_invalid=n_invalid,
            peak_db=float(_db(np.square(peak / source.full_scale))),
            mean=total / recording.n_samples / source.full_scale,
            complete=all(source.complete for source in recording.sources),
        )
    return sound, recording


def describe_sound(sound: Sound) -> list[Section]:
    """The figures of a recording, as tables."""
    silent = sound.level_db <= SILENT_DB
    rows = [
        ("format", sound.format),
        ("sampling rate", f"{sound.rate_hz:g} Hz (up to {sound.rate_hz / 2e3:g} kHz)"),
        ("channels", f"{sound.n_channels}" + (f"; shown: {sound.channel}" if sound.n_channels > 1 else "")),
        ("duration", f"{sound.duration_s:.3f} s ({_clock(sound.duration_s)})"),
        ("start on the audio clock", f"{sound.start_s:g} s"),
        (
            "level, 5 / 50 / 95 % of the time",
            " / ".join(f"{v:.1f}" for v in _spread(sound.level_db)) + " dB of full scale",
        ),
        ("peak", f"{sound.peak_db:.1f} dB of full scale"),
        ("constant offset", f"{100 * sound.mean:.3g} % of full scale"),
        (
            "clipped",
            f"{100 * sound.n_clipped / sound.n_samples:.3g} % of samples, {_share(sound.is_clipped)} of the time",
        ),
        ("digital silence", f"{_share(silent)} of the time"),
        ("most sound from", f"{sound.loudest_start_s:.1f} s"),
    ]
    if sound.unit != "full scale":
        rows.append(("full scale", f"{sound.full_scale:.6g} {sound.unit}"))
    if sound.n_invalid:
        rows.append(("not a number", f"{sound.n_invalid:,} samples"))
    if not sound.complete:
        rows.append(("damaged", "shorter than the header says"))
    return [Section(sound.path, ("what", "found"), rows)]


def draw_sound(sound: Sound, recording: Recording, *, call_start_s=(), call_stop_s=()) -> Figure:
    """Spectrogram of the stretch with most sound, above the level of the whole recording; bars are calls."""
    with in_style(), recording:
        figure = new_figure(4.2)
        upper, lower = figure.subplots(2, 1, gridspec_kw={"height_ratios": [2, 1]})
        start_s = sound.loudest_start_s
        n_samples = int(min(STRETCH_S, sound.duration_s) * sound.rate_hz)
        samples = recording.read(round((start_s - sound.start_s) * sound.rate_hz), n_samples)
        n_window = max(min(2 ** round(np.log2(WINDOW_S * sound.rate_hz)), n_samples), 2)
        frequency_hz, time_s, power = spectrogram(
            samples, fs=sound.rate_hz, window=get_window("hann", n_window), noverlap=n_window // 2, mode="magnitude"
        )
        power_db = 20 * np.log10(np.maximum(power, 1e-12 * sound.full_scale) / sound.full_scale)
        top_db = np.quantile(power_db, 0.9995)
        image = upper.imshow(
            power_db,
            extent=extent_of(start_s + time_s, frequency_hz / 1e3),
            aspect="auto",
            vmin=max(top_db - SHOWN_DB, np.quantile(power_db, 0.1)),
            vmax=max(top_db, np.quantile(power_db, 0.1) + 1),
            cmap="magma",
        )
        figure.colorbar(image, ax=upper, label="dB", pad=0.01)
        for call_s in zip(call_start_s, call_stop_s, strict=True):
            upper.plot(call_s, [0.97, 0.97], color=ALARM, lw=2, transform=upper.get_xaxis_transform())
        upper.set(xlim=(start_s, start_s + n_samples / sound.rate_hz), ylabel="frequency (kHz)", xlabel="time (s)")
        level_db = np.maximum(sound.level_db, sound.level_db[sound.level_db > SILENT_DB].min(initial=0) - 3)
        lower.plot(sound.frame_start_s, level_db, color=MODEL, lw=0.6)
        lower.axvspan(start_s, start_s + STRETCH_S, color=INK, alpha=0.15, lw=0)
        clipped_s = sound.frame_start_s[sound.is_clipped]
        if len(clipped_s):
            lower.plot(clipped_s, np.full(len(clipped_s), level_db.max()), "|", color=ALARM, label="clipped")
            lower.legend(loc="lower right")
        lower.set(
            xlabel="time (s)", ylabel="level (dB of full scale)", xlim=(sound.start_s, sound.start_s + sound.duration_s)
        )
        upper.set_title(Path(sound.path).name, parse_math=False)
    return figure


def _format(path: Path) -> str:
    try:
        info = soundfile.info(str(path))
    except soundfile.SoundFileError:
        return path.suffix  # read by its mended header, which soundfile does not take
    return f"{info.format_info}, {info.subtype_info}"


def _mean_square(samples: np.ndarray, n_frame: int) -> np.ndarray:
    """Mean square of each frame, the last of which may be shorter, shape (n_frames,)."""
    whole = len(samples) // n_frame * n_frame
    frames = samples[:whole].reshape(-1, n_frame)
    rest = samples[whole:]
    mean = np.einsum("ij,ij->i", frames, frames) / n_frame
    return np.append(mean, np.square(rest).mean()) if len(rest) else mean


def _db(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 10 ** (SILENT_DB / 10)))


def _spread(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, [0.05, 0.5, 0.95])


def _share(flags: np.ndarray) -> str:
    return f"{100 * flags.mean():.3g} %"


def _clock(duration_s: float) -> str:
    minutes, seconds = divmod(round(duration_s), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
