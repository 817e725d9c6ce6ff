"""Bin a further modality of a session, such as band power or the units of a second probe, as `bin` does its units."""

from pipeline.errors import InputError
from pipeline.neural.counts_file import write_counts
from pipeline.neural.recording import Choice, holds
from pipeline.sessions import find_session
from pipeline.steps.bin import bin_signal
from pipeline.storage import read_dataset, read_table, write_table

SETTINGS = ("neural", "extra")


def add_arguments(parser):
    parser.add_argument("--sheet", required=True, help="sessions sheet (TSV)")
    parser.add_argument("--session", required=True, help="name of the session")
    parser.add_argument("--extra", required=True, help="name of the modality, a key of the section extra")
    parser.add_argument("--spectrogram", required=True, help="spectrogram.nc: tells when there is sound")
    parser.add_argument("--counts", required=True, help="counts.nc of the session")
    parser.add_argument("--units", required=True, help="units.parquet of the session")
    parser.add_argument("--out", required=True, help="file like counts.nc to write")
    parser.add_argument("--units-out", required=True, help="table like units.parquet to write")


def run(args, config):
    session = find_session(args.sheet, args.session)
    if args.extra not in config.extra:
        raise InputError("no such modality", where="extra", found=args.extra, allowed=list(config.extra))
    neural = config.neural_as(args.extra)
    main = read_table(args.units, needs="region")
    if session.nwb and holds(session.nwb, Choice.of(neural)):
        counts, units = bin_signal(session, neural, args.spectrogram)
        _refuse_the_same(units, main, where=f"session {session.name!r}, extra.{args.extra}")
        write_counts(counts, args.out)
    else:
        units = main.iloc[:0]
        with read_dataset(args.counts, needs="clock_audio_s") as counts:
            write_counts(counts.isel(unit=slice(0)), args.out)
    write_table(units, args.units_out)


def _refuse_the_same(units, main, *, where: str) -> None:
    """Units that are in both modalities would tell their own spikes."""
    keys = ["unit_id", "nwb_id", "n_spikes"]
    spiking = units[units["included"] & (units["n_spikes"] > 0)]
    shared = spiking.merge(main[main["included"]], on=keys)
    if len(shared):
        raise InputError(
            "units of the neural side are in this modality too",
            where=where,
            found=f"{len(shared)} of {len(spiking)}, such as {shared['unit_id'].iloc[0]}",
            mend="name another table here, or divide them by unit_filter, here and in the section neural",
        )
