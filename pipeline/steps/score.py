"""Compare the tables of a run on simulated sessions with what was planted."""

SETTINGS = ("mapping",)


def add_arguments(parser):
    parser.add_argument("--truth", required=True, help="truth.json of `duet simulate`")
    parser.add_argument("--tables", required=True, help="folder of the tables")
    parser.add_argument("--out", required=True, help="recovery.csv to write")


def run(args, config):
    from pathlib import Path

    from pipeline.evaluation.planted import read_truth
    from pipeline.mapping.recovery import print_recovery, recovery
    from pipeline.storage import read_table, write_table

    truth = read_truth(args.truth)
    tables = [read_table(Path(args.tables) / f"{name}.parquet") for name in ("unit_clusters", "cluster_bands")]
    table = recovery(truth, *tables, q=config.mapping.q)
    write_table(table, args.out)
    print_recovery(table, where=args.out)
