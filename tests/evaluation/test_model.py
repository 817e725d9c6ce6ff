import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from pipeline.__main__ import main
from pipeline.errors import InputError
from pipeline.evaluation.examples import example_clips
from pipeline.evaluation.metrics import metrics_table
from pipeline.evaluation.model import model_metrics
from pipeline.evaluation.predictions import expected_data
from pipeline.evaluation.traversal import SD_STEPS, aggregate_posterior, traverse
from pipeline.storage import read_table, write_dataset
from pipeline.vae.assembly import assemble, load_model, save_model, standardise, to_batch
from pipeline.vae.spec import describe

SETTINGS = {"n_samples": 4, "n_clips": 20, "chunk_s": 10.0, "min_peak_db": 10.0}
PLAIN = {
    "latent_dim": 3,
    "seed": 1,
    "audio_likelihood": "gaussian",
    "neural_likelihood": "poisson",
    "audio_weight": 1.0,
    "neural_weight": 1.0,
    "extra_weight": 1.0,
    "hidden": 8,
    "n_factors": 2,
    "n_basis": 2,
    "count_dropout": 0.0,
    "beta": 1.0,
    "warmup_fraction": 0.0,
    "options": {},
}


ALL_METRICS = {
    "bits_per_spike", "explained_variance", "peak_frequency_error", "kl", "sensitivity", "factorisation",
    "joint_coherence", "decoding", "decoding_synergy", "mig", "sap",
    "identifiability:linear", "identifiability:nonlinear",
    *(f"log_likelihood:{name}" for name in ("marginal", "joint", "conditional", "predictive", "synergy")),
}  # fmt: skip


@pytest.fixture
def build(tmp_path):
    def build(clips, family="mopoe"):
        spec = describe(clips, family=family, **PLAIN)
        model = assemble(spec)
        standardise(model, [session.where("train") for session in clips])
        save_model(tmp_path / "model.pt", model, spec)
        return load_model(tmp_path / "model.pt")

    return build


@pytest.fixture
def two(make_clips):
    return [make_clips(n_clips=100, session=name, seed=seed)[0] for seed, name in enumerate("ab")]


def present(clips, *wanted):
    keep = np.array([name in wanted for name in ("audio", "neural")])
    counts = clips.counts if "neural" in wanted else clips.counts[:, :0]
    units = clips.unit_ids if "neural" in wanted else []
    spectrogram = clips.spectrogram if "audio" in wanted else np.full_like(clips.spectrogram, np.nan)
    return replace(clips, present=clips.present & keep, counts=counts, unit_ids=units, spectrogram=spectrogram)


def scored(table):
    """(target, given) of the rows of predictions, likelihoods and KL."""
    of_factors = ["decoding", "decoding_synergy", "mig", "sap", "identifiability:linear", "identifiability:nonlinear"]
    rows = table[~table["metric"].isin(of_factors)]
    return set(zip(rows["target"], rows["given"], strict=True))


def pairs(table, metric):
    rows = table[table["metric"] == metric]
    return set(zip(rows["target"], rows["given"], strict=True))


