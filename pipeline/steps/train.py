"""Train one model of one family on the clips of all sessions."""

from pathlib import Path

SETTINGS = ("models", "training")


def add_arguments(parser):
    parser.add_argument("--clips", nargs="+", type=Path, required=True, help="clips.nc of every session")
    parser.add_argument("--family", required=True, help="family of the model")
    parser.add_argument("--latent-dim", type=int, required=True, help="number of (shared) latents")
    parser.add_argument("--seed", type=int, required=True, help="fixes weights, order and noise")
    parser.add_argument("--out", type=Path, required=True, help="the model, model.pt")
    parser.add_argument("--history", type=Path, required=True, help="one row an epoch, CSV; TensorBoard events beside")
    parser.add_argument("--checkpoint", type=Path, required=True, help="resumed from; deleted when done")
    parser.add_argument("--freeze-shared", type=Path, metavar="MODEL", help="fit only new sessions' units to MODEL")
    parser.add_argument("--threads", type=int, default=1, help="threads on a CPU")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU where there is")


def run(args, config):
    from pipeline.clips import read_clips
    from pipeline.training import Schedule, train
    from pipeline.vae import assembly
    from pipeline.vae.spec import describe

    clips = [read_clips(path) for path in args.clips]
    settings, training = config.models, config.training
    learning = [session.where("train") for session in clips]
    if args.freeze_shared:
        model, spec, clips = assembly.add_sessions(args.freeze_shared, clips)
    else:
        spec = describe(
            learning,
            family=args.family,
            latent_dim=args.latent_dim,
            seed=args.seed,
            audio_likelihood=settings.audio_likelihood,
            neural_likelihood=settings.neural_likelihood,
            audio_weight=settings.audio_weight,
            neural_weight=settings.neural_weight,
            extra_weight=settings.extra_weight,
            hidden=settings.hidden,
            n_factors=settings.n_factors,
            n_basis=settings.n_basis,
            count_dropout=settings.count_dropout,
            beta=settings.beta,
            warmup_fraction=training.warmup_fraction,
            options=settings.options.get(args.family, {}),
        )
        model = assembly.assemble(spec)
        assembly.standardise(model, learning)
    schedule = Schedule(**{name: getattr(training, name) for name in Schedule.__dataclass_fields__})
    train(
        model,
        clips,
        schedule=schedule,
        seed=args.seed,
        history_path=args.history,
        checkpoint_path=args.checkpoint,
        accelerator=args.device,
        threads=args.threads,
    )
    assembly.save_model(args.out, model, spec)
