"""Find the calls of a session (or take the lab's annotations) and measure them."""

from pipeline.audio.annotations import read_annotations
from pipeline.audio.calls import detect_calls
from pipeline.audio.features import measure_calls, write_calls
from pipeline.audio.recording import open_session
from pipeline.audio.scan import Scan
from pipeline.audio.spectrogram_file import open_spectrogram
from pipeline.clock import Clock
from pipeline.errors import InputError
from pipeline.sessions import find_session
from pipeline.storage import read_dataset

SETTINGS = ("audio", "calls")


def add_arguments(parser):
    parser.add_argument("--sheet", required=True, help="sessions sheet (TSV)")
    parser.add_argument("--session", required=True, help="name of the session in the sheet")
    parser.add_argument("--spectrogram", required=True, help="spectrogram.nc of the session")
    parser.add_argument("--counts", nargs="?", help="counts.nc: the clock of annotations that lie in the NWB file")
    parser.add_argument("--out", required=True, help="calls.parquet to write")


def run(args, config):
    session = find_session(args.sheet, args.session)
    audio, calls = config.audio, config.calls
    with open_spectrogram(args.spectrogram) as spectrogram:
        # The channel that was chosen for the spectrogram, where the setting leaves the choice to the sound.
        recording = open_session(session, channel=spectrogram.channel)
        if recording is None or spectrogram.n_frames == 0:
            if session.annotations is not None:
                where = f"{args.sheet}, session {session.name}"
                raise InputError("annotations of calls need audio", where=where, found="no audio", mend="leave one out")
            write_calls(measure_calls(None, (), spectrogram=None, bout_gap_s=calls.bout_gap_s), args.out)
            return
        with recording:
            scan = Scan(
                recording,
                low_hz=audio.low_hz,
                high_hz=audio.high_hz,
                window_s=audio.window_s,
                longest_call_s=calls.max_duration_s,
            )
            if session.annotations is not None:
                start_s, stop_s, labels = read_annotations(
                    session.annotations,
                    audio_start_s=spectrogram.start_s,
                    audio_stop_s=spectrogram.stop_s,
                    clock=annotations_clock(session, args),
                )
                found = zip(start_s.tolist(), stop_s.tolist(), labels, strict=True)
            else:
                spans = detect_calls(
                    scan,
                    activity_threshold=calls.activity_threshold,
                    peak_threshold=calls.peak_threshold,
                    merge_gap_s=calls.merge_gap_s,
                    min_duration_s=calls.min_duration_s,
                    max_duration_s=calls.max_duration_s,
                )
                found = ((start_s, stop_s, "") for start_s, stop_s in spans)
            table = measure_calls(scan, found, spectrogram=spectrogram, bout_gap_s=calls.bout_gap_s)
    write_calls(table, args.out)


def annotations_clock(session, args):
    """The clock of annotations that are not on that of the sound, else None."""
    if not session.annotated_on_nwb_clock:
        return None
    if args.counts is None:
        where = f"{args.sheet}, session {session.name}"
        raise InputError("these annotations are on the clock of the NWB file", where=where, mend="give --counts, too")
    with read_dataset(args.counts, needs="clock_audio_s") as counts:
        return Clock.from_dataset(counts)