def test_every_direction_is_scored_on_both_splits(build, two):
    table = metrics_table(model_metrics(build(two), two, **SETTINGS))
    assert set(table["metric"]) == ALL_METRICS
    assert set(table["split"]) == {"validation", "test"} and set(table["session"]) == {"a", "b"}
    assert set(table["objective"]) == {"mopoe"} and set(table["seed"]) == {1} and set(table["latent_dim"]) == {3}
    givens = ["audio", "neural", "audio+neural"]
    assert pairs(table, "bits_per_spike") == {("neural", given) for given in givens}
    assert pairs(table, "peak_frequency_error") == {("audio", given) for given in givens}
    assert pairs(table, "log_likelihood:marginal") == {(t, g) for t in ("audio", "neural") for g in givens}
    assert pairs(table, "log_likelihood:joint") == {("audio+neural", "audio+neural")}
    crossed = {("audio", "neural"), ("neural", "audio")}
    both = {("audio", "audio+neural"), ("neural", "audio+neural")}
    assert pairs(table, "log_likelihood:synergy") == pairs(table, "sensitivity") == both
    factors = ("pitch", "level", "duration")
    assert pairs(table, "joint_coherence") == {
        (factor, given) for factor in factors[:2] for given in ("prior", "real", "shuffled")
    }
    assert pairs(table, "decoding") == {(factor, given) for factor in factors for given in givens}
    assert pairs(table, "identifiability:linear") == pairs(table, "identifiability:nonlinear")
    assert pairs(table, "identifiability:linear") == pairs(table, "decoding")  # no truth: nothing planted
    whole = {(factor, "audio+neural") for factor in factors}
    assert pairs(table, "decoding_synergy") == pairs(table, "mig") == pairs(table, "sap") == whole
    assert pairs(table, "factorisation") == {("", "audio+neural")}
    assert pairs(table, "log_likelihood:conditional") == pairs(table, "log_likelihood:predictive") == crossed
    assert set(table.loc[table["metric"] == "kl", "unit_id"]) == {"z0", "z1", "z2"}
    per_unit = table[(table["metric"] == "bits_per_spike") & (table["unit_id"] != "")]
    assert set(per_unit.loc[per_unit["session"] == "b", "unit_id"]) == set(two[1].unit_ids)
    assert np.isfinite(table["value"]).all() and (table["se"] >= 0).all()
    sums = [row.block_sums.sum() / row.block_weights.sum() for row in table.itertuples()]
    np.testing.assert_allclose(table["value"], sums)


def test_conditional_and_synergy_are_differences_of_estimates(build, two):
    table = metrics_table(model_metrics(build(two), two[:1], **SETTINGS))
    rows = table[table["split"] == "test"].set_index(["metric", "target", "given"])["value"].sort_index()
    joint = rows["log_likelihood:joint", "audio+neural", "audio+neural"].item()
    own = rows["log_likelihood:marginal", "audio", "audio"].item()
    assert rows["log_likelihood:conditional", "neural", "audio"].item() == pytest.approx(joint - own)
    for target in ("audio", "neural"):
        both, alone = (rows["log_likelihood:marginal", target, given].item() for given in ("audio+neural", target))
        assert rows["log_likelihood:synergy", target, "audio+neural"].item() == pytest.approx(both - alone)


def test_unimodal_models_only_reconstruct(build, two):
    table = metrics_table(model_metrics(build(two, "unimodal"), two, **SETTINGS))
    assert scored(table) == {("audio", "audio"), ("neural", "neural"), ("", "audio"), ("", "neural")}
    factors = ("pitch", "level", "duration")
    assert pairs(table, "decoding") == {(factor, given) for factor in factors for given in ("audio", "neural")}
    assert not pairs(table, "decoding_synergy") and not pairs(table, "joint_coherence")  # nothing is shared


@pytest.mark.parametrize("modality", ["audio", "neural"])
def test_one_modality_works(build, two, modality):
    clips = [present(session, modality) for session in two]
    loaded = build(clips, "mvae")
    table = metrics_table(model_metrics(loaded, clips, **SETTINGS))
    assert set(table["given"]) == {modality} and scored(table) == {(modality, modality), ("", modality)}
    assert np.isfinite(table["value"]).all()
    sizes = traverse(loaded, clips).sizes
    assert (sizes["frame"] > 0) == (modality == "audio")
    assert (sizes["unit"] > 0) == (modality == "neural")


def test_a_session_without_units_is_scored_on_its_sound(build, two):
    clips = [two[0], present(two[1], "audio")]
    table = metrics_table(model_metrics(build(clips), clips, **SETTINGS))
    assert scored(table[table["session"] == "b"]) == {("audio", "audio"), ("", "audio")}


def test_the_same_seed_gives_the_same_numbers(build, two):
    loaded = build(two)
    first, second = (metrics_table(model_metrics(loaded, two, **SETTINGS)) for _ in range(2))
    np.testing.assert_array_equal(first["value"], second["value"])


def test_expected_data_do_not_depend_on_how_they_are_batched(build, two, monkeypatch):
    loaded = build(two)
    found = []
    for at_once in (10, 10**9):
        monkeypatch.setattr("pipeline.evaluation.predictions.DECODED_AT_ONCE", at_once)
        found.append(
            expected_data(
                loaded.model,
                to_batch(two[0]),
                given=("audio",),
                targets=("neural",),
                n_samples=400,
                generator=torch.Generator().manual_seed(0),
            )["neural"]
        )
    assert found[0].shape == two[0].counts.shape
    np.testing.assert_allclose(found[0], found[1], rtol=0.2)  # other noise, the same mean


