"""Put a session's covariates (movement, breathing, ...) on the bins of its counts."""

from pipeline.covariates import write_covariates
from pipeline.neural.covariates import open_covariates, sample_covariates
from pipeline.neural.grid import Grid, bin_index
from pipeline.sessions import find_session
from pipeline.storage import read_dataset

SETTINGS = ()


def add_arguments(parser):
    parser.add_argument("--sheet", required=True, help="sessions sheet (TSV)")
    parser.add_argument("--session", required=True, help="name of the session, whose row names covariates")
    parser.add_argument("--counts", required=True, help="counts.nc of the session, for its bins")
    parser.add_argument("--out", required=True, help="covariates.nc to write")


def run(args, config):
    session = find_session(args.sheet, args.session)
    with read_dataset(args.counts, needs="clock_audio_s") as counts:
        start_s, bin_width_s = counts["bin"].values.astype(float), float(counts.attrs["bin_width_s"])
    first_bin = int(bin_index(start_s[0], bin_width_s=bin_width_s)) if len(start_s) else 0
    grid = Grid(first_bin, len(start_s), bin_width_s)
    with open_covariates(session.covariates, session.nwb) as sources:
        covariates = sample_covariates(sources, grid)
    write_covariates(covariates, args.out, session=session.name)
