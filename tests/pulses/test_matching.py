import numpy as np
import pytest

from pipeline.clock import fit_clock
from pipeline.errors import InputError
from pipeline.pulses import Pulses
from pipeline.pulses.matching import match_pulses


def match(audio, nwb, *, tolerance_s=0.0018, offset_s=None):
    return match_pulses(audio, nwb, tolerance_s=tolerance_s, offset_s=offset_s)


def worst_error_s(world, *, spare_s=0.0):
    """Largest error of the clock anywhere from the first to the last pulse that both saw."""
    matched = match(world.audio, world.nwb)
    clock = fit_clock(matched.audio_s, matched.nwb_s, max_residual_s=0.002, where="test")
    t_s = np.linspace(matched.audio_s[0] - spare_s, matched.audio_s[-1] + spare_s, 5000)
    return np.abs(clock.to_session(t_s) - world.to_session(t_s)).max()


@pytest.mark.parametrize(
    "options",
    [
        {"n": 3, "mean_s": 1200.0},
        {"n": 5, "mean_s": 1.0},
        {"n": 10, "mean_s": 300.0, "drift": -200e-6},
        {"n": 60, "mean_s": 60.0, "missing": 0.3, "spurious": 0.3, "drift": 200e-6},
        {"n": 360, "mean_s": 10.0, "missing": 0.3, "spurious": 0.3},
        {"n": 360, "mean_s": 10.0, "jitter_s": 5e-4, "missing": 0.1},
        {"n": 3600, "mean_s": 1.0, "jitter_s": 5e-4, "wander": 20e-6},
        {"n": 3600, "mean_s": 1.0, "missing": 0.3, "spurious": 0.3, "wander": 20e-6},
        {"n": 5000, "mean_s": 0.05, "missing": 0.1, "spurious": 0.1},
        {"n": 300, "mean_s": 12.0, "offset_s": 1.7e9},
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_an_hour_of_pulses_gives_the_clock_within_a_millisecond(make_world, options, seed):
    assert worst_error_s(make_world(seed=seed, **options)) <= 1e-3


def test_matched_and_unmatched_are_counted(make_world):
    world = make_world(n=200, jitter_s=0.0)
    audio_s = np.delete(world.audio.onset_s, [5, 100, 101])
    nwb_s = np.sort(np.r_[np.delete(world.nwb.onset_s, 50), world.nwb.onset_s[[20, 30]] + 0.7])
    matched = match(Pulses(audio_s, world.audio.spans_s, "sound"), Pulses(nwb_s, world.nwb.spans_s, "events"))
    assert (len(matched.audio_s), matched.n_audio_only, matched.n_nwb_only) == (196, 1, 5)
    np.testing.assert_allclose(matched.nwb_s, world.to_session(matched.audio_s), atol=1e-7)


def test_the_answer_is_the_same_each_time(make_world):
    world = make_world(n=100, missing=0.2, spurious=0.2)
    first, second = match(world.audio, world.nwb), match(world.audio, world.nwb)
    np.testing.assert_array_equal(first.audio_s, second.audio_s)
    np.testing.assert_array_equal(first.nwb_s, second.nwb_s)


@pytest.mark.parametrize(("n", "mean_s", "n_draws"), [(3, 10.0, 100), (10, 5.0, 100), (30, 1.0, 100), (300, 10.0, 15)])
def test_pulses_that_have_nothing_to_do_with_each_other_are_refused(make_world, n, mean_s, n_draws):
    for seed in range(n_draws):
        audio = make_world(seed=seed, n=n, mean_s=mean_s).audio
        nwb = make_world(seed=1000 + seed, n=n + seed % 3, mean_s=mean_s).nwb
        with pytest.raises(InputError, match="in common"):
            match(audio, nwb)


@pytest.mark.parametrize("jitter_s", [0.001, 0.01, 0.05])
def test_two_nearly_steady_generators_are_refused(make_world, jitter_s):
    rng = np.random.default_rng(5)
    for seed in range(10):
        n = int(rng.integers(30, 150))
        trains = [np.arange(count) + jitter_s * rng.standard_normal(count) for count in (n, n + 3)]
        audio, nwb = (make_world(seed=seed, times_s=np.sort(train)) for train in trains)
        with pytest.raises(InputError, match=r"in common|several offsets"):
            match(audio.audio, nwb.nwb)


def test_a_steady_train_is_matched_where_the_counts_decide(make_world):
    # the sound began before the first pulse and went on after the last: all pulses are there, as many as in the NWB
    world = make_world(times_s=np.arange(200.0), jitter_s=1e-4)
    assert worst_error_s(world) < 1e-3


@pytest.mark.parametrize(
    "change",
    ["one missed by the sound", "no margins", "sound cut at both ends", "one missed by each"],
)
def test_a_steady_train_is_refused_where_they_do_not(make_world, change):
    world = make_world(times_s=np.arange(200.0), margins_s=(0.4, 0.4) if change == "no margins" else (3.0, 3.0))
    audio_s, nwb_s, spans_s = world.audio.onset_s, world.nwb.onset_s, world.audio.spans_s
    if change.startswith("one missed"):
        audio_s = np.delete(audio_s, 0 if change.endswith("each") else 70)
        nwb_s = nwb_s[:-1] if change.endswith("each") else nwb_s
    if change == "sound cut at both ends":
        audio_s, spans_s = audio_s[20:-20], audio_s[[20, -20]][None] + [[-0.5, -0.5]]
    audio, nwb = Pulses(audio_s, spans_s, "sound"), Pulses(nwb_s, nwb_s[[0, -1]][None], "events")
    if change == "one missed by each":
        spans_s = spans_s.copy()
        audio = Pulses(audio_s, np.array([[audio_s[0] - 0.5, spans_s[0, 1]]]), "sound")
    with pytest.raises(InputError, match=r"several offsets(.|\n)*random intervals"):
        match(audio, nwb)
    offset_s = world.to_session(audio_s[0]) - audio_s[0]
    matched = match(audio, nwb, offset_s=offset_s + 0.2)  # roughly known: to less than half a period
    assert np.abs(matched.nwb_s - world.to_session(matched.audio_s)).max() < 2e-3
    with pytest.raises(InputError, match="several offsets"):
        match(audio, nwb, offset_s=offset_s + 0.5)


def test_a_pulse_that_the_generator_left_out_decides(make_world):
    times_s = np.delete(np.arange(100.0), 37)
    assert worst_error_s(make_world(times_s=times_s, jitter_s=1e-4)) < 1e-3


def test_too_few_pulses_are_told(make_world):
    world = make_world(n=20)
    one, none = (Pulses(world.audio.onset_s[:n], world.audio.spans_s, "sound", "rest at 0") for n in (1, 0))
    with pytest.raises(InputError, match=r"no pulse(.|\n)*sound: 0 pulses \(rest at 0\)"):
        match(none, world.nwb)
    with pytest.raises(InputError, match="one pulse cannot be told among several"):
        match(one, world.nwb)
    matched = match(one, Pulses(world.nwb.onset_s[:1], world.nwb.spans_s, "events"))
    assert len(matched.audio_s) == 1
