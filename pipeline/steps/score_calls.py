"""Score calls that were found, by Duet or any other tool, against calls that a person labelled."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from pipeline.audio.annotations import Calls, read_calls
from pipeline.audio.recording import open_recording
from pipeline.audio.scoring import Comparison, compare, figures, pool, recall_by_level
from pipeline.errors import InputError
from pipeline.storage import write_table

SETTINGS = ()

LEVEL_STEP_DB = 5.0
SHOWN = {
    "found": "found",
    "labels": "labels",
    "f1_overlap": "F1 overlap",
    "f1_iou50": "F1 IoU 0.5",
    "f1_10ms": "F1 10 ms",
    "f1_5ms": "F1 5 ms",
    "temporal_f1": "F1 of time",
    "onset_error_ms": "onset ms",
    "onset_absolute_error_ms": "|onset| ms",
    "offset_error_ms": "offset ms",
    "offset_absolute_error_ms": "|offset| ms",
    "splits": "splits",
    "merges": "merges",
    "false_alarms": "false alarms",
    "false_alarms_a_minute": "a minute",
}


def add_arguments(parser):
    formats = (
        "calls.parquet, CSV, Raven, Audacity, DeepSqueak, VocalMat, MUPET, USVSEG, AVA or file.nwb:/intervals/NAME"
    )
    parser.add_argument("--found", required=True, nargs="+", metavar="FILE", help=f"calls that were found: {formats}")
    parser.add_argument("--labels", required=True, nargs="+", metavar="FILE", help="labelled calls, in the same order")
    parser.add_argument(
        "--audio", nargs="+", metavar="FILE", help="the recordings, in the same order: gives their length"
    )
    parser.add_argument("--out", help="CSV, TSV or Parquet to write all figures to")


def run(args, config):
    _check_numbers(args.found, args.labels, args.audio)
    comparisons, reverse = [], []
    for number, (found_path, labels_path) in enumerate(zip(args.found, args.labels, strict=True)):
        start_s, stop_s = -np.inf, np.inf
        if args.audio:
            recording = open_recording([args.audio[number]], series=None, channel=0)
            start_s, stop_s = recording.start_s, recording.start_s + recording.duration_s
        found = read_calls(found_path, audio_start_s=start_s, audio_stop_s=stop_s)
        labels = read_calls(labels_path, audio_start_s=start_s, audio_stop_s=stop_s)
        comparisons.append(_compare(found, labels, stop_s - start_s if args.audio else None))
        reverse.append(_compare(labels, found, None))  # its recall is the precision of the found calls
    pooled = pool(comparisons)
    table = pd.DataFrame([figures(comparison) for comparison in [*comparisons, pooled]])
    table.insert(0, "found_file", [*args.found, "all"])
    table.insert(1, "labels_file", [*args.labels, "all"])
    if len(comparisons) == 1:
        table = table.iloc[:1]
    # a pipe has no width of its own, and a table that is cut to 80 columns is of no use in a log
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(_shown(table, with_rate=bool(args.audio)))
    for comparison, share, whose in ((pooled, "recall", "label"), (pool(reverse), "precision", "found call")):
        levels = recall_by_level(comparison, step_db=LEVEL_STEP_DB)
        if levels:
            console.print(_shown_levels(levels, share, whose))
    if args.out:
        write_table(table, args.out)


def _check_numbers(found: list[str], labels: list[str], audio: list[str] | None) -> None:
    for option, files in (("--labels", labels), ("--audio", audio)):
        if files is not None and len(files) != len(found):
            raise InputError(
                f"--found and {option} name unequal numbers of files",
                found=f"{len(found)} and {len(files)}",
                allowed="one file each for every recording, in the same order",
            )


def _compare(found: Calls, labels: Calls, duration_s: float | None) -> Comparison:
    return compare(
        found_start_s=found.start_s,
        found_stop_s=found.stop_s,
        label_start_s=labels.start_s,
        label_stop_s=labels.stop_s,
        label_level_db=labels.level_db,
        duration_s=duration_s,
    )


def _shown(table: pd.DataFrame, *, with_rate: bool) -> Table:
    shown = Table(title="calls found against labels; errors are medians, found minus labelled")
    shown.add_column("found calls", overflow="fold")
    names = [name for name in SHOWN if with_rate or name != "false_alarms_a_minute"]
    for name in names:
        shown.add_column(SHOWN[name], justify="right")
    for number, row in table.iterrows():
        pooled = row.found_file == "all" and number == len(table) - 1
        file = row.found_file if pooled else Path(row.found_file).name
        shown.add_row(file, *(_cell(row[name], name) for name in names), style="bold" if pooled else None)
    return shown


def _shown_levels(levels: list[dict[str, float]], share: str, whose: str) -> Table:
    shown = Table(title=f"{share} against the level of the {whose}")
    for name in ("from dB", "to dB", f"{whose}s", share):
        shown.add_column(name, justify="right")
    for row in levels:
        low_db = row["level_db"]
        shown.add_row(f"{low_db:g}", f"{low_db + LEVEL_STEP_DB:g}", str(row["labels"]), f"{row['recall']:.3f}")
    return shown


def _cell(value: float, name: str) -> str:
    if value != value:  # NaN
        return "-"
    if name in ("found", "labels", "splits", "merges", "false_alarms"):
        return str(int(value))
    return f"{value:.3f}" if "f1" in name else f"{value:.1f}"
