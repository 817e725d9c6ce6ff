"""Write the posterior means of all clips, from each modality and from both."""

from pathlib import Path

SETTINGS = ()


def add_arguments(parser):
    parser.add_argument("--model", type=Path, required=True, help="model.pt of `duet train`")
    parser.add_argument("--clips", nargs="+", type=Path, required=True, help="clips.nc of every session")
    parser.add_argument("--out", type=Path, required=True, help="latents.parquet")


def run(args, config):
    from pipeline.clips import read_clips
    from pipeline.embedding import embed
    from pipeline.storage import write_table
    from pipeline.vae.assembly import load_model

    write_table(embed(load_model(args.model), [read_clips(path) for path in args.clips]), args.out)
