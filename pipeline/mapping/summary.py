"""The result of a run in plain English, and the numbers behind it (summary.json)."""

import math

import pandas as pd

from pipeline.mapping.names import readable

NOTES = (
    "Vocal modulation: circular shift of at least 5 s, cosines of period >= 60 s removed from both sides.",
    "Band selectivity: calls' contours swapped within bouts and time-warped; bout means, onset/offset response, level "
    "and duration removed. Continuous sound: the presentations (annotations in the sheet) in other orders, "
    "or without them linear shift, p = m / (N + 1); slow drift and loudness removed.",
    "q values: Benjamini-Hochberg within each table.",
    "Part A: training blocks. Part B: validation and test blocks.",
    "Units are admitted to clusters by their q over the whole session (A and B). Which clusters there are, and how "
    "many, is read from the curves of part A of those that part A alone finds selective too (p_a <= 0.05); all "
    "admitted units are then placed by all their data. Edges, peak and interval of a cluster's band are those of its "
    "units in all data.",
    "Cluster p: in part B the response inside the band of part A minus outside, against the same swaps. Only units "
    "that part A alone finds selective (p_a: 199 swaps by default) vote, admitted or not, each for the cluster "
    "that it is most like in part A. Without a voter nothing is tested (no p, never found).",
    "The weights of the model are fitted on training blocks. Its epoch and its family are chosen on validation blocks, "
    "which are half of part B; test blocks are only reported.",
)


def summarise(
    tables: dict[str, pd.DataFrame], *, primary: dict | None, best_baseline: dict | None, q: float, p_one_cluster: float
) -> dict:
    """The layout of summary.json: primary, best_baseline, beats_baseline, counts, trust, controls, headlines, notes."""
    units, assigned, bands, controls = (
        tables[name] for name in ("units", "unit_clusters", "cluster_bands", "controls")
    )
    doubtful = controls[controls["trust"].eq("low")]
    reasons = [
        f"{row.control.replace('_', ' ')}: {row.value:.0%} of the {row.level} tests are significant at 5 %"
        + (f", far more in {row.doubtful_sessions}" if row.doubtful_sessions and row.value <= 2 * row.baseline else "")
        for row in doubtful.itertuples()
    ]
    beats = None
    if best_baseline is not None and best_baseline["delta_low"] is not None:  # None: no error over blocks
        beats = bool(best_baseline["delta_low"] > 0)
    counts = {
        "n_sessions": int(units["session"].nunique()),
        "n_animals": int(units["subject"].nunique()),
        "n_units": len(units),
        "n_units_included": int(units["included"].sum()),
        "n_units_vocal": int((assigned["q_vocal"] <= q).sum()),
        "n_units_band": int((assigned["q_band"] <= q).sum()),
        "n_units_assigned": int((assigned["cluster"] >= 0).sum()),
        "n_clusters": int(bands["cluster"].nunique()),
    }
    return {
        "primary": primary,
        "best_baseline": best_baseline,
        "beats_baseline": beats,
        **counts,
        "p_one_cluster": _plain(p_one_cluster),
        "q": q,
        "trust": "low" if reasons else "ok",
        "trust_reasons": reasons,
        "controls": [
            {
                "control": row.control,
                "level": row.level,
                "fraction": _plain(row.value),
                "n": int(row.n),
                "nominal": row.baseline,
                "trust": row.trust,
            }
            for row in controls.itertuples()
        ],
        "headlines": _headlines(
            counts | {"p_one_cluster": p_one_cluster},
            assigned,
            bands,
            controls,
            primary=primary,
            best_baseline=best_baseline,
            beats=beats,
            q=q,
            reasons=reasons,
        ),
        "notes": list(NOTES),
    }


def covariate_notes(covariates: dict[str, tuple[str, float]]) -> list[str]:
    """What was partialled out: by session the names, and in what share of the time all were known; [] without any."""
    if not covariates:
        return []
    sessions: dict[str, list[str]] = {}
    for session, (names, known) in covariates.items():
        sessions.setdefault(names, []).append(f"{session}: known {known:.0%} of the time")
    told = "; ".join(f"{names.replace('; ', ', ')} ({', '.join(where)})" for names, where in sessions.items())
    return [
        f"Covariates partialled out of vocal modulation and band selectivity: {told}. Bins in which one of them is not "
        "known are left out of both tests."
    ]


