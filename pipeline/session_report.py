"""What a session's files hold and whether they can be used, from headers alone."""

from dataclasses import dataclass, field
from warnings import catch_warnings, simplefilter

import numpy as np

from pipeline.audio.annotations import read_annotations
from pipeline.audio.bands import band_filters
from pipeline.audio.recording import Recording, check_range, open_session
from pipeline.clipping.pooling import band_groups
from pipeline.clipping.splits import affordable_splits, blocks_of_time
from pipeline.clipping.windows import windows_over
from pipeline.clock import Clock
from pipeline.config import Config
from pipeline.errors import InputError, InputErrors
from pipeline.intervals import joined
from pipeline.mapping.power import SONG_SHARE, smallest_gain
from pipeline.neural.covariates import check_covariates
from pipeline.neural.recording import Choice, UnitsHeader, count_channels, read_header
from pipeline.pulses.session_clock import check_pulse_channels, read_clock
from pipeline.sessions import Session, absent_files
from pipeline.sync import sync_kind

MOST_SOUNDS = 10  # a recording of spikes that is longer than so many of the sound is odd


@dataclass
class SessionReport:
    """What is known of one session; None: it has none, or it cannot be read (then `problems` says why)."""

    session: Session
    recording: Recording | None = None
    n_bands: int = 0
    units: UnitsHeader | None = None
    n_extra: dict[str, int] = field(default_factory=dict)  # channels of further modalities
    clock: Clock | None = None
    problems: list[InputError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    annotated_s: tuple[np.ndarray, np.ndarray] | None = None  # starts and stops of the lab's own calls, audio clock

    @property
    def audio_s(self) -> np.ndarray | None:
        """Start and stop of the sound, session seconds."""
        if self.recording is None or self.clock is None:
            return None
        return self.clock.to_session([self.recording.start_s, self.recording.file_stop_s[-1]])

    @property
    def clock_source(self) -> str:
        """Where the clock comes from; empty where that cannot be told."""
        if self.clock is not None:
            return self.clock.source
        return "pulse channels" if sync_kind(self.session.sync) == "channel" else ""

    @property
    def overlap_s(self) -> float:
        """How long there are both sound and spikes; NaN where that cannot be told."""
        if self.audio_s is None or self.units is None:
            return np.nan
        return max(float(np.diff(self._both_s)[0]), 0.0)

    @property
    def _both_s(self) -> np.ndarray:
        """From when to when there are both sound and spikes, session seconds; the stop lies first where never."""
        return np.array([max(self.audio_s[0], self.units.start_s), min(self.audio_s[1], self.units.stop_s)])

    @property
    def song_s(self) -> float:
        """How long calls sound while there are spikes: as annotated, or as if they filled `SONG_SHARE` of the time."""
        if self.annotated_s is None or not self.overlap_s > 0:
            return SONG_SHARE * self.overlap_s
        calls_s = np.clip(self.clock.to_session(np.stack(joined(*self.annotated_s, tolerance_s=0.0))), *self._both_s)
        return float((calls_s[1] - calls_s[0]).sum())

    @property
    def smallest_gain(self) -> float:
        """The weakest tuning to calls that half of the units would be found with, as if all fired at the mean rate."""
        if self.units is None or self.units.kind != "spikes" or not self.units.n_units or not self.overlap_s > 0:
            return np.nan
        observed_s = self.units.stop_s - self.units.start_s
        rate_hz = self.units.n_spikes / self.units.n_units / max(observed_s, 1e-9)
        return smallest_gain(rate_hz=rate_hz, song_s=self.song_s)

    @property
    def analysed_s(self) -> np.ndarray | None:
        """Start and stop of the time that clips may come from, session seconds (audio seconds without a clock)."""
        if self.audio_s is not None:
            return self.audio_s
        if self.recording is not None:
            return np.array([self.recording.start_s, self.recording.file_stop_s[-1]])
        if self.units is None or self.session.has_audio or np.isnan(self.units.start_s):
            return None
        return np.array([self.units.start_s, self.units.stop_s])


def look_at(session: Session, config: Config) -> SessionReport:
    """Try on the headers of a session all that its jobs will do first; what they would raise goes to the report."""
    report = SessionReport(session)
    absent = {column for column, _ in absent_files(session)}
    attempt = _Attempts(report)
    if session.has_audio and not absent & ({"nwb"} if session.audio_series else {"audio"}):
        report.recording = attempt(lambda: open_session(session, channel=config.audio.channel))
    if report.recording:
        attempt(lambda: _check_sound(report, config))
    if session.nwb and "nwb" not in absent:
        report.units = attempt(lambda: read_header(session.nwb, Choice.of(config.neural)))
    if sync_kind(session.sync) == "channel":
        if report.recording and "nwb" not in absent:
            attempt(lambda: check_pulse_channels(session))
        report.notes.append("pulses are read and matched when the neural data are binned (duet bin), not before")
    elif "sync" not in absent:
        report.clock = attempt(lambda: read_clock(session, max_residual_s=config.neural.max_residual_s))
    known = not session.annotated_on_nwb_clock or report.clock is not None
    if report.recording and session.annotations and known and "annotations" not in absent:
        annotated = attempt(
            lambda: read_annotations(
                session.annotations,
                audio_start_s=report.recording.start_s,
                audio_stop_s=report.recording.file_stop_s[-1],
                clock=report.clock if session.annotated_on_nwb_clock else None,
            )
        )
        report.annotated_s = annotated and annotated[:2]
        attempt(lambda: _check_called(report, config))
    if session.covariates and not absent & {"covariates", "nwb"}:
        span_s = report.analysed_s if report.clock else None
        attempt(lambda: check_covariates(session.covariates, session.nwb, span_s=span_s))
    for name, extra in config.extra.items():
        if extra.signal == "covariates":
            report.n_extra[name] = len(session.covariates)
        elif report.units:
            choice = Choice.of(config.neural_as(name))
            report.n_extra[name] = attempt(lambda choice=choice: count_channels(session.nwb, choice)) or 0
    if without := [name for name in config.extra if not report.n_extra.get(name)]:
        report.notes.append(f"no {', '.join(without)} (section extra): models learn from this session without")
    if session.audio and session.nwb and not session.sync:
        report.notes.append("sync is empty: sound and NWB are taken to run on one clock that starts with the sound")
    attempt(lambda: _check_spikes(report))
    attempt(lambda: _check_overlap(report))
    attempt(lambda: _check_length(report, config))
    return report


class _Attempts:
    """Runs checks of one session; what they raise or warn of goes to its report."""

    def __init__(self, report: SessionReport):
        self._report = report

    def __call__(self, check):
        with catch_warnings(record=True) as warned:
            simplefilter("always", UserWarning)
            result, problems = caught(check)
        name = self._report.session.name
        self._report.problems += [InputError(f"session {name!r}: {problem}") for problem in problems]
        self._report.notes += [str(warning.message) for warning in warned]
        return result


def caught(check) -> tuple[object, list[InputError | str]]:
    """What `check()` returns, None where it raises, and the problems that it raises."""
    try:
        return check(), []
    except InputErrors as error:
        return None, error.problems
    except InputError as error:
        return None, [error]


def _check_sound(report: SessionReport, config: Config) -> None:
    audio, rate_hz = config.audio, report.recording.rate_hz
    check_range(report.recording, low_hz=audio.low_hz, high_hz=audio.high_hz, window_s=audio.window_s)
    _, _, frequency_hz = band_filters(
        rate_hz=rate_hz,
        n_window=max(round(audio.window_s * rate_hz), 2),
        low_hz=audio.low_hz,
        high_hz=audio.high_hz,
        scale=audio.scale,
        n_bands=audio.n_bands,
    )
    report.n_bands = len(frequency_hz)
    band_groups(report.n_bands, n_bands=config.clips.n_bands)


def _check_called(report: SessionReport, config: Config) -> None:
    if report.annotated_s is not None and not len(report.annotated_s[0]) and config.clips.mode != "continuous":
        raise InputError(
            "the annotations say that there are no calls, so that no clips can be cut",
            where=report.session.annotations,
            mend="delete the session from the sheet; to detect calls instead, empty its column annotations",
        )


def _check_spikes(report: SessionReport) -> None:
    if report.units is None or report.units.kind != "spikes" or not report.units.n_units:
        return
    if not report.units.n_spikes:
        raise InputError(
            "no unit has a spike",
            where=report.session.nwb,
            found=f"{report.units.n_units} units",
            mend="empty the session's column nwb (sound alone), or delete its row",
        )
    spikes_s = report.units.stop_s - report.units.start_s
    if report.audio_s is not None and spikes_s > MOST_SOUNDS * np.ptp(report.audio_s):
        report.notes.append(
            f"spikes span {spikes_s:.6g} s, the sound {np.ptp(report.audio_s):.6g} s: are spike times in seconds?"
        )


def _check_overlap(report: SessionReport) -> None:
    if report.overlap_s == 0:
        raise InputError(
            "sound and spikes do not overlap in time",
            where=report.session.nwb,
            found=f"on the NWB clock, sound at {report.audio_s[0]:.6g} to {report.audio_s[1]:.6g} s, "
            f"spikes at {report.units.start_s:.6g} to {report.units.stop_s:.6g} s",
            mend="give the offset of the clocks in the sheet's column sync (NWB time = audio time + offset)",
        )
    if report.audio_s is not None and report.overlap_s < 0.5 * np.ptp(report.audio_s):
        report.notes.append(f"spikes cover only {report.overlap_s / np.ptp(report.audio_s):.0%} of the sound")


def _check_length(report: SessionReport, config: Config) -> None:
    """Whether a split can be made: tried on continuous clips; bouts are not known yet, and leave more room between."""
    if report.analysed_s is None:
        return
    chosen, split, session = config.clips, config.clips.split, report.session.name
    continuous = chosen.mode == "continuous" or not report.session.has_audio
    least_s = 3 * chosen.duration_s  # one clip for each role
    length_s = np.ptp(report.analysed_s)
    if length_s < least_s:
        raise InputError(
            "the recording is too short for training, validation and test",
            found=f"{length_s:.4g} s",
            allowed=f"at least {least_s:.4g} s with clips.duration_s {chosen.duration_s:g}",
            mend="a shorter clips.duration_s, or a longer recording",
        )
    start_s = windows_over(*report.analysed_s, duration_s=chosen.duration_s, stride_s=chosen.stride_s)
    try:
        _, guard_s = affordable_splits(
            blocks_of_time(start_s, n_blocks=split.n_blocks),
            start_s - max(chosen.counts.pre_s, 0),
            start_s + chosen.duration_s + max(chosen.counts.post_s, 0),
            validation_fraction=split.validation_fraction,
            test_fraction=split.test_fraction,
            guard_s=split.guard_s,
            seed=config.seed,
            session=session,
        )
    except InputError as error:
        if continuous:
            raise
        title = str(error).split("\n")[0]
        report.notes.append(f"{length_s:.4g} s may be too short ({title} if calls are dense)")
        return
    if guard_s < split.guard_s:
        report.notes.append(
            f"{length_s:.4g} s is short: about {guard_s:g} s instead of {split.guard_s:g} s (clips.split.guard_s) will "
            "lie between training, validation and test"
        )
