"""What single figures show, and what they say where they have nothing to show."""

import shutil
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from jinja2 import Template
from synthetic_tables import IDENTIFIABLE

from pipeline.discovery import names_in
from pipeline.report import figures
from pipeline.report.figures import (
    calls,
    controls,
    coupling,
    example,
    factorisation,
    further,
    identifiability,
    joint_samples,
    reconstructions,
    synergy,
    training,
    traversals,
    tuning,
)
from pipeline.report.html import described
from pipeline.report.results import NoData
from pipeline.report.style import ALARM, cluster_colour, in_style, save_figure
from pipeline.steps import ROOT
from pipeline.storage import read_dataset, write_dataset


def test_session_with_a_hostile_name_is_drawn(full_run, tmp_path):
    results = full_run.results
    name = "$\\frac{<script>"
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / name).symlink_to(full_run.folder / "prepared" / "mouse1")
    hostile = replace(results, sessions=[replace(results.sessions[0], name=name)], prepared=tmp_path / "prepared")
    for figure in (example, calls):
        with in_style():
            save_figure(figure.draw(hostile), tmp_path, "figure")
        svg = ElementTree.parse(tmp_path / "figure.svg").getroot()
        assert not [element for element in svg.iter() if element.tag.endswith("script")]


def test_figures_say_why_they_have_nothing_to_show(nothing_run):
    with in_style():
        with pytest.raises(NoData, match="No clusters"):
            tuning.draw(nothing_run.results)
        with pytest.raises(NoData, match="no model of both"):
            coupling.draw(nothing_run.results)
        example.draw(nothing_run.results)  # all units in one group
        drawn = controls.draw(nothing_run.results)
    colours = {line.get_color() for axes in drawn.axes for line in axes.lines}
    assert ALARM in colours  # the control that failed


def test_training_marks_the_epoch_that_was_kept(full_run):
    """Not the highest score: where training has stages, that may be of an earlier one."""
    with in_style():
        figure = training.draw(full_run.results)
    dots = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "o"]
    assert dots and {float(line.get_xdata()[0]) for line in dots} == {17.0}


def test_traces_are_drawn_as_traces(full_run, tmp_path):
    prepared, models = tmp_path / "prepared", tmp_path / "models"
    for name, source, target in (("prepared", "counts.nc", prepared), ("models", "traversal.nc", models)):
        shutil.copytree(full_run.folder / name, target)
        for path in target.rglob(source):
            arrays = read_dataset(path).load()
            arrays.attrs["kind"] = "traces"
            variable = "counts" if source == "counts.nc" else "expected_count"
            arrays[variable] = arrays[variable] - 5.0  # traces go below 0
            write_dataset(arrays, path)
    results = replace(full_run.results, prepared=prepared, models=models)
    with in_style():
        drawn = example.draw(results)
        assert [axes.get_ylabel() for axes in drawn.axes if "trace" in axes.get_ylabel()] == ["trace (scaled)"]
        assert max(len(axes.images) for axes in drawn.axes) == 1
        moved = traversals.draw(results)
    largest = max(float(np.abs(image.get_array()).max()) for axes in moved.axes for image in axes.images)
    assert largest < 60  # the log of a negative number was not taken


def test_tuning_figure_draws_the_means_of_the_table(full_run):
    results = full_run.results
    curves = results.table("tuning_curves").merge(results.clusters[["unit_id", "cluster"]])
    with in_style():
        axes = tuning.draw(results).axes[1]
    assert axes.get_title(loc="left") == "cluster 1, 6 units"
    for part, line in zip("AB", axes.lines[:2], strict=True):
        rows = curves[(curves["cluster"] == 1) & (curves["part"] == part)]
        expected = [
            100 * rows.loc[rows["band_low_khz"] == low, "tuning_gain"].mean()
            for low in sorted(set(rows["band_low_khz"]))
        ]
        assert list(line.get_ydata()) == pytest.approx(expected)
        assert line.get_color() == cluster_colour(1)


def test_units_stand_in_the_same_order_everywhere(full_run):
    results = full_run.results
    order, clusters = results.sorted_units(["unknown", "mouse1|units|5", "mouse1|units|17", "mouse1|units|0"])
    assert list(order) == [3, 1, 2, 0]
    assert list(clusters) == [0, 1, -1, -1]


