"""Print what a recording or an NWB file holds, and draw a picture of it."""

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.errors import InputError
from pipeline.inspection import Section
from pipeline.inspection.nwb import describe_nwb
from pipeline.inspection.nwb_picture import draw_nwb
from pipeline.inspection.sound import describe_sound, draw_sound, look_at_sound
from pipeline.report.style import in_style
from pipeline.sessions import split_annotations
from pipeline.storage import read_table, written_whole

SETTINGS = ("audio", "calls")

NWB_SUFFIXES = (".nwb", ".zarr", ".h5", ".hdf5")
PICTURES = (".png", ".svg", ".pdf")


def add_arguments(parser):
    parser.add_argument("file", help="sound file, NWB file, or a series of sound in one: file.nwb:/acquisition/NAME")
    parser.add_argument("--picture", metavar="PNG", help="picture to draw: sound and its level, or units over time")
    parser.add_argument("--channel", type=int, default=0, help="channel of the sound, from 0")
    parser.add_argument("--calls", action="store_true", help="find calls, as a run would (takes a while)")


def run(args, config):
    if args.picture and Path(args.picture).suffix.lower() not in PICTURES:
        raise InputError("no format of pictures", where="--picture", found=args.picture, allowed=PICTURES)
    file, series = split_annotations(args.file)
    if series is None and (file.suffix.lower() in NWB_SUFFIXES or "://" in args.file):
        if args.calls:
            raise InputError("--calls needs sound", found=args.file, mend="name the series: file.nwb:/acquisition/NAME")
        _show(describe_nwb(args.file))
        figure = draw_nwb(args.file) if args.picture else None
    else:
        sound, recording = look_at_sound(file, series=series, channel=args.channel)
        sections = describe_sound(sound)
        call_s = ([], [])
        if args.calls:
            call_s = _find_calls(file, series, args.channel, config)
            n_calls, minutes = len(call_s[0]), sound.duration_s / 60
            sections[0].rows.append(("calls", f"{n_calls:,}, {n_calls / minutes:.3g} a minute"))
        _show(sections)
        figure = draw_sound(sound, recording, call_start_s=call_s[0], call_stop_s=call_s[1]) if args.picture else None
    if figure is not None:
        with in_style(), written_whole(args.picture) as partial:
            figure.savefig(partial, dpi=200)


def _find_calls(file: Path, series: str | None, channel: int, config):
    """Starts and stops, s, of the calls that a run with this configuration finds, by its own steps."""
    audio = str(file.resolve()) if series is None else f"nwb:{series}"
    nwb = "" if series is None else str(file.resolve())
    config = config.model_copy(update={"audio": config.audio.model_copy(update={"channel": channel})})
    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder, "sessions.tsv")
        sheet.write_text(f"session\tsubject\taudio\tnwb\nfile\tone\t{audio}\t{nwb}\n", encoding="utf-8")
        session = ["--sheet", str(sheet), "--session", "file"]
        spectrogram, calls = str(Path(folder, "spectrogram.nc")), str(Path(folder, "calls.parquet"))
        _step("spectrogram", [*session, "--out", spectrogram], config)
        _step("calls", [*session, "--spectrogram", spectrogram, "--out", calls], config)
        table = read_table(calls)
        return table["start_s"], table["stop_s"]


def _step(name: str, arguments: list[str], config) -> None:
    step = import_module(f"pipeline.steps.{name}")
    parser = argparse.ArgumentParser()
    step.add_arguments(parser)
    step.run(parser.parse_args(arguments), config)


def _show(sections: list[Section]) -> None:
    # a pipe has no width of its own, and a table that is cut to 80 columns is of no use in a log
    console = Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False)
    for section in sections:
        table = Table(title=section.title, title_justify="left")
        for column in section.columns:
            table.add_column(column, overflow="fold")
        for row in section.rows:
            table.add_row(*row)
        console.print(table)
