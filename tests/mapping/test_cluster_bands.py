"""Bands of a cluster whose units, sessions and animals are known."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from pipeline.mapping.cluster_bands import Members, describe_cluster
from pipeline.mapping.units import Tunings, votes

EDGES_HZ = 40_000 + 3000.0 * np.arange(21)
CENTRE_HZ = (EDGES_HZ[1:] + EDGES_HZ[:-1]) / 2
N_BOUTS, N_SURROGATES = 40, 99


def bump(best_hz, width_hz=9000.0):
    return np.exp2(-4 * ((CENTRE_HZ - best_hz) / width_hz) ** 2)


def tuned(generator, curve, *, n_units=5, noise=0.2):
    """A session whose units all have this `curve` (n_bands,) of relative rate, in SDs of the noise too."""
    n_bands = len(CENTRE_HZ)
    gram = np.eye(n_bands + 1) * 50.0
    response = 50.0 * np.append(curve, 0) + 50 * noise * generator.standard_normal((N_BOUTS, n_units, n_bands + 1))
    z = 4 * curve + generator.standard_normal((3, n_units, n_bands))
    return xr.Dataset(
        {
            "mean_count": ("unit", np.ones(n_units)),
            "bout_response": (("bout", "unit", "design"), response),
            "bout_gram": (("bout", "design", "design_2"), np.tile(gram, (N_BOUTS, 1, 1))),
            "bout_observed": (("bout", "unit"), np.ones((N_BOUTS, n_units))),
            "bout_part": ("bout", np.where(np.arange(N_BOUTS) % 2, "A", "B").astype(object)),
            "band_tested": ("band", np.ones(n_bands, bool)),
            "tuning_z": (("part", "unit", "band"), z),
            "surrogate_z_b": (
                ("surrogate", "unit", "band"),
                generator.standard_normal((N_SURROGATES, n_units, n_bands)),
            ),
        },
        coords={"part": np.array(["A", "B", "all"], object)},
    )


def described(sessions, animals, n_bootstrap=200, voters=None):
    members = [
        Members(session, np.arange(session.sizes["unit"]), animal)
        for session, animal in zip(sessions, animals, strict=True)
    ]
    return describe_cluster(
        members,
        members if voters is None else voters,
        centre_hz=CENTRE_HZ,
        edges_hz=EDGES_HZ,
        n_bootstrap=n_bootstrap,
        generator=np.random.default_rng(0),
    )


def test_units_with_two_bands_give_two_rows_each_with_its_own_edges():
    generator = np.random.default_rng(0)
    session = tuned(generator, bump(52_000) + 0.8 * bump(84_000))
    rows = described([session], ["m"])
    assert [row["is_band"] for row in rows] == [True, True] and all(row["p"] == 0.01 for row in rows)
    for row, best_hz in zip(rows, (52_000, 84_000), strict=True):
        assert row["peak_hz"] == pytest.approx(best_hz, abs=700)
        assert row["low_hz"] == pytest.approx(best_hz - 4500, abs=900)
        assert row["high_hz"] == pytest.approx(best_hz + 4500, abs=900)  # half of its own height, not of the higher one
        for name in ("peak_hz", "low_hz", "high_hz"):
            assert row[f"{name}_ci_low"] <= row[name] <= row[f"{name}_ci_high"] < row[name] + 1500


def test_a_second_band_of_part_a_alone_is_none():
    generator = np.random.default_rng(1)
    session = tuned(generator, bump(52_000))
    in_a = (session["bout_part"] == "A").to_numpy()
    session["bout_response"].values[in_a, :, :-1] += 40 * bump(84_000)
    rows = described([session], ["m"])
    assert [row["is_band"] for row in rows] == [True, False]
    assert rows[1]["p"] > 0.05


def test_part_b_has_no_say_in_which_band_comes_first():
    """The p of the first band would pass too often by chance where part B chose it."""
    generator = np.random.default_rng(5)
    session = tuned(generator, bump(52_000) + 0.8 * bump(84_000))
    in_b = (session["bout_part"] == "B").to_numpy()
    session["bout_response"].values[in_b, :, :-1] += 100 * bump(84_000)
    first, second = described([session], ["m"])
    assert first["height"] < second["height"]  # in all data
    assert (first["peak_hz"], second["peak_hz"]) == pytest.approx((52_000, 84_000), abs=700)


def test_where_there_is_nothing_the_band_fails_in_held_out_data():
    generator = np.random.default_rng(2)
    nothing = np.zeros(len(CENTRE_HZ))
    found = [described([tuned(generator, nothing, n_units=3)], ["m"], n_bootstrap=1) for _ in range(100)]
    p = np.array([rows[0]["p"] for rows in found])
    assert (p <= 0.05).mean() <= 0.12 and 0.35 < p.mean() < 0.65
    further = [row["is_band"] for rows in found for row in rows[1:]]
    assert np.mean(further) <= 0.12


def test_animals_weigh_the_same_however_many_units_they_have():
    generator = np.random.default_rng(3)
    nothing = np.zeros(len(CENTRE_HZ))
    many, few = tuned(generator, bump(60_000), n_units=20), tuned(generator, nothing, n_units=2)
    alone = described([many], ["m1"])[0]
    both = described([many, few], ["m1", "m2"])[0]
    agreeing = described([many, tuned(generator, bump(60_000), n_units=2)], ["m1", "m2"])[0]
    assert [row["n_animals_agree"] for row in (alone, both, agreeing)] == [1, 1, 2]
    assert described([many, few], ["m1", "m1"])[0]["n_animals_agree"] == 1
    many["tuning_z"].values[:] = generator.standard_normal(many["tuning_z"].shape) + 0.5 * bump(60_000)
    few["tuning_z"].values[:] -= 4 * bump(60_000)
    assert described([many], ["m1"])[0]["p"] <= 0.05
    assert described([many, few], ["m1", "m2"])[0]["p"] > 0.05  # twenty units do not outvote two


def silent_above(session, hz):
    """The session of an animal that did not sing there."""
    quiet = hz <= CENTRE_HZ
    session["band_tested"] = ("band", ~quiet)
    session["tuning_z"].values[..., quiet] = np.nan
    session["surrogate_z_b"].values[..., quiet] = 0
    session["bout_response"].values[..., :-1][..., quiet] = 0
    return session


def test_an_animal_that_did_not_sing_in_a_band_has_no_say_in_it():
    """Less fire elsewhere confirms nothing: neither the p of the band nor that the animals agree."""
    generator = np.random.default_rng(6)
    agree, p = [], []
    for _ in range(20):
        mute = silent_above(tuned(generator, -bump(50_000)), 70_000)
        in_a = tuned(generator, bump(84_000))  # nothing of it in part B
        in_a["tuning_z"].loc[{"part": "B"}] = generator.standard_normal((5, len(CENTRE_HZ)))
        p.append(described([in_a, mute], ["m1", "m2"], n_bootstrap=1)[0]["p"])
        agree.append(described([tuned(generator, bump(84_000)), mute], ["m1", "m2"])[0]["n_animals_agree"])
    assert agree == [1] * 20
    assert (np.array(p) <= 0.05).mean() <= 0.2 and 0.2 < np.mean(p) < 0.8


def test_where_an_animal_did_not_sing_draws_without_the_other_have_no_band():
    generator = np.random.default_rng(7)
    both, one = tuned(generator, bump(52_000) + 0.8 * bump(84_000)), tuned(generator, bump(52_000))
    _, second = described([both, silent_above(one, 70_000)], ["m1", "m2"])
    assert 82_000 < second["peak_hz_ci_low"] <= second["peak_hz"] <= second["peak_hz_ci_high"] < 86_000


def test_without_any_band_in_part_a_nothing_is_stated():
    (row,) = described([silent_above(tuned(np.random.default_rng(8), bump(50_000)), 0)], ["m"])
    assert np.isnan([row["peak_hz"], row["low_hz"], row["peak_hz_ci_low"], row["p"]]).all()
    assert row["n_animals_agree"] == 0 and not row["is_band"]


def test_intervals_tell_that_animals_differ():
    generator = np.random.default_rng(4)
    sessions = [tuned(generator, bump(best_hz), noise=0.05) for best_hz in (58_000, 66_000)]
    one_animal, two_animals = (described(sessions, animals)[0] for animals in (["m", "m"], ["m1", "m2"]))
    width = [row["peak_hz_ci_high"] - row["peak_hz_ci_low"] for row in (one_animal, two_animals)]
    assert width[0] < 3000 and width[1] > 6000


def null_session(generator, *, n_units=100):
    """A session without tuning whose bouts are one of A and one of B; p_a by the largest of the bands' z."""
    session = tuned(generator, np.zeros(len(CENTRE_HZ)), n_units=n_units)
    session = session.isel(bout=[1, 0])
    session["bout_response"] = session["bout_response"] * 0.0
    session["bout_response"].values[..., :-1] = session["tuning_z"].sel(part=["A", "B"])
    session["bout_gram"] = session["bout_gram"] / 50
    p_a = 1 - norm.cdf(session["tuning_z"].sel(part="A").max("band")) ** len(CENTRE_HZ)
    return session.assign(
        p_a=("unit", p_a),
        lag_a_s=("unit", np.zeros(n_units)),
        band_low_hz=("band", EDGES_HZ[:-1]),
        band_high_hz=("band", EDGES_HZ[1:]),
    )


