"""Find the calls of a session (or take the lab's annotations) and measure them."""

from pipeline.audio.annotations import read_annotations
from pipeline.audio.calls import detect_calls
from pipeline.audio.features import measure_calls, write_calls
from pipeline.audio.spectrogram_file import open_spectrogram
from pipeline.errors import InputError
from pipeline.sessions import find_session

SETTINGS = ("calls",)


def add_arguments(parser):
    parser.add_argument("--sheet", required=True, help="sessions sheet (TSV)")
    parser.add_argument("--session", required=True, help="name of the session in the sheet")
    parser.add_argument("--spectrogram", required=True, help="spectrogram.nc of the session")
    parser.add_argument("--out", required=True, help="calls.parquet to write")


def run(args, config):
    session = find_session(args.sheet, args.session)
    settings = config.calls
    if session.annotations is not None:
        with open_spectrogram(args.spectrogram) as spectrogram:
            if spectrogram.n_frames == 0:
                where = f"{args.sheet}, session {session.name}"
                raise InputError("annotations of calls need audio", where=where, found="no audio", mend="leave one out")
            start_s, stop_s, labels = read_annotations(
                session.annotations, audio_start_s=spectrogram.start_s, audio_stop_s=spectrogram.stop_s
            )
    else:
        start_s, stop_s = detect_calls(
            args.spectrogram,
            activity_threshold=settings.activity_threshold,
            peak_threshold=settings.peak_threshold,
            merge_gap_s=settings.merge_gap_s,
            min_duration_s=settings.min_duration_s,
            max_duration_s=settings.max_duration_s,
        )
        labels = [""] * len(start_s)
    table = measure_calls(
        args.spectrogram, start_s=start_s, stop_s=stop_s, labels=labels, bout_gap_s=settings.bout_gap_s
    )
    write_calls(table, args.out)
