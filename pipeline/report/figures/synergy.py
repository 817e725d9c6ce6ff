"""Synergy: what both sides together tell that neither tells alone

a, share of the variance of known factors of the sound (pitch, level, how long it sounds; call type where clips have
labels) that ridge regression reads in test clips from the primary model's latents, inferred from the sound, from the
neural data or from both; dots with 95 % intervals over blocks. b, the same for every family, both sides against the
better one of them alone (chosen on the validation blocks): above the diagonal there is synergy. c, synergy in nats a
clip: log p of one side's data with latents inferred from both as the proposal, less that with latents inferred from
that side alone. Both estimate the same log p: the figure says which proposal is the better one (the effective samples
stand in the likelihood table), not what both sides know. Bold: the primary model.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.families import measured, name_rows, with_interval
from pipeline.report.results import NoData, Results
from pipeline.report.style import FAINT, INK, SIDE_COLOURS, SIDES, new_figure, panel_letter

PLACE = 66
BOTH = "audio+neural"
MARKERS = {"pitch": "o", "level": "s", "duration": "^", "call type": "D"}


def draw(results: Results) -> Figure:
    """Decoding of the primary model, joint against best single of all, and the nats."""
    decoding = measured(results, "decoding")
    gains, nats = (measured(results, metric) for metric in ("decoding_synergy", "log_likelihood:synergy"))
    gains, nats = (rows[rows["given"].eq(BOTH)] if len(rows) else rows for rows in (gains, nats))
    if gains.empty and nats.empty:
        raise NoData("No model infers its latents from both sides.")
    n_rows = max(nats["label"].nunique() if len(nats) else 0, 6)
    figure = new_figure(1.0 + 0.25 * n_rows)
    left, middle, right = figure.subplots(1, 3, gridspec_kw={"width_ratios": [1, 1, 1]})
    _factors(left, decoding)
    _against(middle, decoding, gains)
    _nats(right, nats)
    for axes, letter in ((left, "a"), (middle, "b"), (right, "c")):
        panel_letter(axes, letter)
    return figure


def _factors(axes: Axes, decoding: pd.DataFrame) -> None:
    rows = decoding[decoding["is_primary"]] if len(decoding) else decoding
    factors = [name for name in MARKERS if len(rows) and rows["target"].eq(name).any()]
    for place, factor in enumerate(factors):
        for shift, given in zip((0.22, 0, -0.22), SIDE_COLOURS, strict=True):
            found = rows[rows["target"].eq(factor) & rows["given"].eq(given)]
            for row in found.itertuples():
                with_interval(axes, row.value, row.se, len(factors) - 1 - place + shift, SIDE_COLOURS[given])
    axes.axvline(0, color=INK, lw=0.6)
    axes.set_yticks(range(len(factors)), factors[::-1])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(factors) + 0.25)
    axes.margins(x=0.08)
    for place, (given, colour) in enumerate(SIDE_COLOURS.items()):
        text = f"from {SIDES[given]}"
        axes.text(
            0.98, 0.99 - 0.065 * place, text, color=colour, size=7, ha="right", va="top", transform=axes.transAxes
        )
    axes.set_xlabel("explained variance, test blocks")


def _against(axes: Axes, decoding: pd.DataFrame, gains: pd.DataFrame) -> None:
    ends = [0.0]
    for gain in gains.itertuples():
        same = decoding["objective"].eq(gain.objective) & decoding["latent_dim"].eq(gain.latent_dim)
        both = decoding[same & decoding["target"].eq(gain.target) & decoding["given"].eq(gain.given)]["value"]
        if both.empty:
            continue
        joint = float(both.iloc[0])
        alone = joint - gain.value
        colour = SIDE_COLOURS[BOTH] if gain.is_primary else FAINT
        if np.isfinite(gain.se):
            axes.plot([alone, alone], [joint - 1.96 * gain.se, joint + 1.96 * gain.se], color=colour, lw=1)
        marker = MARKERS.get(gain.target, "o")
        axes.plot(alone, joint, marker, ms=5, color=colour, mec="white", mew=0.5, zorder=3 if gain.is_primary else 2)
        ends += [alone, joint]
    low, high = min(ends), max(ends) or 1.0
    margin = 0.06 * (high - low)
    axes.plot([low - margin, high + margin], [low - margin, high + margin], color=FAINT, lw=0.7, zorder=0)
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
    for factor in (name for name in MARKERS if gains["target"].eq(name).any()):
        axes.plot([], [], MARKERS[factor], ms=4, color=FAINT, label=factor)
    axes.legend(loc="upper left", handletextpad=0.2, borderpad=0.1)
    axes.set_xlabel("better side alone")
    axes.set_ylabel("both sides (explained variance)")


def _nats(axes: Axes, nats: pd.DataFrame) -> None:
    if nats.empty:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", color=FAINT, transform=axes.transAxes)
        return
    order = list(nats.sort_values("is_primary", kind="stable")["label"].drop_duplicates())
    bold = [bool(nats.loc[nats["label"].eq(label), "is_primary"].any()) for label in order]
    for row in nats.itertuples():
        shift = 0.14 if row.target == "audio" else -0.14
        with_interval(axes, row.value, row.se, order.index(row.label) + shift, SIDE_COLOURS[row.target])
    axes.axvline(0, color=INK, lw=0.6)
    axes.margins(x=0.08)
    name_rows(axes, order, bold)
    axes.set_ylim(-0.7, len(order) + 0.25)
    for place, side in enumerate(("audio", "neural")):
        axes.text(0.03, 0.99 - 0.065 * place, f"of the {SIDES[side]}", color=SIDE_COLOURS[side], size=7, va="top",
                  transform=axes.transAxes)  # fmt: skip
    axes.set_xlabel("synergy (nats a clip)")
