"""What will run, and everything that would stop it, from headers alone: before hours of compute."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.audio.features import SCHEMA
from pipeline.clipping.making import call_labels, check_frames, count_window
from pipeline.clipping.windows import windows_over
from pipeline.clips import MODALITIES
from pipeline.config import Config
from pipeline.errors import InputError
from pipeline.estimate import Cost, SessionSize, cost_of
from pipeline.session_report import SessionReport, caught, look_at
from pipeline.sessions import Session, absent_files, scan_sheet


def check_sheet(sheet: str | Path, config: Config) -> tuple[list[SessionReport], list[InputError]]:
    """Look at every file of the sheet by its header; returns a report a session and all problems, none of it raised.

    Takes the whole configuration, since it is about the configuration as much as about the files.
    """
    try:
        sessions, problems = scan_sheet(sheet)
    except InputError as problem:
        return [], [problem]
    problems += _settings_problems(config) + _family_problems(config, sessions)
    reports = [look_at(session, config) for session in sessions]
    kinds = {report.units.kind: report.session.name for report in reports if report.units}
    if len(kinds) > 1:
        problems.append(
            InputError(
                "some sessions bring spikes, others traces",
                where=sheet,
                found=", ".join(f"{session}: {kind}" for kind, session in kinds.items()),
                mend="run them apart, or choose by neural.signal",
            )
        )
    return reports, problems + [problem for report in reports for problem in report.problems]


def table_of(reports: list[SessionReport], config: Config) -> pd.DataFrame:
    """One row a session, with units in the names; what is not there is missing."""
    rows = []
    for report in reports:
        sound, units, clock = report.recording, report.units, report.clock
        size = size_of(report, config)
        rows.append(
            {
                "session": report.session.name,
                "subject": report.session.subject,
                "audio_files": len(sound.sources) if sound else 0,
                "rate_khz": sound.rate_hz / 1e3 if sound else np.nan,
                "audio_min": sound.duration_s / 60 if sound else np.nan,
                "units": units.n_units if units else 0,
                "spikes": units.n_spikes if units else 0,
                "clock": report.clock_source,
                "drift_ppm": clock.drift_ppm if clock else np.nan,
                "residual_ms": clock.residual_s * 1e3 if clock else np.nan,
                "overlap_min": report.overlap_s / 60,
                "song_s": report.song_s if config.clips.mode != "continuous" else np.nan,
                "smallest_gain": report.smallest_gain if config.clips.mode != "continuous" else np.nan,
                "clips_at_most": size.n_clips,
                "prepare_min": sum(size.prepare_s.values()) / 60,
                "disk_gb": size.disk_bytes / 1e9,
                "problems": len(report.problems) + len(absent_files(report.session)),
            }
        )
    return pd.DataFrame(rows)


def size_of(report: SessionReport, config: Config) -> SessionSize:
    """What the session will cost; clips as if the animal called all the time, since headers do not tell when it did."""
    chosen, sound = config.clips, report.recording
    length_s = float(np.ptp(report.analysed_s)) if report.analysed_s is not None else 0.0
    stride_s = chosen.duration_s if chosen.mode == "call" else chosen.stride_s
    n_clips = len(windows_over(0.0, length_s, duration_s=chosen.duration_s, stride_s=stride_s)) if length_s else 0
    n_units = report.units.n_units if report.units else 0
    n_channels = n_units + sum(report.n_extra.values())
    count_bins = (chosen.duration_s + chosen.counts.pre_s + chosen.counts.post_s) / config.neural.bin_width_s
    return SessionSize(
        n_samples=sound.n_samples if sound else 0,
        sound_s=sound.duration_s if sound else 0.0,
        n_frames=round(sound.duration_s / config.audio.hop_s) if sound else 0,
        n_bands=report.n_bands,
        n_units=n_units,
        n_count_bins=round(length_s / config.neural.bin_width_s),
        n_clips=n_clips,
        numbers_a_clip=round(chosen.n_bands * chosen.n_frames + n_channels * count_bins),
    )


def cost_of_run(reports: list[SessionReport], config: Config) -> Cost:
    """Cost at most of the whole run, on one core without a GPU."""
    models = config.models
    return cost_of(
        [size_of(report, config) for report in reports],
        n_models=len(models.families) * len(models.latent_dims) * len(models.seeds),
        n_epochs=config.training.max_epochs,
        n_samples=config.evaluation.n_samples,
    )


def _settings_problems(config: Config) -> list[InputError]:
    """Choices that contradict each other, whatever the recordings are."""
    chosen = config.clips
    checks = (
        lambda: count_window(
            duration_s=chosen.duration_s,
            pre_s=chosen.counts.pre_s,
            post_s=chosen.counts.post_s,
            bin_width_s=config.neural.bin_width_s,
        ),
        lambda: check_frames(duration_s=chosen.duration_s, n_frames=chosen.n_frames, hop_s=config.audio.hop_s),
        lambda: call_labels(SCHEMA.empty_table().to_pandas().select_dtypes(["integer", "str"]), chosen.label),
    )
    return [problem for check in checks for problem in caught(check)[1]] + _option_problems(config)


def _option_problems(config: Config) -> list[InputError]:
    """Options that the families do not have or cannot take, those of families that are not trained included."""
    chosen = {name: options for name, options in config.models.options.items() if options}
    if not chosen:  # torch need not be loaded
        return []
    from pipeline.vae.options import option_problems
    from pipeline.vae.spec import family_class

    names = [*MODALITIES, *config.extra]
    return [
        problem
        for family, options in chosen.items()
        for problem in option_problems(family_class(family), options, modalities=names)
    ]


def _family_problems(config: Config, sessions: list[Session]) -> list[InputError]:
    """Families that cannot learn from what the sheet and the section `extra` promise."""
    n_modalities = 2 + len(config.extra)
    paired = any(session.has_audio and session.nwb for session in sessions)
    if n_modalities == 2 and paired:  # any family can: torch need not be loaded to say so
        return []
    from pipeline.vae.spec import family_class

    problems = []
    for name in config.models.families:
        family = family_class(name)
        if n_modalities > (family.most_modalities or n_modalities):
            problems.append(
                InputError(
                    f"{name} takes {family.most_modalities} modalities",
                    where="models.families",
                    found=", ".join(["audio", "neural", *config.extra]),
                    mend=f"leave {name} out, or the section extra",
                )
            )
        if family.needs_pairs and not paired:
            problems.append(
                InputError(
                    f"{name} learns from sound and neural data of the same time",
                    where="models.families",
                    found="no session of the sheet has both audio and nwb",
                    mend=f"record them at once, or leave {name} out",
                )
            )
    return problems
