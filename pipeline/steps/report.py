"""Draw the figures and write the self-contained HTML report."""

import shlex
from itertools import product
from pathlib import Path

# the report ends with the whole configuration
SETTINGS = (
    "sessions", "seed", "audio", "calls", "neural", "extra", "clips", "models", "training", "evaluation", "mapping",
    "simulation",
)  # fmt: skip


def add_arguments(parser):
    parser.add_argument("--sheet", required=True, help="the sessions sheet (TSV)")
    parser.add_argument("--tables", required=True, help="folder of the tables and of summary.json")
    parser.add_argument("--prepared", required=True, help="folder with one folder a session")
    parser.add_argument("--models", required=True, help="folder with one folder a model")
    parser.add_argument("--out", required=True, help="the report (HTML) to write")
    parser.add_argument("--figures", required=True, help="folder for the figures (SVG and PNG)")


def run(args, config):
    # the package as a whole, so that a changed template or style makes the report again
    from pipeline.errors import InputError
    from pipeline.report import html
    from pipeline.report.results import Results
    from pipeline.sessions import read_sessions

    for folder in (args.tables, args.prepared):  # a run without models has no folder of them
        if not Path(folder).is_dir():
            raise InputError("no such folder", where=folder, mend="give the folders of a finished run")
    results = Results(
        sessions=read_sessions(args.sheet, must_exist=False),
        tables=Path(args.tables),
        prepared=Path(args.prepared),
        models=Path(args.models),
        trained=[
            f"{family}-k{latent_dim}/seed{seed}"
            for family, latent_dim, seed in product(
                config.models.families, config.models.latent_dims, config.models.seeds
            )
        ],
    )
    shown = html.draw_figures(results, args.figures)
    options = ("sheet", "tables", "prepared", "models", "out", "figures")
    given = [part for option in options for part in (f"--{option}", getattr(args, option))]
    command = shlex.join(["duet", "report", "--config", "config.yaml", *given])
    html.write_report(results, args.out, shown=shown, config=config.model_dump(mode="json"), command=command)
