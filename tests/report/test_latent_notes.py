"""What the report says of latents that repeat over seeds, and of those that do not."""

from dataclasses import replace

import numpy as np

from pipeline.mapping.tables import write_tables
from pipeline.report.latents import latent_name, latent_notes


def test_dimensions_are_counted_and_the_subspace_is_measured(full_run, tmp_path):
    results = full_run.results
    (note,) = latent_notes(results)
    assert "Of the 3 active latents of mopoe, 2 repeat over seeds as dimensions" in note
    assert "mean canonical correlation of 0.91" in note
    latents = results.table("latents")
    alone = latents.assign(stability_r=np.nan, subspace_r=np.nan)
    write_tables({"latents": alone}, tmp_path)
    assert latent_notes(replace(results, tables=tmp_path))[0].startswith("One seed was trained")


def test_nothing_is_said_where_no_latent_is_active(audio_run):
    assert latent_notes(audio_run.results) == []


def test_brackets_stand_for_parts_of_a_subspace():
    assert [latent_name(3, kind) for kind in ("dimension", "subspace", None)] == ["z3", "(z3)", "z3"]
