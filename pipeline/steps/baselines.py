"""Score simple models on the clips that the multimodal models see, as the bar that those have to pass."""

from pathlib import Path

SETTINGS = ("evaluation",)


def add_arguments(parser):
    parser.add_argument("--clips", nargs="+", type=Path, required=True, help="clips.nc of every session")
    parser.add_argument("--truth", type=Path, help="truth.json of `duet simulate`, where the sessions are simulated")
    parser.add_argument("--out", type=Path, required=True, help="metrics.parquet")


def run(args, config):
    from pipeline.clips import read_clips
    from pipeline.evaluation.baselines import baseline_metrics
    from pipeline.evaluation.identifiability import data_scores
    from pipeline.evaluation.metrics import metrics_table
    from pipeline.evaluation.planted import planted_songs, read_truth
    from pipeline.storage import write_table

    songs = planted_songs(read_truth(args.truth)) if args.truth else {}
    settings = {"chunk_s": config.evaluation.chunk_s, "min_peak_db": config.evaluation.min_peak_db}
    metrics = []
    for path in args.clips:
        clips = read_clips(path)
        metrics += baseline_metrics(clips, **settings)
        metrics += data_scores(clips, song=songs.get(clips.session), **settings)
    write_table(metrics_table(*metrics), args.out)