def test_factorisation_draws_sensitivities_by_space(full_run):
    with in_style():
        bars, scores = factorisation.draw(full_run.results).axes
    heights = [patch.get_height() for patch in bars.patches]
    # latent 1 is the sound's, 0 is shared, 2 is the neural side's, 3 does nothing
    np.testing.assert_allclose(heights, [0.5, 0.3, 0.01, 0.001, 0, -0.2, -0.19, -0.001])
    assert [text.get_text() for text in bars.get_xticklabels()] == ["z1", "z0", "(z2)", "z3"]  # z2 does not repeat
    assert [text.get_text() for text in scores.get_yticklabels()] == ["mvae", "mopoe"]  # the primary on top
    assert max(line.get_xdata()[0] for line in scores.lines if line.get_marker() == "o") == pytest.approx(0.45)


def test_synergy_draws_both_sides_against_the_better_one(full_run):
    with in_style():
        factors, against, nats = synergy.draw(full_run.results).axes
    dots = {(line.get_marker(), *np.round([line.get_xdata()[0], line.get_ydata()[0]], 3))
            for line in against.lines if len(line.get_xdata()) == 1}  # fmt: skip
    assert {("o", 0.6, 0.62), ("s", 0.4, 0.5), ("^", 0.2, 0.2)} <= dots  # of mopoe
    values = sorted(line.get_xdata()[0] for line in factors.lines if line.get_marker() == "o")
    np.testing.assert_allclose(values, [0.1, 0.2, 0.2, 0.2, 0.3, 0.4, 0.5, 0.6, 0.62])
    assert {round(float(line.get_xdata()[0]), 2) for line in nats.lines if line.get_marker() == "o"} == {
        1.5, -0.5, 1.55, -0.45,
    }  # fmt: skip


def further_rows(name, session, given, target, value, *, metric="bits_per_spike"):
    """One row of the metrics of a family, as of two blocks that weigh the same."""
    labels = {"objective": name, "latent_dim": 8, "seed": 0, "session": session, "split": "test", "unit_id": ""}
    blocks = {"block_sums": np.array([value - 0.1, value + 0.1]), "block_weights": np.ones(2), "ess": np.nan}
    return {
        **labels,
        **blocks,
        "given": given,
        "target": target,
        "metric": metric,
        "value": value,
        "n": 10,
        "unit": "bits",
    }


def test_what_a_further_modality_adds_is_drawn_over_the_sessions_that_have_it(full_run):
    with in_style(), pytest.raises(NoData, match="No modality beside"):
        further.draw(full_run.results)
    rows = [further_rows("mopoe", "none", "audio", "neural", 5.0)]
    for name, gain in (("mopoe", 0.3), ("mvae", 0.1)):
        rows += [
            further_rows(name, "moving", given, "neural", value)
            for given, value in (("audio", 0.2), ("movement", 0.05), ("audio+movement", 0.2 + gain))
        ]
        for given, value in (("movement", 0.9), ("audio", 0.01), ("neural", 0.4), ("audio+neural", 0.41)):
            rows.append(further_rows(name, "moving", given, "movement", value, metric="explained_variance"))
    results = replace(full_run.results)
    results.__dict__["metrics"] = pd.DataFrame(rows)
    with in_style():
        left, right = further.draw(results).axes
    dots = sorted(round(float(line.get_xdata()[0]), 3) for line in left.lines if line.get_marker() == "o")
    assert dots == [0.05, 0.05, 0.2, 0.2, 0.3, 0.5]  # nothing of the session that lacks it
    assert [text.get_text() for text in left.get_yticklabels()] == ["mvae", "mopoe"]
    dots = sorted(round(float(line.get_xdata()[0]), 3) for line in right.lines if line.get_marker() == "o")
    assert dots == [0.01, 0.01, 0.4, 0.4, 0.41, 0.41, 0.9, 0.9]
    texts = [text.get_text().strip() for text in (*left.texts, *right.texts)]
    assert {"from sound and movement", "from itself", "from both"} <= set(texts)


