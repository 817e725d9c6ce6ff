"""What the report says of pressure and length, with a planted truth and without one."""

from pipeline.report.identifiability import identifiability_notes

LAW = "log n + 0.5 log p"


def test_with_a_truth_the_statement_is_measured(full_run):
    read, made = identifiability_notes(full_run.results)
    assert read.startswith("Read from the latents that mopoe infers from sound") and "pitch 0.70 ± 0.04" in read
    assert "from the latents planted pitch 0.65 ± 0.04, pressure 0.20 ± 0.04, length 0.30 ± 0.04" in made
    assert "from the spectrogram itself planted pitch 0.75 ± 0.04, pressure 0.30" in made
    assert "known exactly, pressure 0.40 ± 0.04, length 0.50 ± 0.04. Pressure and length cannot be" in made
    assert LAW in made


def test_where_the_level_gives_them_away_nothing_is_claimed(full_run):
    results = full_run.results
    table = results.table("model_comparison")
    table.loc[table["objective"].eq("baseline:exact_sound") & table["target"].eq("pressure"), "value"] = 0.97
    made = identifiability_notes(results)[1]
    assert "known exactly, pressure 0.97" in made and LAW not in made


def test_without_a_truth_it_is_said_as_what_is_known(full_run):
    results = full_run.results
    table = results.table("model_comparison")
    planted = table["target"].isin(["planted_pitch", "pressure", "length"]) | table["given"].eq("planted sound")
    results._tables["model_comparison"] = table[~planted]
    read, known = identifiability_notes(results)
    assert "duration 0.50 ± 0.04" in read
    assert known.startswith(
        "Pressure and length of the vocal organ cannot be told apart in the sound of a freely moving mouse"
    )
    assert LAW in known and known.endswith("No latent stands for either.")


def test_without_models_nothing_is_said(audio_run):
    assert identifiability_notes(audio_run.results) == []
