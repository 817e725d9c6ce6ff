import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputError
from pipeline.mapping.recovery import recovery

TRUTH = {
    "bands": [{"cluster": 0, "low_hz": 50_000, "high_hz": 60_000}, {"cluster": 1, "low_hz": 70_000, "high_hz": 80_000}],
    "sessions": {
        "a": {
            "units": {
                **{
                    f"a|units|{i}": {"kind": "tuned", "cluster": i % 2, "best_hz": 55_000, "lag_s": 0.01}
                    for i in range(6)
                },
                **{
                    f"a|units|{i}": {"kind": "unrelated", "cluster": -1, "best_hz": None, "lag_s": None} for i in (6, 7)
                },
            }
        }
    },
}


def units(cluster, q_band):
    return pd.DataFrame(
        {
            "unit_id": [f"a|units|{i}" for i in range(8)],
            "cluster": cluster,
            "q_band": q_band,
            "q_vocal": 0.01,
            "best_khz": 56.0,
            "lag_ms": 12.0,
        }
    )


BANDS = pd.DataFrame({"cluster": [0, 1], "low_khz": [50.0, 71.0], "high_khz": [55.0, 80.0]})


def values(table):
    return table.set_index(["metric", "of"])["value"]


def test_a_perfect_map():
    found = values(recovery(TRUTH, units([1, 0] * 3 + [-1, -1], [0.01] * 6 + [0.5] * 2), BANDS, q=0.05))
    assert found["cluster_ari", "assigned units"] == 1  # names of clusters do not matter
    assert found["band_iou", "50-60 kHz"] == 0.5
    assert found["band_iou", "70-80 kHz"] == pytest.approx(0.9)
    assert found["share_in_cluster", "unrelated units"] == 0
    assert found["median_peak_error", "tuned units found"] == pytest.approx(1.0)
    assert found["median_lag_error", "tuned units found"] == pytest.approx(2.0)


def test_unrelated_units_in_a_cluster_cost():
    found = values(recovery(TRUTH, units([1, 0] * 3 + [1, 1], [0.01] * 8), BANDS, q=0.05))
    assert found["cluster_ari", "assigned units"] < 0.8
    assert found["share_in_cluster", "unrelated units"] == 1


def test_nothing_found_is_no_number():
    found = values(recovery(TRUTH, units([-1] * 8, [np.nan] * 8), BANDS.iloc[:0], q=0.05))
    assert np.isnan(found["cluster_ari", "assigned units"]) and np.isnan(
        found["median_peak_error", "tuned units found"]
    )
    assert found["band_iou", "50-60 kHz"] == 0


def test_tables_of_another_run():
    other = units([0] * 8, [0.1] * 8).assign(unit_id="b|units|0")
    with pytest.raises(InputError, match="none of the truth's units"):
        recovery(TRUTH, other, BANDS, q=0.05)
    with pytest.raises(InputError, match="names no units"):
        recovery({"bands": []}, other, BANDS, q=0.05)
