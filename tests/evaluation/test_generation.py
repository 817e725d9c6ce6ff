"""Coherence of joint draws, where the planted model's draws belong together by a known amount, or not at all."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from pipeline.evaluation.factors import KnownClips, known_clips, sound_factors
from pipeline.evaluation.generation import agreement, coherence_scores
from pipeline.evaluation.metrics import Metrics, metrics_table
from pipeline.evaluation.scores import correlation, jackknifed

FREQUENCY_HZ = np.linspace(40_000, 110_000, 8)
FRAME_S = (np.arange(16) + 0.5) * 0.0125


def tone(frequency_hz, level_db, n_frames):
    """A clip that is silent (0 dB) but for a tone of one band in its first frames."""
    spectrogram = np.zeros((1, 8, 16), np.float32)
    spectrogram[0, np.abs(FREQUENCY_HZ - frequency_hz).argmin(), :n_frames] = level_db
    return spectrogram


def test_factors_of_a_tone_are_its_own():
    found = sound_factors(tone(90_000, 30.0, 6), frequency_hz=FREQUENCY_HZ, frame_s=FRAME_S, min_peak_db=10.0)
    assert found["pitch"][0] == pytest.approx(90_000, abs=700)
    assert found["level"][0] == pytest.approx(30.0 * 6 / (8 * 16))
    assert found["duration"][0] == pytest.approx(6 * 0.0125)
    two = tone(50_000, 30.0, 4) + tone(110_000, 30.0, 12)  # three times the energy at 110 kHz
    found = sound_factors(two, frequency_hz=FREQUENCY_HZ, frame_s=FRAME_S, min_peak_db=10.0)
    assert found["pitch"][0] == pytest.approx(0.25 * 50_000 + 0.75 * 110_000, abs=700)


def test_silence_has_no_pitch():
    found = sound_factors(tone(90_000, 9.0, 16), frequency_hz=FREQUENCY_HZ, frame_s=FRAME_S, min_peak_db=10.0)
    assert np.isnan(found["pitch"][0]) and found["duration"][0] == 0.0
    assert np.isfinite(sound_factors(np.full((1, 8, 16), 1e4, np.float32), frequency_hz=FREQUENCY_HZ,
                                     frame_s=FRAME_S, min_peak_db=10.0)["pitch"]).all()  # fmt: skip


class Planted:
    """Draws whose counts follow band 5 with the given share; `units` 0 and 1 are those that follow it in real clips."""

    def __init__(self, share):
        self.share = share

    def generate(self, n, generator, *, session):
        ours, other = torch.randn((2, n), generator=generator)
        audio = torch.zeros(n, 8, 16)
        audio[:, 5] = 20 + 3 * ours[:, None]
        audio[:, 1] = 20
        seen = self.share * ours + (1 - self.share**2) ** 0.5 * other
        neural = torch.full((n, 4, 10), 0.2)
        neural[:, :2] = torch.exp(0.1 * seen)[:, None, None] * torch.tensor([0.4, 0.2])[:, None]
        return {"audio": audio, "neural": neural}


def coherence(make_clips, model, gain=4.0):
    known = known_clips(
        make_clips(n_clips=1000, gain=gain)[0], modalities=("audio", "neural"), min_peak_db=10.0, chunk_s=10.0
    )
    metrics = Metrics(objective="x", latent_dim=1, seed=0)
    coherence_scores(model, metrics, known, min_peak_db=10.0, generator=torch.Generator().manual_seed(0))
    return metrics_table(metrics).set_index(["target", "given"])


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_draws_are_as_coherent_as_they_were_planted(make_clips, share):
    found = coherence(make_clips, Planted(share))
    row = found.loc["level", "prior"]
    assert row["value"] == pytest.approx(share, abs=max(4 * row["se"], 0.03))
    assert found.loc["level", "real"]["value"] > 4 * found.loc["level", "real"]["se"]
    assert abs(found.loc["level", "shuffled"]["value"]) < 4 * found.loc["level", "shuffled"]["se"]
    assert len(row["block_sums"]) == 64 and row["n"] == 512
    # pitch rises with the level of the upper of two bands
    assert found.loc["pitch", "prior"]["value"] > 0.5 * share


def test_draws_of_independent_modalities_are_not_coherent(make_clips):
    found = coherence(make_clips, Planted(0.0))
    for factor in ("pitch", "level"):
        assert abs(found.loc[factor, "prior"]["value"]) < 4 * found.loc[factor, "prior"]["se"]


def test_real_pairs_without_a_link_do_not_agree(make_clips):
    found = coherence(make_clips, Planted(1.0), gain=1.0)
    for factor in ("pitch", "level"):
        assert abs(found.loc[factor, "real"]["value"]) < 4 * found.loc[factor, "real"]["se"]


def test_known_clips_need_every_split_and_sound(make_clips):
    clips = make_clips(n_clips=200)[0]
    options = {"min_peak_db": 10.0, "chunk_s": 10.0}
    assert isinstance(known_clips(clips, modalities=("audio",), **options), KnownClips)
    assert known_clips(clips, modalities=("neural",), **options) is None
    assert known_clips(clips.where("train"), modalities=("audio",), **options) is None


def test_the_error_of_a_correlation_is_that_of_theory():
    """(1 - r^2) / sqrt(n) for normal pairs."""
    generator = np.random.default_rng(0)
    a = generator.normal(size=2000)
    b = 0.8 * a + 0.6 * generator.normal(size=2000)
    b[::50] = a[::50]
    score = agreement(a, b, np.arange(2000) % 200, n_blocks=200)
    assert score.value == pytest.approx(pearsonr(a, b)[0])
    assert score.se == pytest.approx((1 - score.value**2) / np.sqrt(2000), rel=0.25)


def test_a_constant_series_agrees_with_nothing():
    assert correlation(np.ones(5), np.arange(5.0)) == 0.0 and correlation(np.ones(1), np.ones(1)) == 0.0


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(1).normal(size=40)
    score = jackknifed(lambda rows: values[rows].mean(), np.arange(40), n_blocks=40)
    assert score.value == pytest.approx(values.mean())
    assert score.se == pytest.approx(values.std(ddof=1) / np.sqrt(40))
