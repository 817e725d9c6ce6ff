"""Reads and validates the configuration and the sheet, once; no science here."""

import os
import re
import sys
from pathlib import Path

REPOSITORY = Path(workflow.basedir).resolve()
sys.path.insert(0, str(REPOSITORY))  # a checkout works without being installed

from pipeline.comparable import compared_sessions
from pipeline.config_file import load_config, read_keys, subtree
from pipeline.errors import InputError
from pipeline.mapping.tables import TABLES
from pipeline.sessions import is_address, read_sessions, split_annotations
from pipeline.steps import steps
from pipeline.sync import sync_kind

ENVIRONMENT = f"{REPOSITORY}/environment.yml"

# Jobs call the interpreter that runs Snakemake, so that nothing depends on PATH, here or on a node. A job that
# fails shows what it logged.
shell.prefix(
    "set -euo pipefail; "  # Snakemake's own prefix, which this one replaces
    "export PYTHONPATH={REPOSITORY:q}${{PYTHONPATH:+:$PYTHONPATH}}; "
    'duet() {{ {sys.executable:q} -m pipeline "$@"; }}; '
    'shown() {{ cat "$1" >&2; return 1; }}; '
)


def shortest(path: Path) -> str:
    """Relative to the working directory where `path` lies below it, else absolute."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def find_sheet(name: str) -> str:
    """A relative path is looked for in the working directory first, then beside the Snakefile."""
    places = [Path.cwd() / name, REPOSITORY / name]
    return shortest(next((place for place in places if place.is_file()), places[0]))


def files_of(session) -> list[Path]:
    """Every file that the sheet names for a session."""
    listing = [session.audio_listing] if session.audio_listing else []
    own = [*labels_of(session), *pulses_of(session), *covariate_tables(session)]
    return [*listing, *session.audio, *neural_files(session), *own]


def labels_of(session) -> list[Path]:
    """The laboratory's own table of calls, where there is one."""
    return [split_annotations(session.annotations)[0]] if session.annotations else []


def neural_files(session) -> list[Path]:
    """The session's NWB recording, unless there is none or it lies at an address, which is no file of a rule."""
    return [session.nwb] if session.nwb and not is_address(session.nwb) else []


def pulses_of(session) -> list[Path]:
    """The table of pulses that ties the session's two clocks, where there is one."""
    return [Path(session.sync)] if sync_kind(session.sync) == "file" else []


def covariate_tables(session) -> list[Path]:
    """The tables of covariates beside the session's NWB file."""
    return [entry for entry in session.covariates if isinstance(entry, Path)]


def find_simulated() -> Path | None:
    """The folder of simulated recordings, if the sheet points there."""
    for root in (Path.cwd(), REPOSITORY):
        folder = (root / settings.simulation.out_dir).resolve()
        if any(file.is_relative_to(folder) for session in sessions.values() for file in files_of(session)):
            return folder
    return None


try:
    for file in workflow.configfiles:
        read_keys(file)  # Snakemake itself forgets the first of two like keys
    settings = load_config(config)
    SHEET = find_sheet(settings.sessions)
    sessions = {session.name: session for session in read_sessions(SHEET, must_exist=False)}
    SIMULATED = find_simulated()
    if SIMULATED is None:
        read_sessions(SHEET)  # nothing makes these files: they must be there
except InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)


wildcard_constraints:
    session="|".join(re.escape(name) for name in sessions),
    family="|".join(settings.models.families),
    latent_dim=r"\d+",
    seed=r"\d+",
    extra="|".join(settings.extra) or "none",


def choices(step: str) -> str:
    """The settings that a step depends on, and no others: a changed learning rate does not redo spectrograms."""
    return subtree(settings, steps()[step].settings)


def code(step: str) -> str:
    """Hash of the library files behind a step: edited code re-runs what it touches."""
    return steps()[step].code


def row(*columns: str):
    """The named cells of a session's row, as a parameter: a changed row redoes what depends on it."""
    return lambda wildcards: [str(getattr(sessions[wildcards.session], column)) for column in columns]


def others(wildcards) -> dict[str, str]:
    """Calls of the sessions whose songs the session's units are compared with, by session."""
    names = compared_sessions(list(sessions.values()), wildcards.session)
    return {name: f"results/prepared/{name}/calls.parquet" for name in names}


def clock_of_labels(wildcards) -> list[str]:
    """The file with the session's clock, where its annotations are not on that of the sound."""
    apart = sessions[wildcards.session].annotated_on_nwb_clock
    return [f"results/prepared/{wildcards.session}/counts.nc"] if apart else []


def rows() -> list[list[str]]:
    return [[s.name, s.subject, s.condition] for s in sessions.values()]


def sound(wildcards) -> list[str]:
    """The files that hold a session's sound."""
    session = sessions[wildcards.session]
    return [shortest(p) for p in (session.audio or (neural_files(session) if session.audio_series else []))]


def spikes(wildcards) -> list[str]:
    """The files that hold a session's spikes and what its clock is read from: pulses may be a channel of the sound."""
    session = sessions[wildcards.session]
    pulses = session.audio if sync_kind(session.sync) == "channel" else pulses_of(session)
    return [shortest(p) for p in (*neural_files(session), *pulses)]


def covariate_files(wildcards) -> list[str]:
    """The files that hold a session's covariates."""
    session = sessions[wildcards.session]
    tables = covariate_tables(session)
    inside = neural_files(session) if len(tables) < len(session.covariates) else []
    return [shortest(path) for path in (*tables, *inside)]


def covariates_of(wildcards) -> list[str]:
    """The session's covariates on the bins of its counts, where the sheet names any."""
    return [f"results/prepared/{wildcards.session}/covariates.nc"] if sessions[wildcards.session].covariates else []


def extras(wildcards) -> dict[str, str]:
    """The session's files of the modalities beside sound and neural, by name."""
    folder = f"results/prepared/{wildcards.session}/extra"
    found = {
        name: covariates_of(wildcards) if extra.signal == "covariates" else [f"{folder}/{name}.nc"]
        for name, extra in settings.extra.items()
    }
    return {name: path for name, paths in found.items() for path in paths}


def labels(wildcards) -> list[str]:
    return [shortest(path) for path in labels_of(sessions[wildcards.session])]


def every_session(name: str) -> list[str]:
    return expand(f"results/prepared/{{session}}/{name}", session=sessions)


def every_model(name: str) -> list[str]:
    models = settings.models
    pattern = f"results/models/{{family}}-k{{latent_dim}}/seed{{seed}}/{name}"
    return expand(pattern, family=models.families, latent_dim=models.latent_dims, seed=models.seeds)


def memory(base_mb: int, *, times_input: float = 0):
    """Memory that grows with the input's size, and with each attempt where a profile retries."""

    def megabytes(wildcards, input, attempt):
        # Snakemake takes a missing file as "not known yet"; its own `input.size_mb` warns of a coroutine instead
        size = sum(os.path.getsize(file) for file in input) if times_input else 0
        return int(attempt * (base_mb + times_input * size / 1e6))

    return megabytes


def minutes(base: int):
    """Run time that doubles with each attempt where a profile retries."""
    return lambda wildcards, attempt: base * 2 ** (attempt - 1)


TABLE_FILES = expand("results/tables/{table}.{suffix}", table=TABLES, suffix=["csv", "parquet"])
TRUTH = shortest(SIMULATED / "truth.json") if SIMULATED else None
RECOVERY = ["results/tables/recovery.csv"] if SIMULATED else []
