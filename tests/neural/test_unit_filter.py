import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputError
from pipeline.neural.unit_filter import excluded_by

TABLE = pd.DataFrame(
    {
        "quality": np.array(["good", "mua", "good", "noise", ""], dtype=object),
        "presence_ratio": [0.95, 0.99, 0.5, np.nan, 0.91],
        "snr": [3, 9, 4, 1, 5],
        "Amplitude Cutoff": [0.01, 0.5, 0.02, 0.3, 0.04],
        "label": [True, False, True, False, True],
    }
)


def kept(expression):
    reasons = excluded_by(
        expression,
        column=lambda name: TABLE[name].to_numpy(object if name == "quality" else None),
        names=list(TABLE),
        n_rows=len(TABLE),
        where="a.nwb, /units",
    )
    return [not reason for reason in reasons], reasons


@pytest.mark.parametrize(
    "expression",
    [
        "quality == 'good' and presence_ratio > 0.9",
        "quality != 'good' or snr >= 4",
        "not (quality == 'noise') and not snr < 4",
        "2 < snr <= 5",
        "quality in ['good', 'mua'] and `Amplitude Cutoff` < 0.1",
        "snr not in (1, 9)",
        "label and snr > -1",
        "snr > presence_ratio",
        "presence_ratio > .9 and (snr < 4 or snr > 8)",
    ],
)
def test_as_pandas_evaluates_it(expression):
    expected = TABLE.query(expression, engine="python").index
    assert list(np.flatnonzero(kept(expression)[0])) == list(expected)


def test_reasons_name_what_is_not_met():
    _, reasons = kept("quality == 'good' and `Amplitude Cutoff` < 0.015")
    assert reasons[0] == ""
    assert reasons[1] == "neural.unit_filter: not quality == 'good' (quality mua)"
    assert reasons[2] == "neural.unit_filter: not `Amplitude Cutoff` < 0.015 (Amplitude Cutoff 0.02)"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("presnce_ratio > 0.9", "nearest: presence_ratio"),
        ("quality > 3", "compare a text with a number"),
        ("snr == 'high'", "compare a number with a text"),
        ("quality in ['good', 3]", "compare a text with a number"),
        ("quality", "neither true nor false"),
        ("quality = 'good'", "not an expression"),
        ("quality == 'good", "not an expression"),
        ("__import__('os').system('true')", "not an expression"),
        ("snr.max() > 3", "not an expression"),
        ("snr + 1 > 3", "not an expression"),
        ("[x for x in snr]", "not an expression"),
        ("1 < 2", "no column"),
        ("snr is 3", "not an expression"),
        ("", "not an expression"),
    ],
)
def test_what_is_no_filter(expression, said):
    with pytest.raises(InputError, match=r"neural\.unit_filter") as caught:
        kept(expression)
    assert said in str(caught.value)


def test_excluded_units_stay_in_the_table(write_nwb, binned):
    trains = [np.arange(1, 200) / 7, np.arange(1, 300) / 9, np.arange(1, 100) / 5]
    units = [
        {"spike_times": t, "quality": q, "presence_ratio": p}
        for t, q, p in zip(trains, ("good", "mua", "good"), (0.95, 0.99, 0.2), strict=True)
    ]
    path = write_nwb(units, columns=("quality", "presence_ratio"))
    counts, table, warned = binned(path, unit_filter="quality == 'good' and presence_ratio > 0.9")
    assert list(counts["unit"].values) == ["s1|units|0"] and not warned
    assert list(table["n_spikes"]) == [199, 299, 99] and list(table["included"]) == [True, False, False]
    assert table["exclusion_reason"][2] == "neural.unit_filter: not presence_ratio > 0.9 (presence_ratio 0.2)"
    with pytest.raises(InputError, match=r"no unit is left(.|\n)*3 units: neural.unit_filter"):
        binned(path, unit_filter="quality == 'best'")
