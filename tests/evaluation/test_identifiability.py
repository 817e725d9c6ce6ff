"""What decoders read of planted factors: nothing from noise, all from a function of them, one sum from the pitch."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.factors import KnownClips
from pipeline.evaluation.identifiability import components, data_scores, identifiability_scores
from pipeline.evaluation.metrics import Metrics, metrics_table
from pipeline.evaluation.planted import Song

N = 1200
SPLITS = ("train", "validation", "test")


def scores(make_clips, features, factors):
    """Rows by (target, decoder) of what is read from features(split's draw) of factors(split's draw)."""
    generator = np.random.default_rng(0)
    clips = make_clips(n_clips=20)[0]
    drawn = {split: generator.normal(size=(N, 6)) for split in SPLITS}
    known = KnownClips(
        dict.fromkeys(SPLITS, clips), {split: factors(*x.T) for split, x in drawn.items()}, np.arange(N) // 20
    )
    metrics = Metrics(objective="x", latent_dim=6, seed=0)
    identifiability_scores(metrics, known, {split: features(x) for split, x in drawn.items()}, given="audio")
    table = metrics_table(metrics)
    table["decoder"] = table["metric"].str.removeprefix("identifiability:")
    return table.set_index(["target", "decoder"])


def test_noise_tells_nothing(make_clips):
    found = scores(make_clips, lambda x: x[:, :4], lambda *x: {"level": x[4], "pressure": x[5], "pitch": np.exp(x[4])})
    assert len(found) == 6
    assert (found["value"] < 2 * found["se"] + 0.002).all() and (found["value"] > -0.02).all()


def test_a_curve_is_read_by_the_nonlinear_decoder_alone(make_clips):
    """u from (sin 3u, cos 3u), u even in (-1, 1): linearly cov(u, sin 3u)^2 / var(sin 3u) / var u, for cos is even."""

    def even(x):
        return np.clip(2 * np.argsort(np.argsort(x)) / (len(x) - 1) - 1, -1, 1)

    def curve(x):
        return np.stack([np.sin(3 * even(x[:, 0])), np.cos(3 * even(x[:, 0]))], axis=1)

    found = scores(make_clips, curve, lambda *x: {"length": even(x[0]), "duration": np.ones(N)})
    linear = (np.sin(3) / 9 - np.cos(3) / 3) ** 2 / (0.5 - np.sin(6) / 12) * 3
    assert found.index.get_level_values("target").unique().tolist() == ["length"]  # a constant cannot be read
    assert found.loc[("length", "linear"), "value"] == pytest.approx(linear, abs=0.02)
    assert found.loc[("length", "nonlinear"), "value"] > 0.99


@pytest.mark.parametrize("jitter", [0.0, 3.0])
def test_pitch_fixes_a_sum_of_pressure_and_length(make_clips, jitter):
    """log f = 0.5 log p - log h: each is read in proportion to its share, unless a level without jitter tells p."""

    def factors(p, h, *rest):
        return {"planted_pitch": 0.5 * p - h, "pressure": p, "length": h, "pitch": np.exp(0.5 * p - h)}

    def heard(x):
        return np.stack([0.5 * x[:, 0] - x[:, 1], x[:, 0] + jitter * x[:, 2]], axis=1)

    found = scores(make_clips, heard, factors)
    for decoder in ("linear", "nonlinear"):
        value = found.xs(decoder, level="decoder")["value"]
        assert value["planted_pitch"] > 0.99 and value["pitch"] > 0.99
        # of a Gaussian: 1 - var(cause | pitch, level)
        heard_cov = np.array([[1.25, 0.5], [0.5, 1 + jitter**2]])
        for name, cov in (("pressure", [0.5, 1.0]), ("length", [-1.0, 0.0])):
            possible = cov @ np.linalg.solve(heard_cov, cov)
            assert value[name] == pytest.approx(possible, abs=0.04)
    assert (value[["pressure", "length"]] > 0.95).all() == (jitter == 0)


def test_missing_factors_are_left_out_of_fit_and_score(make_clips):
    def half_known(x):
        return {"level": np.where(np.arange(N) % 2, x, np.nan)}

    found = scores(make_clips, lambda x: x, lambda *x: half_known(x[0]))
    assert (found["n"] == N // 2).all() and (found["value"] > 0.99).all()


def test_the_data_themselves_are_read(make_clips):
    """The level of a clip is a sum over its cells; the pressure goes with it, so that the planted sound tells both."""
    clips = make_clips(n_clips=2000)[0]
    clips.counts[::7] = np.nan  # missing bins
    level_db = clips.spectrogram.mean(axis=(1, 2)).astype(float)
    song = Song(
        "s", clips.start_s, clips.start_s + 0.2, {"planted_pitch": level_db**2, "pressure": level_db,
        "length": np.random.default_rng(0).normal(size=2000), "planted_level": level_db}, offset_s=0.0, drift_ppm=0.0,
    )  # fmt: skip
    settings = {"chunk_s": 10.0, "min_peak_db": 10.0}
    bare = metrics_table(*data_scores(clips, song=None, **settings))
    assert set(bare["target"]) == {"pitch", "level", "duration"}
    assert set(bare["given"]) == {"audio", "neural"}
    song.values["planted_pitch"][0] = 0.0
    deaf = replace(clips, unit_ids=[], counts=clips.counts[:, :0])
    assert set(metrics_table(*data_scores(deaf, song=None, **settings))["given"]) == {"audio"}
    song = replace(song, stop_s=clips.start_s + np.random.default_rng(1).uniform(0.1, 0.2, 2000))
    table = metrics_table(*data_scores(clips, song=song, **settings)).set_index(["objective", "given", "metric"])
    value = table.set_index("target", append=True)["value"]
    kernel = "identifiability:nonlinear"
    assert value["baseline:data", "audio", kernel, "pressure"] > 0.9
    assert abs(value["baseline:data", "audio", kernel, "length"]) < 0.1
    assert value["baseline:exact_sound", "planted sound", kernel, "pressure"] > 0.95
    assert abs(value["baseline:exact_sound", "planted sound", kernel, "length"]) < 0.1


def test_components_keep_the_distances_of_the_data():
    data = {split: np.random.default_rng(3).normal(2.0, 5.0, (90, 12)).astype(np.float32) for split in SPLITS}
    found = components(data)
    apart = np.linalg.norm(data["test"][0] - data["test"][1])
    scale = np.sqrt(data["train"].var(axis=0, dtype=float).sum())
    assert np.linalg.norm(found["test"][0] - found["test"][1]) == pytest.approx(apart / scale, rel=1e-4)