def test_units_chosen_by_the_whole_session_do_not_choose_the_test():
    """Without anything to find: three clusters of the units that look most selective in A and B together, by peak."""
    generator = np.random.default_rng(5)
    p_old, p = [], []
    for session in (null_session(generator) for _ in range(60)):
        z = session["tuning_z"].values
        best = np.argsort(-(z[0] + z[1]).max(axis=1))[:9]
        cluster = np.full(z.shape[1], -1)
        cluster[best[np.argsort(z[0][best].argmax(axis=1), kind="stable")]] = np.arange(9) // 3
        votes_for = votes(Tunings({"a": session}), cluster, max_lag_s=0.1)
        for number in range(3):
            members, voters = ([Members(session, np.flatnonzero(of == number), "m")] for of in (cluster, votes_for))
            voters = [some for some in voters if len(some.units)]
            for found, chosen in ((p, voters), (p_old, members)):
                bounds = {"centre_hz": CENTRE_HZ, "edges_hz": EDGES_HZ, "n_bootstrap": 1, "generator": generator}
                found.append(describe_cluster(members, chosen, **bounds)[0]["p"])
    assert np.mean(np.array(p_old) <= 0.05) > 0.15  # the members would vouch for themselves
    p = np.array(p)[np.isfinite(p)]
    assert (p <= 0.05).mean() <= 0.1 and 0.4 < p.mean() < 0.6 and len(p) > 120  # 99 % of a binomial


