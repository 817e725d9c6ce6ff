"""The headline sentences, where the comparison with the best baseline has no interval and where it has one."""

import pandas as pd
import pytest

from pipeline.mapping.summary import summarise
from pipeline.mapping.tables import TABLES


@pytest.fixture
def tables():
    tables = {name: pd.DataFrame(columns=list(columns)) for name, columns in TABLES.items()}
    tables["units"] = pd.DataFrame({"session": ["a"], "subject": ["m"], "included": [True]})
    tables["unit_clusters"] = pd.DataFrame(
        {"q_vocal": [0.5], "q_band": [0.5], "p_band": [0.5], "p_vocal": [0.5], "cluster": [-1]}
    )
    return tables


@pytest.mark.parametrize(("low", "beats"), [(None, None), (0.01, True), (-0.01, False)])
def test_a_model_beats_the_baseline_only_with_its_whole_interval(tables, low, beats):
    primary = {"family": "mopoe", "unit": "bits/spike", "test_bits": 0.1, "test_se": None}
    rival = {"objective": "baseline:ridge", "delta": 0.02, "delta_low": low, "delta_high": low and low + 0.03}
    summary = summarise(tables, primary=primary, best_baseline=rival, q=0.05, p_one_cluster=float("nan"))
    assert summary["beats_baseline"] is beats
    told = " ".join(summary["headlines"])
    assert "Nothing to see" in told
    assert ("best baseline" in told) == (beats is not None)
    assert ("not better than" in told) == (beats is False)


@pytest.mark.parametrize(
    ("trust", "first", "last"), [("ok", "Nothing to see", "Controls"), ("low", "Do not trust", "")]
)
def test_the_headlines_tell_what_the_controls_say(tables, trust, first, last):
    tables["controls"] = pd.DataFrame(
        {
            "control": ["neural_shifted", "time_reversed"],
            "level": "band",
            "value": [0.03, 0.21],
            "n": 100,
            "baseline": 0.05,
            "trust": ["ok", trust],
            "doubtful_sessions": "",
        }
    )
    lines = summarise(tables, primary=None, best_baseline=None, q=0.05, p_one_cluster=float("nan"))["headlines"]
    assert lines[0].startswith(first) and lines[-1].startswith(last)
    assert ("3.0% to 21.0%" in lines[-1]) == (trust == "ok") and ("21%" in lines[0]) == (trust == "low")


def test_the_session_that_fails_a_control_is_named(tables):
    row = {"control": "time_reversed", "level": "vocal", "value": 0.06, "n": 100, "baseline": 0.05, "trust": "low"}
    tables["controls"] = pd.DataFrame([row | {"doubtful_sessions": "anna_3"}])
    (reason,) = summarise(tables, primary=None, best_baseline=None, q=0.05, p_one_cluster=float("nan"))["trust_reasons"]
    assert reason == "time reversed: 6% of the vocal tests are significant at 5 %, far more in anna_3"


def test_a_cluster_with_two_bands_is_one_cluster(tables):
    tables["unit_clusters"] = pd.DataFrame(
        {"q_vocal": 0.01, "q_band": 0.01, "p_band": 0.01, "p_vocal": 0.01, "cluster": [0, 0, 0, 1, 1, 1]}
    )
    bands = {
        "cluster": [0, 0, 1],
        "n_units": [3, 3, 2],
        "peak_khz": [50.0, 86.0, 62.0],
        "low_khz": [45.0, 81.0, 57.0],
        "n_animals": 1,
    }
    tables["cluster_bands"] = pd.DataFrame({**bands, "high_khz": [54.0, 92.0, 66.0], "q": [0.01, 0.02, 0.01]})
    summary = summarise(tables, primary=None, best_baseline=None, q=0.05, p_one_cluster=0.01)
    assert summary["n_clusters"] == 2
    assert "2 clusters of neurons stand for 45-54 and 81-92 kHz, 57-66 kHz (5 units of 1," in summary["headlines"][0]
    tables["cluster_bands"]["q"] = [0.01, 0.02, 0.4]  # units of a cluster that fails are none of the found
    summary = summarise(tables, primary=None, best_baseline=None, q=0.05, p_one_cluster=0.01)
    assert "1 cluster of neurons stands for 45-54 and 81-92 kHz (3 units of 1," in summary["headlines"][0]


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.4, "Tuned neurons form one cluster or a continuum (p = 0.4), and together prefer 45-61 kHz ("),
        (float("nan"), "one cluster or a continuum (too few units to tell), and"),
        (0.005, "1 cluster of neurons stands for 45-61 kHz ("),  # of several, the only one that is large enough
    ],
)
def test_one_cluster_is_no_discovery_of_one(tables, p, said):
    tables["unit_clusters"] = pd.DataFrame(
        {"q_vocal": 0.01, "q_band": 0.01, "p_band": 0.01, "p_vocal": 0.01, "cluster": [0, 0, 0]}
    )
    tables["cluster_bands"] = pd.DataFrame(
        {"cluster": [0], "peak_khz": 50.0, "low_khz": 45.0, "high_khz": 61.0, "n_animals": 1, "n_units": 3, "q": 0.01}
    )
    assert said in summarise(tables, primary=None, best_baseline=None, q=0.05, p_one_cluster=p)["headlines"][0]
