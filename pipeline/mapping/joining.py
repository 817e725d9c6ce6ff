"""Sessions, models and metrics of a run joined into its tables and its summary."""

import numpy as np
import pandas as pd

from pipeline.clips import SessionClips
from pipeline.evaluation.factorisation import audio_shares, spaces
from pipeline.mapping.bands import edges_between, overlap
from pipeline.mapping.choice import Primary, best_baselines, comparison_table, likelihood_table, unit_bits
from pipeline.mapping.controls import pooled_controls
from pipeline.mapping.coupling import LatentChanges, held_out_p, model_coupling, pooled_coupling
from pipeline.mapping.latent_effects import ablate, latent_bands, latent_units
from pipeline.mapping.latent_links import link_latents
from pipeline.mapping.latents import Embedded, latents_table, traverse
from pipeline.mapping.nulls import q_values
from pipeline.mapping.units import Tunings
from pipeline.seeds import numpy_generator
from pipeline.vae.assembly import LoadedModel

LATENT_NULL = (
    "circular shift of the held-out clips, bout means and the amount of sound (how much, how loud, when in the clip) "
    "removed from both sides; maximum over all bands"
)


def coupling_table(
    tunings: Tunings, models: list[LoadedModel], clips: list[SessionClips], *, n_draws: int, seed: int
) -> tuple[pd.DataFrame, np.ndarray, dict[str, LatentChanges]]:
    """The `coupling` table, averaged over the models (seeds); each unit's profile on the bands of the tuning curves,
    (n_units, n_bands), zero for units without one; and what the first model's latents change, by session."""
    profiles = np.zeros((len(tunings.session_of_unit), len(tunings.centre_hz)))
    tables, changes = [], {}
    for session in clips:
        one = tunings.sessions.get(session.session)
        if one is None or not session.unit_ids:
            continue
        lag_s = one["lag_a_s"].sel(unit=session.unit_ids).values
        lag_s = session.bin_width_s * np.rint(lag_s / session.bin_width_s)
        seeds = [model_coupling(model, session, lag_s=lag_s, seed=seed + model.seed) for model in models]
        seeds = [found for found in seeds if found is not None]
        if not seeds:
            continue
        changes[session.session] = seeds[0].changes
        generator = numpy_generator(seed, "coupling", session.session)
        mean, low, high = pooled_coupling(seeds, n_draws=n_draws, generator=generator)
        profile = np.array(
            [np.interp(tunings.centre_hz, session.frequency_hz, column, left=0, right=0) for column in mean.T]
        )
        profiles[tunings.session_of_unit == session.session] = profile
        p, p_floor = held_out_p(profile, one, session.unit_ids)
        edges_khz = edges_between(session.frequency_hz) / 1e3
        n_bands, n_units = mean.shape
        tables.append(
            pd.DataFrame(
                {
                    "band_low_khz": np.tile(edges_khz[:-1], n_units),
                    "band_high_khz": np.tile(edges_khz[1:], n_units),
                    "unit_id": np.repeat(session.unit_ids, n_bands),
                    "coupling_db_log_rate": mean.T.ravel(),
                    "ci_low": low.T.ravel(),
                    "ci_high": high.T.ravel(),
                    "lag_ms": np.repeat(lag_s * 1e3, n_bands),
                    "p": np.repeat(p, n_bands),
                    "p_floor": np.repeat(p_floor, n_bands),
                }
            )
        )
    if not tables:
        return pd.DataFrame(), profiles, changes
    table = pd.concat(tables, ignore_index=True)
    once = table.drop_duplicates("unit_id").set_index("unit_id")["p"]
    q = pd.Series(q_values(once.to_numpy()), index=once.index)
    return table.assign(q=table["unit_id"].map(q)), profiles, changes


