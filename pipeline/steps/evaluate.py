"""Score a trained model on held-out clips, traverse its latents and keep examples of what it generates."""

from pathlib import Path

SETTINGS = ("evaluation",)


def add_arguments(parser):
    parser.add_argument("--model", type=Path, required=True, help="model.pt of `duet train`")
    parser.add_argument("--clips", nargs="+", type=Path, required=True, help="clips.nc of every session")
    parser.add_argument("--truth", type=Path, help="truth.json of `duet simulate`, where the sessions are simulated")
    parser.add_argument("--out", type=Path, required=True, help="metrics.parquet")
    parser.add_argument("--traversal-out", type=Path, required=True, help="traversal.nc")
    parser.add_argument("--examples-out", type=Path, required=True, help="examples.nc")


def run(args, config):
    from pipeline.clips import read_clips
    from pipeline.evaluation.examples import example_clips
    from pipeline.evaluation.metrics import metrics_table
    from pipeline.evaluation.model import model_metrics
    from pipeline.evaluation.planted import planted_songs, read_truth
    from pipeline.evaluation.traversal import traverse
    from pipeline.storage import write_dataset, write_table
    from pipeline.vae.assembly import load_model

    loaded = load_model(args.model)
    clips = [read_clips(path) for path in args.clips]
    settings = config.evaluation
    metrics = model_metrics(
        loaded,
        clips,
        n_samples=settings.n_samples,
        n_clips=settings.n_clips,
        chunk_s=settings.chunk_s,
        min_peak_db=settings.min_peak_db,
        songs=planted_songs(read_truth(args.truth)) if args.truth else None,
    )
    write_table(metrics_table(metrics), args.out)
    write_dataset(traverse(loaded, clips), args.traversal_out)
    write_dataset(example_clips(loaded, clips, n_samples=settings.n_samples), args.examples_out)