def test_clips_of_other_units_are_refused(build, two):
    loaded = build(two)
    swapped = replace(two[0], unit_ids=two[0].unit_ids[::-1])
    with pytest.raises(InputError, match="units differ"):
        model_metrics(loaded, [swapped], **SETTINGS)
    with pytest.raises(InputError, match="frequency_hz differs"):
        model_metrics(loaded, [replace(two[0], frequency_hz=two[0].frequency_hz + 1000)], **SETTINGS)


def test_traversal_moves_one_latent_over_its_aggregate_posterior(build, two):
    loaded = build(two)
    traversal = traverse(loaded, two)
    assert dict(traversal.sizes) == {"latent": 3, "step": 9, "frequency": 8, "frame": 16, "unit": 8, "bin": 10}
    np.testing.assert_array_equal(traversal["sd_steps"], SD_STEPS)
    mean, sd = aggregate_posterior(
        loaded.model, [to_batch(session.where("train")) for session in two], ("audio", "neural")
    )
    middle = traversal.isel(step=4)
    np.testing.assert_allclose(middle["audio_db"][0], middle["audio_db"][2], atol=1e-4)  # all at the mean
    z = mean.clone()
    z[1] += 2 * sd[1]
    with torch.inference_mode():
        decoded = loaded.model.decode(z[None], session="b")
    np.testing.assert_allclose(traversal["audio_db"][1, -1], decoded["audio"].mean[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(traversal["expected_count"][1, -1, 4:], decoded["neural"].mean[0], rtol=1e-4)
    assert list(traversal["unit"].values) == two[0].unit_ids + two[1].unit_ids


def test_aggregate_posterior_has_the_moments_of_its_samples(build, two):
    loaded = build(two)
    batches = [to_batch(session) for session in two]
    mean, sd = aggregate_posterior(loaded.model, batches, ("audio", "neural"))
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        z = torch.cat(
            [loaded.model.posterior(b, ("audio", "neural")).rsample(500, generator).flatten(0, 1) for b in batches]
        )
    np.testing.assert_allclose(mean, z.mean(0), atol=0.03)
    np.testing.assert_allclose(sd, z.std(0), rtol=0.03)


def test_the_steps_write_their_tables(build, two, tmp_path):
    build(two)
    paths = []
    for clips in two:
        paths.append(str(tmp_path / f"{clips.session}.nc"))
        write_dataset(as_dataset(clips), paths[-1])
    config = json.dumps({"evaluation": {"n_samples": 4, "n_clips": 10}})
    generator = np.random.default_rng(0)
    names = ("mean_hz", "level_db", "pressure_pa", "length_m")
    calls = [
        {"start_s": at_s, "stop_s": at_s + 0.15, **dict(zip(names, generator.uniform(1, 2, 4), strict=True))}
        for at_s in two[0].start_s
    ]
    truth = {"sessions": {"a": {"offset_s": 0.0, "drift_ppm": 0.0, "calls": calls}}}  # of one of the two sessions
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    arguments = ["--config", config, "--clips", *paths, "--truth", str(tmp_path / "truth.json"), "--out"]
    metrics, traversal = str(tmp_path / "metrics.parquet"), str(tmp_path / "traversal.nc")
    examples = str(tmp_path / "examples.nc")
    model = ["--model", str(tmp_path / "model.pt"), "--traversal-out", traversal, "--examples-out", examples]
    assert main(["evaluate", *arguments, metrics, *model]) == 0
    assert main(["baselines", *arguments, str(tmp_path / "baselines.parquet")]) == 0
    scored, simple = read_table(metrics), read_table(tmp_path / "baselines.parquet")
    assert list(scored.columns) == list(simple.columns)
    assert set(simple["objective"]) > {
        "baseline:mean",
        "baseline:ridge",
        "baseline:poisson_glm",
        "baseline:exact_sound",
    }
    for table in (scored, simple[simple["objective"] == "baseline:data"]):
        planted = table[table["target"].isin(["planted_pitch", "pressure", "length"])]
        assert set(planted["session"]) == {"a"} and planted.groupby(["given", "metric"]).size().eq(3).all()
    with xr.open_dataset(traversal, engine="h5netcdf") as written:
        assert list(written["unit"].values) == two[0].unit_ids + two[1].unit_ids
    with xr.open_dataset(examples, engine="h5netcdf") as written:
        assert written.sizes["clip"] == 5 and written.sizes["draw"] == 8 and written.attrs["session"] == "a"


def test_traces_are_measured_as_spikes_are(make_clips, two, tmp_path):
    traces = [replace(c, counts=(c.counts - c.counts.mean()) / c.counts.std(), kind="traces") for c in two]
    spec = describe(traces, family="mmvaeplus", **(PLAIN | {"neural_likelihood": "auto"}))
    model = assemble(spec)
    standardise(model, [session.where("train") for session in traces])
    save_model(tmp_path / "traces.pt", model, spec)
    loaded = load_model(tmp_path / "traces.pt")
    table = metrics_table(model_metrics(loaded, traces, **SETTINGS))
    spikes = {"bits_per_bin" if name == "bits_per_spike" else name for name in ALL_METRICS}
    assert set(table["metric"]) == spikes
    assert np.isfinite(table["value"]).all()
    rows = table[table["metric"] == "sensitivity"]
    assert set(rows["unit"]) == {"SD"} and len(rows["unit_id"].unique()) == 5  # 3 shared, 1 private of each side
    private = rows[rows["unit_id"].isin(["z3", "z4"])].groupby(["unit_id", "target"])["value"].max()
    assert private["z3", "neural"] == private["z4", "audio"] == 0.0
    assert example_clips(loaded, traces, n_samples=4).attrs["kind"] == "traces"


def test_examples_are_real_clips_and_what_the_model_expects_of_them(build, two):
    loaded = build(two)
    shown = example_clips(loaded, two, n_samples=400)
    test = two[0].where("test")
    rows = np.searchsorted(test.start_s, shown["start_s"])
    np.testing.assert_array_equal(shown["true_audio_db"], test.spectrogram[rows])
    np.testing.assert_array_equal(shown["true_count"], test.counts[rows])
    assert list(shown["given"].values) == ["audio", "neural", "audio+neural"]
    common = {"targets": ("audio", "neural"), "n_samples": 400, "generator": torch.Generator().manual_seed(3)}
    for given in (("audio",), ("neural",), ("audio", "neural")):
        wanted = expected_data(loaded.model, to_batch(test, rows), given=given, **common)
        found = shown.sel(given="+".join(given))
        np.testing.assert_allclose(found["expected_count"], wanted["neural"], rtol=0.2)  # other noise, the same mean
        np.testing.assert_allclose(found["audio_db"], wanted["audio"], atol=1.5)
    assert shown["drawn_audio_db"].shape == (8, 8, 16) and float(shown["drawn_audio_db"].std("draw").max()) > 0


def test_examples_leave_out_what_a_model_cannot_infer(build, two):
    shown = example_clips(build(two, "unimodal"), two, n_samples=4)
    known = shown["audio_db"].notnull().all(["clip", "frequency", "frame"])
    assert known.values.tolist() == [True, False] and shown.sizes["draw"] == 0
    silent = [present(session, "neural") for session in two]
    assert example_clips(build(silent, "mvae"), silent, n_samples=4)["true_audio_db"].size == 0
    none = [session.where("train") for session in two]
    assert example_clips(build(two), none, n_samples=4).sizes["clip"] == 0


def as_dataset(clips):
    return xr.Dataset(
        {
            "spectrogram": (("clip", "frequency", "frame"), clips.spectrogram),
            "counts": (("clip", "unit", "bin"), clips.counts),
            "present": (("clip", "modality"), clips.present),
            "start_s": ("clip", clips.start_s),
            "call": ("clip", clips.call),
            "bout": ("clip", clips.bout),
            "split": ("clip", clips.split.astype(object)),
        },
        coords={
            "frequency": clips.frequency_hz,
            "frame": clips.frame_s,
            "bin": clips.bin_s,
            "unit": np.array(clips.unit_ids, dtype=object),
            "modality": np.array(["audio", "neural"], dtype=object),
        },
        attrs={"session": clips.session, "subject": clips.subject, "bin_width_s": clips.bin_width_s, "kind": "spikes"},
    )