def test_part_a_alone_says_who_votes_where():
    generator = np.random.default_rng(6)
    session = null_session(generator, n_units=6)
    session["bout_response"].values[0, :, :-1] = [bump(hz) for hz in (52e3, 52e3, 84e3, 84e3, 82e3, 60e3)]
    session["p_a"] = ("unit", [0.01, 0.2, 0.05, np.nan, 0.01, 0.06])
    tunings = Tunings({"a": session})
    cluster = np.array([0, 0, 1, 1, -1, -1])
    assert votes(tunings, cluster, max_lag_s=0.1).tolist() == [0, -1, 1, -1, 1, -1]
    alone = np.array([0, 0, 1, 1, 0, -1])  # the fifth drew its cluster towards itself
    assert votes(tunings, alone, max_lag_s=0.1)[4] == 1
    assert votes(tunings, np.full(6, -1), max_lag_s=0.1).tolist() == [-1] * 6


def test_without_voters_nothing_is_tested():
    row = described([tuned(np.random.default_rng(7), bump(60_000))], ["m"], voters=[])[0]
    assert row["peak_hz"] == pytest.approx(60_000, abs=700)
    assert np.isnan([row["p"], row["p_floor"], row["heldout_iou"]]).all()
    assert not row["is_band"] and row["n_animals_agree"] == 0