def _headlines(counts, assigned, bands, controls, *, primary, best_baseline, beats, q, reasons) -> list[str]:
    lines = []
    held = bands[bands["q"] <= q].sort_values("peak_khz")
    if counts["n_units"] == 0:
        lines.append("Nothing to map: no session has units; there is sound alone.")
    elif counts["n_units_included"] == 0:
        lines.append("Nothing to map: no session has units that fire enough.")
    elif assigned["p_band"].notna().sum() == 0:
        lines.append("Nothing to map: no unit could be tested, because no session has both sound and spikes.")
    elif counts["n_units_band"] == 0:
        lines.append(f"Nothing to see: no unit prefers a frequency band at q <= {q:g}.")
    elif len(held) == 0:
        lines.append(
            f"{_count(counts['n_units_band'], 'unit')} {_verb('prefers', counts['n_units_band'])} a frequency band at "
            f"q <= {q:g}, but no cluster of units holds up in held-out data."
        )
    else:
        ranges = held["low_khz"].map("{:.0f}".format) + "-" + held["high_khz"].map("{:.0f}".format)
        places = ", ".join(" and ".join(of) + " kHz" for _, of in ranges.groupby(held["cluster"], sort=False))
        n_held = held["cluster"].nunique()
        p_one = counts["p_one_cluster"]
        if counts["n_clusters"] > 1 or p_one <= 0.05:  # of several groups only one may be large enough
            found = f"{_count(n_held, 'cluster')} of neurons {_verb('stands', n_held)} for {places}"
        else:
            why = f"p = {p_one:.2g}" if p_one > 0 else "too few units to tell"
            found = f"Tuned neurons form one cluster or a continuum ({why}), and together prefer {places}"
        n_placed = int(held.drop_duplicates("cluster")["n_units"].sum())
        lines.append(
            f"{found} ({_count(n_placed, 'unit')} of {counts['n_units_included']}, placed by all their data, "
            f"{_count(int(held['n_animals'].max()), 'animal')}; bands tested in held-out bouts, q <= {q:g})."
        )
    if counts["n_units_included"] and assigned["p_vocal"].notna().any():
        lines.append(
            f"{counts['n_units_vocal']} of {_count(counts['n_units_included'], 'unit')} fire differently while there "
            f"is sound; {counts['n_units_band']} prefer some frequencies (q <= {q:g})."
        )
    if primary is not None:
        test, se, unit = primary["test_bits"], primary["test_se"], primary["unit"]
        what = "spikes" if unit == "bits/spike" else "traces"
        text = f"The model {primary['family']} predicts test {what} from sound by {_signed(test)} {unit}"
        lines.append(text + (f" (95 % ± {1.96 * se:.3f})." if se is not None else "."))
    if best_baseline is not None and beats is not None:
        verdict = "better than" if beats else "not better than"
        lines.append(
            f"That is {verdict} the best baseline, {readable(best_baseline['objective'])} "
            f"(difference {_signed(best_baseline['delta'])}, 95 % interval "
            f"{_signed(best_baseline['delta_low'])} to {_signed(best_baseline['delta_high'])})."
        )
    passing = controls["value"].astype(float).dropna()
    if reasons:
        lines.insert(0, "Do not trust these results: a control passes too often (" + "; ".join(reasons) + ").")
    elif len(passing):
        names = " and ".join(sorted({str(name).replace("_", " ") for name in controls["control"]}))
        lines.append(
            f"Controls ({names}): {passing.min():.1%} to {passing.max():.1%} of the tests pass at 5 %, no more than "
            "chance allows."
        )
    return lines


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _verb(singular: str, n: int) -> str:
    return singular if n == 1 else singular.removesuffix("s")


def _signed(value: float | None) -> str:
    return "?" if value is None else f"{value:+.3f}"


def _plain(value: float) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
