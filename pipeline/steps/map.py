"""Join sessions and models into tables: which clusters of neurons stand for which frequency bands."""

SETTINGS = ("seed", "mapping")


def add_arguments(parser):
    parser.add_argument("--sheet", required=True, help="sessions sheet (TSV)")
    parser.add_argument("--models", nargs="*", default=[], help="model.pt of every family, size and seed")
    parser.add_argument("--latents", nargs="*", default=[], help="latents.parquet, in the order of --models")
    parser.add_argument("--metrics", nargs="*", default=[], help="metrics.parquet of all models and of the baselines")
    parser.add_argument("--clips", nargs="+", required=True, help="clips.nc of every session")
    parser.add_argument("--tunings", nargs="+", required=True, help="tuning.nc of every session")
    parser.add_argument("--units", nargs="+", required=True, help="units.parquet of every session")
    parser.add_argument("--out-dir", required=True, help="folder of the tables")


def run(args, config):
    from pipeline.mapping.run import map_run

    settings = config.mapping
    summary = map_run(
        sheet=args.sheet,
        models=args.models,
        latents=args.latents,
        metrics=args.metrics,
        clips=args.clips,
        tunings=args.tunings,
        units=args.units,
        out_dir=args.out_dir,
        n_bootstrap=settings.n_bootstrap,
        n_consensus=settings.n_consensus,
        n_surrogates=settings.n_surrogates_fine,
        max_clusters=settings.max_clusters,
        min_units=settings.min_cluster_units,
        max_lag_s=settings.max_lag_s,
        q=settings.q,
        seed=config.seed,
    )
    for line in summary["headlines"]:
        print(line)
