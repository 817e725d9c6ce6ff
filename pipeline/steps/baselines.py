"""Score simple models on the clips that the multimodal models see, as the bar that those have to pass."""

from pathlib import Path

SETTINGS = ("evaluation",)


def add_arguments(parser):
    parser.add_argument("--clips", nargs="+", type=Path, required=True, help="clips.nc of every session")
    parser.add_argument("--out", type=Path, required=True, help="metrics.parquet")


def run(args, config):
    from pipeline.clips import read_clips
    from pipeline.evaluation.baselines import baseline_metrics
    from pipeline.evaluation.metrics import metrics_table
    from pipeline.storage import write_table

    metrics = []
    for path in args.clips:
        metrics += baseline_metrics(
            read_clips(path), chunk_s=config.evaluation.chunk_s, min_peak_db=config.evaluation.min_peak_db
        )
    write_table(metrics_table(*metrics), args.out)
