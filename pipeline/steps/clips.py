"""Cut a session into clips of sound and counts, and give each its role: training, validation or test."""

from contextlib import ExitStack

from pipeline.clipping.extra import read_extra, with_extra
from pipeline.clipping.making import make_clips
from pipeline.storage import read_dataset, read_table, write_dataset

SETTINGS = ("clips", "extra", "seed")


def add_arguments(parser):
    parser.add_argument("--sheet", required=True, help="sessions sheet (TSV)")
    parser.add_argument("--session", required=True, help="name of the session")
    parser.add_argument("--spectrogram", required=True, help="spectrogram.nc of the session")
    parser.add_argument("--calls", required=True, help="calls.parquet of the session")
    parser.add_argument("--counts", required=True, help="counts.nc of the session")
    parser.add_argument("--extra", nargs="*", default=[], metavar="NAME=FILE", help="those of the section extra")
    parser.add_argument("--out", required=True, help="clips.nc to write")


def run(args, config):
    chosen = config.clips
    with (
        read_dataset(args.spectrogram, needs="power_db") as spectrogram,
        read_dataset(args.counts, needs="clock_audio_s") as counts,
    ):
        clips = make_clips(
            spectrogram=spectrogram,
            calls=read_table(args.calls, needs="bout"),
            counts=counts,
            mode=chosen.mode,
            duration_s=chosen.duration_s,
            stride_s=chosen.stride_s,
            n_bands=chosen.n_bands,
            n_frames=chosen.n_frames,
            pre_s=chosen.counts.pre_s,
            post_s=chosen.counts.post_s,
            n_blocks=chosen.split.n_blocks,
            validation_fraction=chosen.split.validation_fraction,
            test_fraction=chosen.split.test_fraction,
            guard_s=chosen.split.guard_s,
            label=chosen.label,
            seed=config.seed,
        )
    if config.extra:
        files = dict(item.split("=", 1) for item in args.extra)
        with ExitStack() as opened:
            found = {name: opened.enter_context(read_extra(path)) for name, path in files.items()}
            clips = with_extra(clips, {name: found.get(name) for name in config.extra})
    # of sound nothing is written compressed, since models read it often; of a session without any, all is NaN
    silent = not clips["present"].values[:, 0].any()
    write_dataset(clips, args.out, encoding={"spectrogram": {"compression": "gzip"}} if silent else None)
