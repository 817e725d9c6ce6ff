"""Tables as the report shows them."""

import numpy as np
import pandas as pd

from pipeline.report.tables import view

TABLE = pd.DataFrame(
    {"peak_khz": [62.07, np.nan], "peak_ci_low_khz": [61.4, np.nan], "peak_ci_high_khz": [63.04, np.nan]}
)


def texts(**chosen):
    return [[cell.text for cell in row] for row in view(TABLE, "t", descriptions={}, csv=None, **chosen).rows]


def test_intervals_stand_beside_values():
    labels = {"peak_khz": "Peak (kHz)"}
    intervals = {"peak_khz": ("peak_ci_low_khz", "peak_ci_high_khz")}
    assert texts(labels=labels, intervals=intervals) == [["62.1 (61.4–63.0)"], ["–"]]
    assert texts(labels=labels, intervals={"peak_khz": ("peak_ci_low_khz", "absent")}) == [["62.1"], ["–"]]
    assert texts(labels=labels) == [["62.1"], ["–"]]
    row = view(TABLE, "t", descriptions={}, csv=None, labels=labels, intervals=intervals).rows[0]
    assert row[0].exact == "62.07"  # sorted by the value alone