def model_tables(metrics: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """`model_comparison` and `log_likelihood`, and the scores averaged over seeds."""
    comparison, averaged = comparison_table(metrics)
    return {"model_comparison": comparison, "log_likelihood": likelihood_table(metrics)}, averaged


def primary_summary(primary: Primary | None, comparison: pd.DataFrame, averaged: pd.DataFrame):
    """What summary.json says about the primary model and about the best baseline (each a dict or None)."""
    if primary is None:
        return None, None
    key = (primary.metric, "neural", "audio")
    rows = comparison[
        comparison["metric"].eq(key[0])
        & comparison["target"].eq(key[1])
        & comparison["given"].eq(key[2])
        & comparison["split"].eq("test")
        & comparison["seed"].eq(-1)
    ].set_index(["objective", "latent_dim"])
    described = {
        "family": primary.objective,
        "latent_dim": primary.latent_dim,
        "seeds": [int(seed) for seed in primary.seeds],
        "reason": f"highest {primary.unit} from sound to the neural side on the validation blocks, averaged over seeds",
        "unit": primary.unit,
        "validation_bits": primary.validation,
        "test_bits": None,
        "test_se": None,
    }
    name = best_baselines(averaged).get(key)
    if (primary.objective, primary.latent_dim) not in rows.index:
        return described, None
    own = rows.loc[(primary.objective, primary.latent_dim)]
    described |= {"test_bits": _plain(own["value"]), "test_se": _plain(own["se"])}
    rival = rows[rows.index.get_level_values("objective") == name]
    if name is None or not len(rival):
        return described, None
    baseline = {"objective": name, "test_bits": _plain(rival.iloc[0]["value"])}
    return described, baseline | {n: _plain(own[n]) for n in ("delta", "delta_se", "delta_low", "delta_high")}


def _plain(value) -> float | None:
    return float(value) if np.isfinite(value) else None


def latent_tables(
    models: list[LoadedModel],
    embedded: list[Embedded],
    clips: list[SessionClips],
    changes: dict[str, LatentChanges],
    kl_nat: np.ndarray,
    units: pd.DataFrame,
    *,
    n_draws: int,
    n_surrogates: int,
    q: float,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """`latents`, `latent_bands`, `latent_units` of the first seed; bands and units of active latents only.

    `changes`: those of the first model by session; `units`: the table of units with their own tests and bands.
    """
    model = models[0]
    tables = {"latents": latents_table(embedded, kl_nat)}
    sd, active = (tables["latents"][name].to_numpy() for name in ("posterior_sd", "active"))
    by_latent = tables["latents"].set_index("latent")
    known = set(embedded[0].table["session"])
    tables["latents"] = tables["latents"].assign(**_replicates([one for one in clips if one.session in known]))
    if changes and active.any():
        far = traverse(model, embedded[0])
        generator = numpy_generator(seed, "latents")
        link = link_latents(embedded[0], clips, n_surrogates=n_surrogates, generator=generator)
        seen = [session for session in clips if session.session in changes]
        ablations = {session.session: ablate(model, session) for session in seen}
        common = {"sd": sd, "active": active, "n_draws": n_draws, "generator": generator}
        of_units = [
            latent_units(
                changes[session.session],
                ablations[session.session],
                far.log_rate[session.session],
                link.units.get(session.session),
                unit_ids=session.unit_ids,
                kind=model.kind,
                **common,
            )
            for session in seen
        ]
        of_units = pd.concat(of_units, ignore_index=True)
        of_units["q"] = q_values(of_units["p"].to_numpy())
        of_units["reported_as"] = of_units["latent"].map(by_latent["reported_as"])
        of_units = of_units.merge(units[["unit_id", "best_khz", "lag_ms"]], "left", on="unit_id")
        bands = latent_bands(
            list(changes.values()), list(ablations.values()), far, link, frequency_hz=model.frequency_hz, **common
        )
        if len(bands):
            bands = bands.assign(null=LATENT_NULL, **_replicates(seen))
            for name in ("seeds_agree", "reported_as"):
                bands[name] = bands["latent"].map(by_latent[name])
            bands["lag_ms"] = lag_of_bands(bands, of_units[of_units["q"] <= q])
        tables |= {"latent_bands": bands, "latent_units": of_units.drop(columns="best_khz")}
    named = {"objective": model.family, "latent_dim": model.latent_dim}
    return {name: table.assign(**named) for name, table in tables.items()}


def _replicates(clips: list[SessionClips]) -> dict[str, int]:
    return {"n_sessions": len(clips), "n_animals": len({session.subject for session in clips})}


def lag_of_bands(bands: pd.DataFrame, linked: pd.DataFrame) -> list[float]:
    """Median lag (ms) of the units that go with each band's latent and whose own best frequency lies in the band."""
    return [
        linked.loc[linked["latent"].eq(row.latent) & linked["best_khz"].between(row.low_khz, row.high_khz), "lag_ms"]
        .astype(float)
        .median()
        for row in bands.itertuples()
    ]


def latents_of_clusters(bands: pd.DataFrame, latents: pd.DataFrame) -> list[str]:
    """For each band of a cluster the latents with a band that overlaps it by half or more and goes with spikes
    (q <= 0.05), unless traversal or ablation contradict it; only those that repeat over seeds as dimensions."""
    if len(latents):
        latents = latents[latents["reported_as"].eq("dimension") & latents["q"].le(0.05) & latents["sign_agrees"]]
    return [
        ";".join(
            dict.fromkeys(
                str(row.latent)
                for row in latents.itertuples()
                if overlap(row.low_khz, row.high_khz, cluster.low_khz, cluster.high_khz) >= 0.5
            )
        )
        for cluster in bands.itertuples()
    ]


def controls_table(tunings: Tunings) -> pd.DataFrame:
    """The `controls` table: shares of significant tests where there is nothing to find."""
    names = ("control_fraction", "control_se", "control_n")
    pooled = pooled_controls({k: tuple(one[n].values for n in names) for k, one in tunings.sessions.items()})
    pooled = pooled.rename(columns={"fraction": "value", "nominal": "baseline"})
    return pooled.assign(metric="share of p <= 0.05", delta=pooled["value"] - pooled["baseline"])


def kl_of_latents(metrics: pd.DataFrame, primary: Primary, n_latents: int) -> np.ndarray:
    """Mean KL of each latent (nats) of the first seed on the validation blocks; NaN where it was not measured."""
    rows = metrics[
        metrics["metric"].eq("kl")
        & metrics["objective"].eq(primary.objective)
        & metrics["latent_dim"].eq(primary.latent_dim)
        & metrics["seed"].eq(primary.seeds[0])
        & metrics["split"].eq("validation")
    ]
    found = rows.groupby("unit_id")["value"].mean()
    return np.array([found.get(f"z{latent}", np.nan) for latent in range(n_latents)])


def with_spaces(latents: pd.DataFrame, metrics: pd.DataFrame, primary: Primary) -> pd.DataFrame:
    """The `latents` table with `space` and `audio_share`, of the first seed's mean sensitivities over sessions.

    Missing where they were not measured: no session has both sides.
    """
    rows = metrics[
        metrics["metric"].eq("sensitivity")
        & metrics["objective"].eq(primary.objective)
        & metrics["latent_dim"].eq(primary.latent_dim)
        & metrics["seed"].eq(primary.seeds[0])
    ]
    found = rows.groupby(["target", "unit_id"])["value"].mean().unstack("target")
    found = found.reindex([f"z{latent}" for latent in latents["latent"]])
    if found.empty or found.isna().to_numpy().all():
        return latents.assign(space=None, audio_share=np.nan)
    sizes = {name: values.to_numpy(float) for name, values in found.items()}
    space = np.where(latents["active"], spaces(sizes), "inactive").astype(object)
    space[found.isna().any(axis=1)] = None
    return latents.assign(space=space, audio_share=audio_shares(sizes))


def bits_of_units(metrics: pd.DataFrame, primary: Primary | None, unit_ids: pd.Series, *, split: str) -> np.ndarray:
    """Bits/spike of the primary model for each unit, NaN without one."""
    if primary is None:
        return np.full(len(unit_ids), np.nan)
    return unit_ids.map(unit_bits(metrics, primary, split=split)).to_numpy(float)
