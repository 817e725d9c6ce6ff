"""All tables of a run from its files."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.clips import read_clips
from pipeline.errors import InputError
from pipeline.evaluation.metrics import metrics_table
from pipeline.mapping.advice import advice
from pipeline.mapping.choice import Primary, choose_primary, predicted_units
from pipeline.mapping.joining import (
    bits_of_units,
    controls_table,
    coupling_table,
    kl_of_latents,
    latent_tables,
    latents_of_clusters,
    model_tables,
    primary_summary,
    with_spaces,
)
from pipeline.mapping.latents import Embedded
from pipeline.mapping.songs import session_permutation, song_headline, song_note, song_summary
from pipeline.mapping.summary import covariate_notes, summarise
from pipeline.mapping.tables import TABLES, write_tables
from pipeline.mapping.units import Tunings, assign_clusters, cluster_table, tuning_curve_table, unit_table
from pipeline.seeds import numpy_generator
from pipeline.sessions import read_sessions
from pipeline.storage import read_dataset, read_table, written_whole
from pipeline.vae.assembly import LoadedModel, load_model


def map_run(
    *,
    sheet: str | Path,
    models: Sequence[str | Path],
    latents: Sequence[str | Path],
    metrics: Sequence[str | Path],
    clips: Sequence[str | Path],
    tunings: Sequence[str | Path],
    units: Sequence[str | Path],
    out_dir: str | Path,
    n_bootstrap: int,
    n_consensus: int,
    n_surrogates: int,
    max_clusters: int,
    min_units: int,
    max_lag_s: float,
    q: float,
    seed: int,
) -> dict:
    """Write every table of TABLES and summary.json into `out_dir`; returns the summary."""
    if len(models) != len(latents):
        raise InputError("map: each model needs its latents", found=f"{len(models)} models, {len(latents)} latents")
    subjects = {session.name: session.subject for session in read_sessions(sheet, must_exist=False)}
    sessions = [read_clips(path) for path in clips]
    tuned = Tunings({name: one for name, one in map(_read_tuning, tunings)})
    if strangers := sorted((set(tuned.sessions) | {session.session for session in sessions}) - set(subjects)):
        raise InputError("map: files of sessions that the sheet does not name", where=sheet, found=", ".join(strangers))
    known = [table for table in map(read_table, units) if len(table)]
    measured = [table for table in map(read_table, metrics) if len(table)]
    scores = pd.concat(measured, ignore_index=True) if measured else metrics_table()

    tables, averaged = model_tables(scores)
    primary = choose_primary(averaged)
    chosen, embedded = _primary_models(primary, models, latents)
    tables["units"] = pd.concat(known, ignore_index=True) if known else pd.DataFrame(columns=list(TABLES["units"]))
    tables["tuning_curves"] = tuning_curve_table(tuned)
    tables["controls"] = controls_table(tuned)
    trust = "low" if tables["controls"]["trust"].eq("low").any() else "ok"
    assigned = unit_table(tuned, q=q)
    followed = {name: one["song_gain"] for name, one in tuned.sessions.items() if "song_gain" in one}
    songs = session_permutation(followed, generator=numpy_generator(seed, "songs"))
    assigned["own_song_rank"] = assigned["unit_id"].map(songs.rank.droplevel("session"))
    tables["coupling"], profiles, changes = coupling_table(tuned, chosen, sessions, n_draws=n_bootstrap, seed=seed)
    if primary is not None:
        kl_nat = kl_of_latents(scores, primary, len(embedded[0].columns))
        tables |= latent_tables(
            chosen,
            embedded,
            sessions,
            changes,
            kl_nat,
            assigned,
            n_draws=n_bootstrap,
            n_surrogates=n_surrogates,
            q=q,
            seed=seed,
        )
        tables["latents"] = with_spaces(tables["latents"], scores, primary)

    assigned["bits_per_spike"] = bits_of_units(scores, primary, assigned["unit_id"], split="test")
    assigned, clustering = assign_clusters(
        tuned,
        assigned,
        profiles,
        predicted_units(scores, primary, assigned["unit_id"]),
        q=q,
        n_consensus=n_consensus,
        max_clusters=max_clusters,
        min_units=min_units,
        max_lag_s=max_lag_s,
        seed=seed,
    )
    bands = cluster_table(
        tuned,
        assigned,
        clustering,
        subjects=subjects,
        clips=sessions,
        n_bootstrap=n_bootstrap,
        generator=numpy_generator(seed, "cluster bands"),
    ).reindex(columns=list(TABLES["cluster_bands"]))
    bands["latents"] = latents_of_clusters(bands, tables.get("latent_bands", pd.DataFrame()))
    tables |= {"unit_clusters": assigned, "cluster_bands": bands}
    for name, table in tables.items():
        if "trust" in TABLES[name] and name != "controls":
            tables[name] = table.assign(trust=trust)

    described, baseline = primary_summary(primary, tables["model_comparison"], averaged)
    summary = summarise(tables, primary=described, best_baseline=baseline, q=q, p_one_cluster=clustering.p_one_cluster)
    summary["session_permutation"] = permuted = song_summary(songs, subjects)
    summary["headlines"] += song_headline(permuted)
    summary["notes"] += [song_note(permuted), *covariate_notes(tuned.covariates)]
    summary["advice"] = advice(averaged, tables["model_comparison"], primary)
    write_tables(tables, out_dir)
    with written_whole(Path(out_dir) / "summary.json") as partial:
        partial.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def _read_tuning(path):
    with read_dataset(path, needs="p_band") as dataset:
        tuning = dataset.load()
    return str(tuning.attrs["session"]), tuning


def _primary_models(
    primary: Primary | None, models: Sequence[str | Path], latents: Sequence[str | Path]
) -> tuple[list[LoadedModel], list[Embedded]]:
    """The primary model's seeds in order, with their latents."""
    if primary is None:
        return [], []
    loaded = [(load_model(model), path) for model, path in zip(models, latents, strict=True)]
    mine = [
        (model, Embedded(read_table(path)))
        for model, path in loaded
        if model.family == primary.objective and model.latent_dim == primary.latent_dim
    ]
    mine.sort(key=lambda pair: pair[0].seed)
    if not mine:
        raise InputError(
            "map: metrics of a model that was not given", found=primary.objective, mend="give its --models"
        )
    return [model for model, _ in mine], [table for _, table in mine]
