"""Units of all sessions together: their tuning, their clusters, and what the clusters stand for."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.clips import SessionClips
from pipeline.errors import InputError
from pipeline.mapping.bands import band_columns, peak_bands
from pipeline.mapping.cluster_bands import Members, decoding_r2, describe_cluster
from pipeline.mapping.clusters import (
    NONE,
    Clustering,
    PooledTuning,
    consensus_clusters,
    nearest_clusters,
    placed,
    tuning_features,
    unit_norm,
)
from pipeline.mapping.nulls import q_values
from pipeline.seeds import numpy_generator

MIN_LIKENESS = 0.5  # cosine of a coupling profile and the tuning curve; below it the model has not learned the unit
SELECTIVE_P_A = 0.05  # units with a smaller p in part A alone make the clusters, and vote for their bands


@dataclass
class Tunings:
    """tuning.nc of all sessions, on one grid of bands."""

    sessions: dict[str, xr.Dataset]

    def __post_init__(self):
        datasets = list(self.sessions.values())
        for name, one in self.sessions.items():
            if not np.array_equal(one["band_low_hz"], datasets[0]["band_low_hz"]):
                raise InputError(
                    "the sessions were tuned on different frequency bands",
                    where=name,
                    found=f"{one.sizes['band']} bands",
                    allowed=f"{datasets[0].sizes['band']} bands, as in the first session",
                    mend="run `duet tune` of all sessions with one configuration",
                )

    @property
    def edges_hz(self) -> np.ndarray:
        first = next(iter(self.sessions.values()))
        return np.append(first["band_low_hz"].values, first["band_high_hz"].values[-1:])

    @property
    def centre_hz(self) -> np.ndarray:
        return (self.edges_hz[1:] + self.edges_hz[:-1]) / 2

    def joined(self, name: str, **selection) -> np.ndarray:
        """A variable with dimension `unit` (first), of all sessions after each other."""
        parts = []
        for one in self.sessions.values():
            values = one[name].sel(**selection) if selection else one[name]
            parts.append(values.transpose("unit", ...).values)
        return np.concatenate(parts)

    @property
    def covariates(self) -> dict[str, tuple[str, float]]:
        """Names of the covariates that the tests of each session took out, where there were some, and the share of
        bins in which all are known."""
        return {
            session: (names, float(one.attrs["covariates_known"]))
            for session, one in self.sessions.items()
            if (names := str(one.attrs.get("covariates", "")))
        }

    @property
    def session_of_unit(self) -> np.ndarray:
        return np.repeat(list(self.sessions), [one.sizes["unit"] for one in self.sessions.values()])


def unit_table(tunings: Tunings, *, q: float) -> pd.DataFrame:
    """One row a unit: tests with q values over all sessions, and the band of the units that pass."""
    table = pd.DataFrame(
        {
            "unit_id": tunings.joined("unit"),
            "session": tunings.session_of_unit,
            "region": tunings.joined("region"),
            "lag_ms": tunings.joined("lag_s") * 1e3,
            "p_vocal": tunings.joined("p_vocal"),
            "p_band": tunings.joined("p_band"),
            "p_floor": tunings.joined("p_floor_band"),
            "p_floor_vocal": tunings.joined("p_floor_vocal"),
            "split_half_r": tunings.joined("split_half_r"),
        }
    )
    for level in ("vocal", "band"):
        table[f"q_{level}"] = q_values(table[f"p_{level}"].to_numpy())
    selective = (table["q_band"] <= q).to_numpy()
    gain = tunings.joined("tuning_gain", part="all")
    shown = ("best_khz", "low_khz", "high_khz", "best_ci_low_khz", "best_ci_high_khz")
    table[list(shown)] = np.nan
    if selective.any():
        found = peak_bands(gain[selective], tunings.centre_hz, tunings.edges_hz)
        interval = tunings.joined("peak_ci_hz")[selective]
        values = [found["peak_hz"], found["low_hz"], found["high_hz"], interval[:, 0], interval[:, 1]]
        for name, value in zip(shown, values, strict=True):
            table.loc[selective, name] = value / 1e3
    table.loc[~selective, "lag_ms"] = np.nan
    return table


def pooled_tuning(tunings: Tunings, chosen: np.ndarray, profiles: np.ndarray, *, max_lag_s: float) -> PooledTuning:
    """Part A of the `chosen` units (n_units,) bool; `profiles` (n_units, n_bands) of the model, zero where unused."""
    response, power = [], []
    session = tunings.session_of_unit
    for name, one in tunings.sessions.items():
        units = chosen[session == name]
        if units.any():
            rows = one["bout_part"].values.astype(str) == "A"
            tested = one["band_tested"].values.astype(bool)
            response.append(one["bout_response"].values[rows][:, units][..., :-1] * tested)
            power.append(np.diagonal(one["bout_gram"].values[rows], axis1=1, axis2=2)[..., :-1] * tested)
    if not response:
        return PooledTuning([], [], np.zeros(0), profiles[chosen])
    lag = tunings.joined("lag_a_s")[chosen] / max(max_lag_s, 1e-9)
    return PooledTuning(response, power, lag, profiles[chosen])


def whole_features(tunings: Tunings, chosen: np.ndarray, profiles: np.ndarray, *, max_lag_s: float) -> np.ndarray:
    """`tuning_features` of the `chosen` units by all data: the relative change of rate and the lag over the session."""
    gain = np.nan_to_num(tunings.joined("tuning_gain", part="all")[chosen])
    return tuning_features(gain, profiles[chosen], tunings.joined("lag_s")[chosen] / max(max_lag_s, 1e-9))


def votes(tunings: Tunings, cluster: np.ndarray, *, max_lag_s: float) -> np.ndarray:
    """Cluster in whose held-out test each unit votes, (n_units,), -1 for none; `cluster` (n_units,) of the units that
    made the clusters.

    All units vote that part A alone finds selective (p_a), admitted or not, each for the cluster that its tuning and
    lag of part A are nearest to, the unit itself left out: where they vote must not hang on their being admitted, which
    part B had a part in. So part B neither brings a unit in nor, by contradicting, lets it drop out. The model has no
    say: its epoch and its family were chosen on validation blocks.
    """
    voter = tunings.joined("p_a") <= SELECTIVE_P_A
    some = voter | (cluster != NONE)
    nothing = np.zeros((len(cluster), len(tunings.centre_hz)))
    found = np.full(len(cluster), NONE)
    found[some] = nearest_clusters(pooled_tuning(tunings, some, nothing, max_lag_s=max_lag_s).features(), cluster[some])
    return np.where(voter, found, NONE)


def assign_clusters(
    tunings: Tunings,
    units: pd.DataFrame,
    profiles: np.ndarray,
    predicted: np.ndarray,
    *,
    q: float,
    n_consensus: int,
    max_clusters: int,
    min_units: int,
    max_lag_s: float,
    seed: int,
):
    """Cluster the band-selective units; returns the table with `cluster`, `membership` (`likeness`) and `votes_for`
    (`votes`), and the Clustering.

    The clusters are made of those units that part A alone finds selective too: the others' curves of part A are noise,
    which merges clusters. All selective units are then placed by their data of the whole session.

    `predicted` (n_units,): whether the primary model predicts the unit better than its mean rate on the validation
    blocks; only then, and where it resembles the unit's own tuning in part A, does its coupling profile take part.
    """
    has_curve = np.isfinite(tunings.joined("tuning_gain", part="all")).any(axis=1)  # else there is nothing to place
    chosen = (units["q_band"] <= q).to_numpy() & has_curve
    core = chosen & (tunings.joined("p_a") <= SELECTIVE_P_A)
    alone = pooled_tuning(tunings, chosen, np.zeros_like(profiles), max_lag_s=max_lag_s).features()[:, :-1]
    alike = np.zeros(len(units), bool)
    alike[chosen] = (alone * unit_norm(profiles[chosen])).sum(axis=1) >= MIN_LIKENESS
    trusted = np.where((predicted & alike)[:, None], unit_norm(profiles), 0.0)
    clustering = consensus_clusters(
        pooled_tuning(tunings, core, trusted, max_lag_s=max_lag_s),
        n_draws=n_consensus,
        max_clusters=max_clusters,
        min_units=min_units,
        generator=numpy_generator(seed, "clusters"),
    )
    made, cluster, membership = np.full(len(units), NONE), np.full(len(units), NONE), np.full(len(units), np.nan)
    made[core] = clustering.labels
    features = whole_features(tunings, chosen, trusted, max_lag_s=max_lag_s)
    cluster[chosen], membership[chosen] = placed(features, made[chosen])
    votes_for = votes(tunings, made, max_lag_s=max_lag_s)
    return units.assign(cluster=cluster, membership=membership, votes_for=votes_for), clustering


def tuning_curve_table(tunings: Tunings) -> pd.DataFrame:
    """The curves in long form; untested bands have no values."""
    tables = []
    for one in tunings.sessions.values():
        curves = one[["tuning_z", "tuning_gain"]].reset_coords(drop=True).to_dataframe().reset_index()
        if not len(curves):
            continue
        ci = one["tuning_gain_ci"].expand_dims(part=["all"]).to_dataset("edge").to_dataframe().reset_index()
        ci = ci.rename(columns={"low": "ci_low_gain", "high": "ci_high_gain"})
        curves = curves.merge(ci[["part", "unit", "band", "ci_low_gain", "ci_high_gain"]], "left")
        edges = pd.DataFrame(
            {
                "band": one["band"].values,
                "band_low_khz": one["band_low_hz"].values / 1e3,
                "band_high_khz": one["band_high_hz"].values / 1e3,
            }
        )
        tables.append(curves.merge(edges, "left").rename(columns={"unit": "unit_id"}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def cluster_table(
    tunings: Tunings,
    assigned: pd.DataFrame,
    clustering: Clustering,
    *,
    subjects: dict[str, str],
    clips: list[SessionClips],
    n_bootstrap: int,
    generator: np.random.Generator,
) -> pd.DataFrame:
    """One row a cluster and band; `assigned` is the table of units with their `cluster`, and the one they vote for.

    q is over all bands that were tested, those too that part A shows and part B does not confirm, which get no row.
    """
    by_cluster = {cluster: rows for cluster, rows in assigned[assigned["cluster"] >= 0].groupby("cluster", sort=True)}
    voting = {cluster: _of_sessions(assigned[assigned["votes_for"] == cluster]) for cluster in by_cluster}
    table = []
    for cluster, rows in by_cluster.items():
        members, voters = (
            [
                Members(one, np.flatnonzero(np.isin(one["unit"].values.astype(str), unit_ids[name])), subjects[name])
                for name, one in tunings.sessions.items()
                if name in unit_ids
            ]
            for unit_ids in (_of_sessions(rows), voting[cluster])
        )
        runs = describe_cluster(
            members,
            voters,
            centre_hz=tunings.centre_hz,
            edges_hz=tunings.edges_hz,
            n_bootstrap=n_bootstrap,
            generator=generator,
        )
        counted = rows["region"].replace("", np.nan).dropna().value_counts()
        of_cluster = {
            "n_units": len(rows),
            "n_tested": sum(len(member.units) for member in voters),
            "n_sessions": rows["session"].nunique(),
            "n_animals": rows["session"].map(subjects).nunique(),
            "regions": "; ".join(f"{region} {n}" for region, n in counted.items()),
            "lag_ms_median": rows["lag_ms"].median(),
            "n_clusters": clustering.n_clusters,
            "p_one_cluster": clustering.p_one_cluster,
        }
        for run, found in enumerate(runs):
            band = {"low_hz": found["low_hz"], "high_hz": found["high_hz"]}
            others = [decoding_r2(clips, ids, **band) for other, ids in voting.items() if other != cluster]
            others = [value for value in others if np.isfinite(value)]
            table.append(
                {
                    "cluster": cluster,
                    "run": run,
                    **of_cluster,
                    **band_columns(found),
                    "gain_percent": 100 * found["height"],
                    "heldout_decode_r2": decoding_r2(clips, voting[cluster], **band),
                    "heldout_decode_r2_best_other": max(others, default=np.nan),
                    **{name: found[name] for name in ("n_animals_agree", "heldout_iou", "p", "p_floor", "is_band")},
                }
            )
    if not table:
        return pd.DataFrame()
    table = pd.DataFrame(table)
    table["q"] = q_values(table["p"].to_numpy())
    table = table[table["run"].eq(0) | table["is_band"]].drop(columns="is_band").reset_index(drop=True)
    return table.assign(run=table.groupby("cluster").cumcount())


def _of_sessions(units: pd.DataFrame) -> dict[str, list[str]]:
    """Unit ids by session."""
    return {session: list(rows["unit_id"]) for session, rows in units.groupby("session")}