def test_synergy_is_that_of_sound_and_spikes_where_there_are_more(full_run):
    results = replace(full_run.results)
    table = full_run.results.table("model_comparison")
    more = table[table["metric"].isin(["decoding_synergy", "log_likelihood:synergy"])].assign(given="audio+movement")
    third = more[more["metric"].eq("log_likelihood:synergy")].assign(target="movement")
    results.__dict__["_tables"] = full_run.results._tables | {"model_comparison": pd.concat([table, more, third])}
    with in_style():
        one, other = (synergy.draw(run).axes for run in (full_run.results, results))
    assert [len(axes.lines) for axes in one] == [len(axes.lines) for axes in other]


def test_identifiability_draws_both_decoders_beside_the_data(full_run):
    with in_style():
        sound, neural, both = identifiability.draw(full_run.results).axes
    assert [tick.get_text() for tick in sound.get_yticklabels()][-1] == "pitch"
    for axes, share in ((sound, 1.0), (neural, 0.1), (both, 0.9)):
        wanted = [value * share - less for value in IDENTIFIABLE.values() for less in (0.05, 0.0)]  # of the primary
        np.testing.assert_allclose(sorted(patch.get_width() for patch in axes.patches), sorted(wanted))
    diamonds = [float(line.get_xdata()[0]) for line in sound.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(sorted(diamonds), [0.4, 0.5, 0.85])
    assert not [line for axes in (neural, both) for line in axes.lines if line.get_marker() == "D"]
    thick = [float(line.get_xdata()[0]) for line in neural.lines if line.get_linewidth() == 2]
    np.testing.assert_allclose(sorted(thick), sorted(value - 0.1 for value in IDENTIFIABLE.values()))


def test_examples_are_drawn_as_stored(full_run):
    examples = full_run.results.examples.load()
    order, _ = full_run.results.sorted_units([str(unit) for unit in examples["unit"].values])
    with in_style():
        grid, draws = (figure.draw(full_run.results) for figure in (reconstructions, joint_samples))
    assert sum(bool(axes.images) for axes in grid.axes) == 3 * (4 + 4 + 1)  # clips, columns of both sides, strips
    shown = [axes.images[0].get_array() for axes in grid.axes if axes.images]
    recorded = examples["true_count"].values[0][order] > 0
    assert any(image.shape == recorded.shape and np.array_equal(image, recorded) for image in shown)
    made = examples["expected_count"].sel(given="audio").values[1]
    wanted = np.log2(made / examples["mean_count"].values[:, None])[order]
    assert any(image.shape == wanted.shape and np.allclose(image, wanted) for image in shown)
    assert any(np.array_equal(image, examples["true_audio_db"].values[2]) for image in shown)
    sounds = [axes.images[0].get_array() for axes in draws.axes if axes.images]
    assert any(np.array_equal(image, examples["drawn_audio_db"].values[7]) for image in sounds)


def test_what_a_family_does_not_share_is_left_blank(full_run, tmp_path):
    shutil.copytree(full_run.folder / "models", tmp_path / "models")
    for path in (tmp_path / "models").rglob("examples.nc"):
        arrays = read_dataset(path).load()
        arrays = arrays.isel(draw=slice(0), given=slice(2))  # as of unimodal models: no draws, nothing across
        arrays["audio_db"][1], arrays["expected_count"][0] = np.nan, np.nan
        write_dataset(arrays, path)
    results = replace(full_run.results, models=tmp_path / "models")
    with in_style():
        grid = reconstructions.draw(results)
        joint_samples.draw(results)  # coherence alone
    assert sum(text.get_text() == "not shared" for axes in grid.axes for text in axes.texts) == 2 * 3


def test_same_results_give_the_same_bytes(full_run, tmp_path):
    for stem in ("first", "second"):
        with in_style():
            save_figure(coupling.draw(full_run.results), tmp_path, stem)
    for suffix in (".svg", ".png"):
        assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"second{suffix}").read_bytes()


def test_captions_of_the_workflow_are_those_of_the_figures():
    rst = Template((ROOT.parent / "workflow" / "report" / "figures.rst").read_text(encoding="utf-8"))
    for stem in names_in(figures):
        doc = (ROOT / "report" / "figures" / f"{stem}.py").read_text(encoding="utf-8").split('"""')[1]
        title, caption = described(doc)
        words = " ".join(rst.render(snakemake={"wildcards": {"figure": stem}}).split())
        assert title in words and caption in words
