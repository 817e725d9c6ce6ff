"""Test and describe each unit's tuning to the sounds of a session, without a model."""

from pipeline.clock import Clock
from pipeline.covariates import read_covariates
from pipeline.mapping.bands import band_grid_hz
from pipeline.mapping.playback import band_power_on_bins
from pipeline.mapping.playback_profile import profile_playback
from pipeline.mapping.profile import profile_calls, profile_none
from pipeline.mapping.songs import followed_songs
from pipeline.mapping.tuning_file import Counts, Options
from pipeline.sessions import find_session
from pipeline.storage import read_dataset, read_table, write_dataset

SETTINGS = ("seed", "mapping", "clips")


def add_arguments(parser):
    parser.add_argument("--sheet", required=True, help="sessions sheet (TSV)")
    parser.add_argument("--session", required=True, help="name of the session in the sheet")
    parser.add_argument("--spectrogram", required=True, help="spectrogram.nc of the session")
    parser.add_argument("--calls", required=True, help="calls.parquet of the session")
    parser.add_argument("--counts", required=True, help="counts.nc of the session")
    parser.add_argument("--units", required=True, help="units.parquet of the session")
    parser.add_argument("--clips", required=True, help="clips.nc of the session, for its split")
    parser.add_argument(
        "--others",
        nargs="*",
        default=[],
        metavar="SESSION=FILE",
        help="calls.parquet of comparable sessions; the first one's song is also a control",
    )
    parser.add_argument("--covariates", nargs="?", help="covariates.nc of the session, to be partialled out")
    parser.add_argument("--out", required=True, help="tuning.nc to write")


def run(args, config):
    session = find_session(args.sheet, args.session)
    settings = config.mapping
    with read_dataset(args.counts, needs="clock_audio_s") as dataset:
        grid = dataset.load()
    clock = Clock.from_dataset(grid)
    units = Counts.of(grid)
    if args.covariates:
        units = units.beside(read_covariates(args.covariates))
    options = Options(
        n_surrogates=settings.n_surrogates,
        n_surrogates_fine=settings.n_surrogates_fine,
        n_bootstrap=settings.n_bootstrap,
        max_lag_s=settings.max_lag_s,
        seed=config.seed,
        session=session.name,
    )
    calls = read_table(args.calls, needs="bout")
    with read_dataset(args.clips, needs="split") as clips:
        start_s, split = clips["start_s"].values.astype(float), clips["split"].values.astype(str)
        clip_duration_s = float(clips.attrs["duration_s"])
    with read_dataset(args.spectrogram, needs="power_db") as spectrogram:
        edges_hz = band_grid_hz(
            spectrogram["frequency"].values,
            low_hz=float(spectrogram.attrs["low_hz"]),
            high_hz=float(spectrogram.attrs["high_hz"]),
            width_hz=settings.band_hz,
            linear=str(spectrogram.attrs["scale"]) == "linear",
        )
        common = {"edges_hz": edges_hz, "options": options}
        splits = {"clip_start_s": start_s, "clip_split": split}
        if spectrogram.sizes["time"] == 0 or not units.unit_ids:
            tuning = profile_none(units, **common)
        elif len(calls) and config.clips.mode != "continuous":
            others = dict(item.split("=", 1) for item in args.others)
            others = {name: read_table(file, needs="bout") for name, file in others.items()}
            clocked = {"to_session": clock.to_session, "options": options}
            other = next(iter(others.values()), None)
            tuning = profile_calls(units, calls, other=other, edges_hz=edges_hz, **clocked, **splits)
            tuning["song_gain"] = followed_songs(units, {session.name: calls} | others, **clocked)
        else:
            power_db = band_power_on_bins(
                spectrogram,
                to_session=clock.to_session,
                edges_hz=edges_hz,
                bin_start_s=units.start_s,
                bin_width_s=units.bin_width_s,
            )
            presented = None
            if session.annotations is not None and len(calls):  # continuous sound: what was annotated was presented
                times = {name: clock.to_session(calls[name]) for name in ("start_s", "stop_s")}
                presented = calls[["label"]].assign(**times)
            tuning = profile_playback(
                units, power_db, clip_duration_s=clip_duration_s, presented=presented, **splits, **common
            )
    tuning.attrs["subject"] = session.subject
    regions = read_table(args.units, needs="region").set_index("unit_id")["region"]
    tuning["region"] = ("unit", regions.reindex(units.unit_ids).fillna("").astype(str).to_numpy(object))
    write_dataset(tuning, args.out)
