"""Count the spikes of a session's units, or average its traces, in bins of the session's clock."""

from contextlib import nullcontext

from pipeline.neural.binning import bin_session
from pipeline.neural.counts_file import write_counts
from pipeline.neural.recording import Choice, open_recording
from pipeline.pulses.session_clock import read_clock
from pipeline.sessions import find_session
from pipeline.storage import read_dataset, write_table

SETTINGS = ("neural",)


def add_arguments(parser):
    parser.add_argument("--sheet", required=True, help="sessions sheet (TSV)")
    parser.add_argument("--session", required=True, help="name of the session")
    parser.add_argument("--spectrogram", required=True, help="spectrogram.nc: tells when there is sound")
    parser.add_argument("--out", required=True, help="counts.nc to write")
    parser.add_argument("--units-out", required=True, help="units.parquet to write")


def run(args, config):
    counts, units = bin_signal(find_session(args.sheet, args.session), config.neural, args.spectrogram)
    write_counts(counts, args.out)
    write_table(units, args.units_out)


def bin_signal(session, neural, spectrogram_path):
    """What `bin_session` returns of the signal that `neural`, as that section of the configuration, chooses."""
    clock = read_clock(session, max_residual_s=neural.max_residual_s)
    with read_dataset(spectrogram_path, needs="power_db") as spectrogram:
        file_start_s, file_stop_s = spectrogram["file_start_s"].values, spectrogram["file_stop_s"].values
    with open_recording(session.nwb, Choice.of(neural)) if session.nwb else nullcontext() as recording:
        return bin_session(
            recording,
            clock=clock,
            file_start_s=file_start_s,
            file_stop_s=file_stop_s,
            bin_width_s=neural.bin_width_s,
            min_rate_hz=neural.min_rate_hz,
            session=session.name,
            subject=session.subject,
        )
