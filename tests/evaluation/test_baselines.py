from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.evaluation.baselines import baseline_metrics, count_predictions
from pipeline.evaluation.choice import choose
from pipeline.evaluation.heldout import held_out, with_modalities
from pipeline.evaluation.metrics import COLUMNS, metrics_table
from pipeline.mapping.names import BASELINES

SETTINGS = {"chunk_s": 10.0, "min_peak_db": 10.0}
BOTH = ("audio", "neural")
FROM_SOUND = ["psth", "level", "poisson_glm", "ridge", "reduced_rank", "cca"]


def scored(clips):
    table = metrics_table(*baseline_metrics(clips, **SETTINGS))
    assert list(table.columns) == list(COLUMNS)
    return table[table["split"] == "test"].assign(name=table["objective"].str.removeprefix("baseline:"))


def bits(table, name):
    rows = table[(table["metric"] == "bits_per_spike") & (table["name"] == name)]
    return rows.set_index("unit_id")["value"]


def possible_bits(true, counts):
    """Bits a spike of the expected counts that the spikes were drawn from."""
    mean = true.mean(axis=(0, 2), keepdims=True)
    return np.sum(true * np.log2(true / mean), axis=(0, 2)) / true.sum(axis=(0, 2))


def test_planted_tuning_is_found_and_unrelated_units_are_not(make_clips):
    clips, true = make_clips(n_clips=1500)
    table = scored(clips)
    best = possible_bits(true, clips.counts)
    for name in ("ridge", "poisson_glm", "reduced_rank"):
        found = bits(table, name)
        for unit in (0, 1):
            assert 0.6 * best[unit] < found[clips.unit_ids[unit]] < 1.3 * best[unit]
        for unit in (2, 3):
            assert -0.03 < found[clips.unit_ids[unit]] < 0.01
        assert found[clips.unit_ids[0]] > bits(table, "level")[clips.unit_ids[0]]  # the band, not the level
    assert (bits(table, "mean") == 0).all()


def test_traces_are_predicted_in_bits_a_bin(make_clips):
    clips, true = make_clips(n_clips=1500)
    noise = np.random.default_rng(1).normal(size=true.shape)
    signal = (true - true.mean(axis=(0, 2), keepdims=True)) / 0.2
    scale = np.sqrt(1 + signal.var(axis=(0, 2), keepdims=True))
    traces = replace(clips, counts=((signal + noise) / scale).astype(np.float32), kind="traces")
    table = scored(traces)
    assert "bits_per_spike" not in set(table["metric"]) and "poisson_glm" not in set(table["name"])
    rows = table[(table["metric"] == "bits_per_bin") & (table["split"] == "test") & table["unit_id"].ne("")]
    found = rows.pivot(index="unit_id", columns="name", values="value")
    explained = (signal / scale).var(axis=(0, 2)) / (2 * np.log(2))  # if the signal is known
    for unit in (0, 1):
        assert 0.6 * explained[unit] < found["ridge"].iloc[unit] < 1.2 * explained[unit]
        assert found["reduced_rank"].iloc[unit] > found["level"].iloc[unit]
    assert found.loc[clips.unit_ids[3], "ridge"] == pytest.approx(0, abs=0.01)


def test_sound_is_predicted_from_counts(make_clips):
    clips, _ = make_clips(n_clips=1500, gain=20.0)
    table = scored(clips)
    rows = table[(table["target"] == "audio") & (table["metric"] == "explained_variance")].set_index("name")["value"]
    assert rows["mean"] == pytest.approx(0)
    assert rows["ridge"] > 0.02 and rows["reduced_rank"] > 0.02
    assert set(table["given"]) == {"audio", "neural"}


def test_nothing_to_find_scores_nothing(make_clips):
    clips, _ = make_clips(n_clips=1000, gain=1.0)
    table = scored(clips)
    for name in [*FROM_SOUND, "drift"]:
        assert -0.03 < bits(table, name)[""] < 0.005
    rows = table[(table["target"] == "audio") & (table["metric"] == "explained_variance")]
    assert (rows["value"].abs() < 0.005).all()


def test_drift_is_found_only_by_the_drift_baseline(make_clips):
    clips, true = make_clips(n_clips=1000, gain=1.0, drift=1.0)
    table = scored(clips)
    best = possible_bits(true, clips.counts)[2]
    assert bits(table, "drift")[clips.unit_ids[2]] > 0.3 * best
    assert bits(table, "ridge")[clips.unit_ids[2]] < 0.01


def test_the_test_clips_are_never_looked_at(make_clips):
    clips, _ = make_clips(n_clips=400)
    predictions = []
    for counts in (clips.counts, np.where((clips.split == "test")[:, None, None], 9, clips.counts)):
        session = replace(clips, counts=counts)
        held = {split: held_out(session, split=split, modalities=BOTH, **SETTINGS) for split in ("validation", "test")}
        training = with_modalities(session.where("train"), BOTH)
        predictions.append({name: parts["test"] for name, parts in count_predictions(training, held)})
    assert set(predictions[0]) == {"mean", "drift", *FROM_SOUND} == set(BASELINES)  # each has a name for readers
    for name, predicted in predictions[0].items():
        np.testing.assert_array_equal(predicted, predictions[1][name])


def test_missing_bins_do_not_disturb(make_clips):
    clips, _ = make_clips(n_clips=800)
    counts = clips.counts.copy()
    counts[::7, 0] = np.nan
    counts[:, 1, 3] = np.nan
    counts[5] = np.nan
    present = clips.present.copy()
    present[5, 1] = False
    table = scored(replace(clips, counts=counts, present=present))
    assert np.isfinite(table["value"]).all()
    for name in ("ridge", "poisson_glm"):
        assert (bits(table, name)[clips.unit_ids[:2]] > 0.05).all()


@pytest.mark.parametrize("absent", [0, 1])
def test_one_modality_has_no_baselines(make_clips, absent):
    clips, _ = make_clips(n_clips=100)
    present = clips.present.copy()
    present[:, absent] = False
    assert metrics_table(*baseline_metrics(replace(clips, present=present), **SETTINGS)).empty


def test_without_validation_clips_the_message_says_what_to_do(make_clips):
    clips, _ = make_clips(n_clips=100)
    clips = replace(clips, split=np.where(clips.split == "validation", "guard", clips.split))
    with pytest.raises(InputError, match=r"validation.*0.*\n.*mend"):
        baseline_metrics(clips, **SETTINGS)


def test_the_floor_and_candidate_that_explain_most_are_chosen():
    generator = np.random.default_rng(0)
    true = generator.choice([0.02, 0.5], (500, 2, 5))
    counts = generator.poisson(true)
    reference = true.mean(axis=(0, 2))
    wrong = np.broadcast_to(reference[:, None], true.shape).copy()
    wrong[:, 1] = true[:, 1]
    too_low = np.where(true < 0.1, -1, true)
    choice = choose(
        [wrong, too_low],
        counts=counts,
        reference=reference,
        floors=(0.001, true.min() / reference[0]),
        per_unit=True,
        kind="spikes",
    )
    assert choice.candidate[0] == 1 and choice.floor[0] > 0.01
    assembled = choice.assemble([wrong, too_low].__getitem__, reference)
    np.testing.assert_allclose(assembled[:, 0], true[:, 0])
