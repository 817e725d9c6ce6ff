"""Specs, files, batches and the networks' per-session parts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.clips import SessionClips
from pipeline.embedding import embed
from pipeline.errors import InputError
from pipeline.vae import assembly, networks
from pipeline.vae.spec import describe

SPEC = {
    "family": "mopoe",
    "latent_dim": 2,
    "seed": 3,
    "audio_likelihood": "gaussian",
    "neural_likelihood": "negative_binomial",
    "audio_weight": "dim",
    "neural_weight": "dim",
    "extra_weight": 1.0,
    "hidden": 8,
    "n_factors": 3,
    "n_basis": 2,
    "count_dropout": 0.5,
    "beta": 1.0,
    "warmup_fraction": 0.2,
    "options": {},
}


def make_clips(session="mouse.1", n=30, n_units=4, n_bins=6, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.uniform(0.1, 2, n_units)[:, None], (n, n_units, n_bins)).astype(np.float32)
    counts[3, :2, 2] = np.nan
    counts[5] = np.nan
    present = np.ones((n, 2), bool)
    present[5, 1] = False
    present[6, 0] = False
    spectrogram = (5 + 3 * rng.normal(size=(n, 8, 4))).astype(np.float32)
    spectrogram[6] = np.nan
    return SessionClips(
        session=session,
        subject="s",
        spectrogram=spectrogram,
        counts=counts,
        present=present,
        start_s=np.arange(n) * 0.1,
        call=np.full(n, -1, np.int32),
        bout=np.zeros(n, np.int32),
        split=np.array(["train", "test"] * (n // 2)),
        unit_ids=[f"{session}|units|{i}" for i in range(n_units)],
        frequency_hz=np.linspace(40e3, 110e3, 8),
        frame_s=np.arange(4) * 0.05,
        bin_s=np.arange(n_bins) * 0.01,
        bin_width_s=0.01,
    )


def labelled():
    """Clips of two sessions; one has labels."""
    first, second = make_clips(), make_clips("mouse2")
    return [replace(first, label=np.array(["up", "", "down"] * 10)), second]


def test_labels_of_calls_reach_the_model(monkeypatch):
    clips = labelled()
    seen = {}
    spec = describe(clips, **(SPEC | {"family": "mfm"}))
    assert spec["options"]["labels"] == ["down", "up"]
    model = assembly.assemble(spec)
    monkeypatch.setattr(model, "start", lambda batches, shared: seen.update({b.session: b.labels for b in batches}))
    assembly.standardise(model, clips)
    assert seen["mouse.1"].tolist() == [1, -1, 0] * 10
    assert seen["mouse2"].tolist() == [-1] * 30
    assert assembly.to_batch(clips[0], [0, 2], labels=["up"]).labels.tolist() == [0, -1]
    assert assembly.to_batch(clips[0]).labels is None


def test_labels_are_chosen_by_name():
    def labels_of(clips, **options):
        return describe(clips, **(SPEC | {"family": "mfm", "options": options}))["options"]["labels"]

    assert labels_of(labelled(), labels=[]) == []
    assert labels_of([make_clips()]) == []
    assert labels_of([replace(make_clips(), label=np.full(30, "song"))]) == []  # nothing to tell apart
    assert labels_of(labelled(), labels=["up", "down"]) == ["up", "down"]
    assert "labels" not in describe(labelled(), **SPEC)["options"]
    with pytest.raises(
        InputError, match=r"(?s)no training clip has this label.*mfm\.labels.*found: +dwn.*nearest: down"
    ):
        labels_of(labelled(), labels=["dwn", "up"])
    with pytest.raises(InputError, match="none, since no call has a label"):
        labels_of([make_clips()], labels=["down", "up"])
    with pytest.raises(InputError, match=r"(?s)mfm\.labels.*found: +'up'.*a list of text"):
        labels_of(labelled(), labels="up")


def test_kinds_are_not_mixed_and_traces_are_no_counts():
    spikes, traces = make_clips(), replace(make_clips("mouse2"), kind="traces")
    with pytest.raises(InputError, match=r"(?s)some sessions bring spikes, others traces.*mouse2: traces"):
        describe([spikes, traces], **SPEC)
    with pytest.raises(InputError, match="traces are no counts"):
        describe([traces], **SPEC)
    for clips, likelihood in ((spikes, "poisson"), (traces, "gaussian")):
        spec = describe([clips], **(SPEC | {"neural_likelihood": "auto"}))
        assert spec["likelihoods"]["neural"] == likelihood


def build(clips, **changes):
    spec = describe(clips, **(SPEC | changes))
    model = assembly.assemble(spec)
    assembly.standardise(model, clips)
    return model.eval(), spec


def test_a_saved_model_comes_back(tmp_path):
    clips = [make_clips(), make_clips("mouse2", n_units=2)]
    model, spec = build(clips)
    assembly.save_model(tmp_path / "model.pt", model, spec)
    loaded = assembly.load_model(tmp_path / "model.pt")
    batch = assembly.to_batch(clips[0])
    assert torch.equal(loaded.model.posterior(batch, ["audio"]).mean, model.posterior(batch, ["audio"]).mean)
    z = torch.zeros(1, 2)
    one, two = (m.decode(z, session="mouse2")["neural"] for m in (model, loaded.model))
    assert torch.equal(one.mean, two.mean)
    assert one.mean.shape == (1, 2, 6)
    assert not loaded.model.training
    assert (loaded.family, loaded.latent_dim, loaded.seed) == ("mopoe", 2, 3)
    assert loaded.sessions == {c.session: c.unit_ids for c in clips}
    assert loaded.modalities == ("audio", "neural")
    assert loaded.frequency_hz == pytest.approx(clips[0].frequency_hz)
    assert loaded.bin_width_s == 0.01


def test_a_file_that_is_no_model_is_told(tmp_path):
    (tmp_path / "model.pt").write_text("no")
    for path in (tmp_path / "model.pt", tmp_path / "absent.pt"):
        with pytest.raises(InputError, match="cannot read this model"):
            assembly.load_model(path)


def test_batches_hold_presence_and_missing_elements():
    clips = make_clips()
    batch = assembly.to_batch(clips, [3, 5, 6])
    assert batch.present["audio"].tolist() == [True, True, False]
    assert batch.present["neural"].tolist() == [True, False, True]
    assert torch.isnan(batch.data["neural"][0]).sum() == 2
    assert batch.session == "mouse.1"


def test_decoding_starts_from_the_mean_counts():
    clips = make_clips()
    model, _ = build([clips])
    model.modalities["neural"].decoder.kernel.data.zero_()
    expected = model.decode(torch.zeros(1, 2), session="mouse.1")["neural"].mean[0, :, 0]
    assert expected.detach().numpy() == pytest.approx(np.nanmean(clips.counts, (0, 2)), rel=5e-3)


def test_standardisation_reads_present_audio_only():
    clips = make_clips()
    model, _ = build([clips])
    encoder = model.modalities["audio"].encoder
    heard = clips.spectrogram[clips.present[:, 0]]
    assert encoder.center_db[:, 0].numpy() == pytest.approx(heard.mean((0, 2)), rel=1e-5)
    assert encoder.scale_db.item() == pytest.approx((heard - heard.mean((0, 2))[:, None]).std(), rel=1e-4)


def test_weights_balance_dimensions():
    spec = describe([make_clips()], **SPEC)
    assert spec["weights"] == pytest.approx({"audio": 1.0, "neural": 32 / 24})


def test_hidden_counts_do_not_shrink_the_drive():
    clips = make_clips()
    model, _ = build([clips])
    encoder = model.modalities["neural"].encoder
    counts = torch.as_tensor(clips.counts[:1].repeat(2, 0))
    center, scale = encoder.center_session0, encoder.scale_session0
    counts[:] = center + scale  # all units one SD up
    encoder.read_in["session0"].data.fill_(1.0)
    whole, _ = encoder(counts, session="mouse.1", generator=None)
    counts[0, 1:3] = torch.nan
    part, _ = encoder(counts, session="mouse.1", generator=None)
    assert torch.allclose(whole, part, atol=1e-5)


def test_count_dropout_hides_in_training_only(generator):
    clips = make_clips()
    model, _ = build([clips])
    encoder = model.modalities["neural"].encoder
    counts = torch.as_tensor(clips.counts[:2])
    calls = [encoder(counts, session="mouse.1", generator=generator(s))[0] for s in (0, 1)]
    assert torch.equal(*calls)
    encoder.train()
    calls = [encoder(counts, session="mouse.1", generator=generator(s))[0] for s in (0, 0, 1)]
    assert torch.equal(calls[0], calls[1])
    assert not torch.equal(calls[0], calls[2])


def count_decoder(generator, lags):
    courses = networks.TimeCourses(n_frames=lags.shape[-1], hidden=8, n_latents=4, generator=generator())
    decoder = networks.CountDecoder(
        sessions={"a": 20},
        lag_basis=lags,
        n_factors=3,
        courses=courses,
        log_link=True,
        spread=None,
        generator=generator(),
    )
    decoder.bias["session0"].data.fill_(-4.0)  # realistic counts, far from the guard against overflow
    return decoder


def test_the_drive_of_units_has_low_rank(generator):
    lags = networks.lag_hats(
        frame_s=np.arange(16) * 0.01, bin_s=0.03 + np.arange(10) * 0.01, bin_width_s=0.01, n_basis=3
    )
    decoder = count_decoder(generator, lags)
    z = 3 * torch.randn(50, 4, generator=generator())
    log_mean = decoder(z, session="a", generator=None)["log_mean"]
    by_unit = (log_mean.detach() + 4.0).transpose(0, 1).reshape(20, -1)
    singular = torch.linalg.svdvals(by_unit)
    assert singular[3] < 0.02 * singular[2]


def test_lags_lead_from_bins_to_earlier_and_later_frames():
    frame_s, bin_s = 0.005 + np.arange(20) * 0.01, 0.05 + np.arange(10) * 0.01
    hats = networks.lag_hats(frame_s=frame_s, bin_s=bin_s, bin_width_s=0.01, n_basis=3).numpy()
    assert hats.sum(-1) == pytest.approx(np.ones((3, 10)))
    middle = hats @ frame_s  # (basis, bins): when the sound was that each bin answers
    lags = bin_s + 0.005 - middle
    assert lags.mean(1) == pytest.approx([-0.05, 0.0, 0.05], abs=3e-3)  # the outermost meet the clip's edge
    assert np.diff(middle[1]) == pytest.approx(np.full(9, 0.01), abs=1e-6)  # the same kernel for all bins
    short = networks.lag_hats(frame_s=frame_s, bin_s=np.arange(40) * 0.01 - 0.1, bin_width_s=0.01, n_basis=3)
    assert torch.isfinite(short).all()
    history = networks.lag_hats(frame_s=frame_s, bin_s=0.15 + np.arange(5) * 0.01, bin_width_s=0.01, n_basis=4).numpy()
    assert (0.175 - (history @ frame_s).mean(1)).min() > -0.02  # counts at the end of a clip: the past only


def test_modalities_share_time_courses_unless_they_are_independent():
    shared, _ = build([make_clips()])
    audio, neural = (shared.modalities[name].decoder for name in ("audio", "neural"))
    assert audio.courses is neural.courses
    apart, _ = build([make_clips()], family="unimodal")
    audio, neural = (apart.modalities[name].decoder for name in ("audio", "neural"))
    assert audio.courses is not neural.courses


def test_sessions_are_told_apart():
    model, _ = build([make_clips(), make_clips("mouse2", n_units=2)])
    z = torch.zeros(1, 2)
    with pytest.raises(InputError, match=r"mouse\.1, mouse2"):
        model.decode(z)
    assert set(model.decode(z, session="only sound")) == {"audio"}
    batch = assembly.to_batch(make_clips("stranger"))
    with pytest.raises(InputError, match="freeze-shared"):
        model.posterior(batch, ["neural"])


def test_mistakes_are_told():
    with pytest.raises(InputError, match="nearest: prior_expert"):
        build([make_clips()], options={"prior_experts": "full"})
    with pytest.raises(InputError, match="bin_s"):
        build([make_clips(), make_clips("mouse2", n_bins=5)])
    with pytest.raises(InputError, match="nearest: mopoe"):
        build([make_clips()], family="mopo")
    with pytest.raises(InputError, match="private_dim"):
        build([make_clips()], options={"private_dim": {"sound": 2}})


def test_private_latents_through_the_options():
    model, _ = build([make_clips()], options={"private_dim": {"audio": 1}})
    batch = assembly.to_batch(make_clips())
    assert model.posterior(batch, ["audio", "neural"]).mean.shape == (30, 3)


def test_embedding_holds_what_is_given(tmp_path):
    clips = [make_clips(), make_clips("mute", n_units=0)]
    clips[1].present[:, 1] = False
    for family, kinds in (("mopoe", {"audio", "neural", "audio+neural"}), ("unimodal", {"audio", "neural"})):
        model, spec = build(clips, family=family)
        assembly.save_model(tmp_path / "m.pt", model, spec)
        table = embed(assembly.load_model(tmp_path / "m.pt"), clips)
        assert list(table.columns) == ["session", "clip", "split", "given", "z0", "z1"]
        assert set(table["given"]) == kinds
        first = table[(table["session"] == "mouse.1") & (table["given"] == "neural")]
        assert 5 not in first["clip"].tolist()
        assert len(first) == 29
        mean = model.posterior(assembly.to_batch(clips[0]), ["neural"]).mean.detach()
        assert first[["z0", "z1"]].to_numpy() == pytest.approx(mean[first["clip"].tolist()].numpy(), abs=1e-6)
        assert set(table.loc[table["session"] == "mute", "given"]) == {"audio"}


@pytest.mark.parametrize(("options", "n_runs"), [({}, 1), ({"private_dim": {"audio": 1, "neural": 2}}, 2)])
def test_what_decoders_have_in_common_runs_once(options, n_runs, generator):
    model, _ = build([make_clips()], options=options)
    z = torch.randn((3, 5, model.n_latents), generator=generator())
    runs = []
    for courses in {modality.decoder.courses for modality in model.modalities.values()}:
        courses.register_forward_hook(lambda module, inputs, output: runs.append(module))
    together = model.decode(z, session="mouse.1")
    assert len(runs) == n_runs
    for modality in model.modalities.values():
        own = z[..., model.speaks[list(model.modalities).index(modality.name)]]
        assert torch.equal(together[modality.name].mean, modality.decode(own, session="mouse.1").mean)
