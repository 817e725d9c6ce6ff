"""Look at the sheet, the configuration and the headers of all files, and list every problem at once."""

import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.check import check_sheet, cost_of_run, table_of
from pipeline.errors import InputErrors
from pipeline.mapping.power import SONG_SHARE
from pipeline.session_report import SessionReport
from pipeline.storage import write_table

SETTINGS = ("audio", "neural", "extra", "clips", "models", "training", "evaluation", "seed")


def add_arguments(parser):
    parser.add_argument("--sheet", required=True, help="sessions sheet (TSV)")
    parser.add_argument("--out", help="TSV to write the table to")


def run(args, config):
    reports, problems = check_sheet(args.sheet, config)
    table = table_of(reports, config)
    # a pipe has no width of its own, and a table that is cut to 80 columns is of no use in a log
    console = Console(width=None if sys.stdout.isatty() else 220)
    shown = Table(title=f"{args.sheet}: {len(reports)} session{'' if len(reports) == 1 else 's'}")
    for name in table.columns:
        title = name.replace("_", " ").replace("khz", "kHz").replace("gb", "GB")
        shown.add_column(title, justify="left" if name in ("session", "subject", "clock") else "right")
    for row in table.itertuples(index=False):
        shown.add_row(*(_cell(value) for value in row), style="red" if row.problems else None)
    console.print(shown)
    for report in reports:
        for note in report.notes:
            console.print(f"{report.session.name}: {note}", markup=False, highlight=False)
    if len(table):
        cost = cost_of_run(reports, config)
        hours = f"{cost.total_s / 3600:.2g} core hours (of these {cost.seconds['train'] / cost.total_s:.0%} training)"
        needs = f"{cost.memory_bytes / 1e9:.2g} GB of memory, {cost.disk_bytes / 1e9:.2g} GB of prepared files"
        n_clips = table["clips_at_most"].sum()
        console.print(f"At most {n_clips:,} clips, {hours} without a GPU, {needs}.", highlight=False)
        if config.clips.mode != "continuous":
            console.print("That is as if the animals called all the time; clips lie in bouts alone.", highlight=False)
            console.print(
                "Smallest gain: a unit that fires so much more in its band has an even chance to be found, by the "
                f"seconds of song: {_song(reports)}.",
                markup=False,
                highlight=False,
            )
    if args.out:
        write_table(table, args.out)
    if problems:
        raise InputErrors(problems)


def _song(reports: list[SessionReport]) -> str:
    """Where each session's seconds of song come from."""
    sources = {"as annotated": [], f"as if calls filled {SONG_SHARE:.0%} of the time": []}
    annotated, assumed = sources.values()
    for report in reports:
        if np.isfinite(report.song_s):
            (assumed if report.annotated_s is None else annotated).append(report.session.name)
    told = [f"{how} ({', '.join(names)})" for how, names in sources.items() if names]
    return "; ".join(told) or "no session has both sound and spikes on one clock"


def _cell(value: object) -> str:
    if isinstance(value, float):
        # NaN differs from itself; a residual of a rounding error is 0
        return "-" if value != value else f"{round(value, 6):.4g}"
    return str(value)
