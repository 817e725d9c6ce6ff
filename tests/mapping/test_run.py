"""From counts and calls to tables, without a model, without spikes and without anything to find."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from planted_session import BANDS_HZ, DT, EDGES_HZ, fire

from pipeline.errors import InputError
from pipeline.mapping.profile import profile_calls, profile_none
from pipeline.mapping.run import map_run
from pipeline.mapping.tables import TABLES
from pipeline.mapping.tuning_file import Counts, Options
from pipeline.storage import write_dataset, write_table

OPTIONS = Options(n_surrogates=99, n_surrogates_fine=299, n_bootstrap=50, max_lag_s=0.1, seed=0, session="a")
BOUNDS = {"n_bootstrap": 50, "n_consensus": 30, "n_surrogates": 99, "max_clusters": 6, "min_units": 3}


def write_session(folder, calls, counts, kind="spikes"):
    """clips.nc, tuning.nc, units.parquet and the sheet of one session; `counts` (n_bins, n_units), of `kind`."""
    generator = np.random.default_rng(0)
    clip_start_s = np.arange(1.0, 290.0, 0.5)
    split = np.array(["train", "train", "validation", "train", "test"])[(clip_start_s // 30).astype(int) % 5]
    unit_ids = [f"a|units|{i}" for i in range(counts.shape[1])]
    grid = xr.Dataset(
        {"counts": (("bin", "unit"), counts), "valid": (("bin", "unit"), np.ones(counts.shape, bool))},
        coords={"bin": DT * np.arange(len(counts)), "unit": np.array(unit_ids, object)},
        attrs={"bin_width_s": DT, "kind": kind},
    )
    units = Counts.of(grid)
    if unit_ids:
        tuning = profile_calls(
            units,
            calls,
            to_session=lambda t: t,
            clip_start_s=clip_start_s,
            clip_split=split,
            edges_hz=EDGES_HZ,
            options=OPTIONS,
        )
    else:
        tuning = profile_none(units, edges_hz=EDGES_HZ, options=OPTIONS)
    tuning["region"] = ("unit", np.array(["PAG"] * len(unit_ids), object))
    write_dataset(tuning, folder / "tuning.nc")
    windows = (clip_start_s[:, None] / DT + 5 + np.arange(10)).astype(int)
    spectrogram = generator.random((len(clip_start_s), 12, 8)).astype(np.float16)
    clips = xr.Dataset(
        {
            "spectrogram": (("clip", "frequency", "frame"), spectrogram),
            "counts": (("clip", "unit", "bin"), counts[windows].transpose(0, 2, 1).astype(float)),
            "present": (("clip", "modality"), np.tile([True, bool(unit_ids)], (len(windows), 1))),
            **{name: ("clip", np.zeros(len(windows), np.int32)) for name in ("call", "bout")},
            "start_s": ("clip", clip_start_s),
            "split": ("clip", split.astype(object)),
        },
        coords={
            "frequency": np.linspace(40_000, 100_000, 12),
            "frame": np.arange(8) * 0.025,
            "bin": 0.05 + DT * np.arange(10),
            "unit": np.array(unit_ids, object),
        },
        attrs={"session": "a", "subject": "m1", "bin_width_s": DT, "kind": "spikes"},
    )
    write_dataset(clips, folder / "clips.nc")
    write_table(
        pd.DataFrame({"unit_id": unit_ids, "session": "a", "subject": "m1", "included": True}), folder / "units.parquet"
    )
    (folder / "sessions.tsv").write_text("session\tsubject\taudio\tnwb\na\tm1\ta.wav\ta.nwb\n")


def run(folder):
    summary = map_run(
        sheet=folder / "sessions.tsv",
        models=[],
        latents=[],
        metrics=[],
        clips=[folder / "clips.nc"],
        tunings=[folder / "tuning.nc"],
        units=[folder / "units.parquet"],
        out_dir=folder / "tables",
        max_lag_s=0.1,
        q=0.05,
        seed=0,
        **BOUNDS,
    )
    tables = {name: pd.read_parquet(folder / "tables" / f"{name}.parquet") for name in TABLES}
    for name, table in tables.items():
        assert list(table.columns) == list(TABLES[name])
        assert list(pd.read_csv(folder / "tables" / f"{name}.csv").columns) == list(TABLES[name])
    assert json.loads((folder / "tables" / "summary.json").read_text()) == summary
    return tables, summary


def test_planted_clusters_reach_the_tables(planted, tmp_path):
    write_session(tmp_path, planted.calls, planted.counts)
    tables, summary = run(tmp_path)
    bands = tables["cluster_bands"].sort_values("peak_khz")
    assert len(bands) == 2 and (bands["q"] <= 0.05).all() and (bands["p"] >= 1 / 100).all()
    for row, (low, high) in zip(bands.itertuples(), BANDS_HZ, strict=True):
        assert row.low_khz == pytest.approx(low / 1e3, abs=2) and row.high_khz == pytest.approx(high / 1e3, abs=2)
        assert row.peak_ci_low_khz <= row.peak_khz <= row.peak_ci_high_khz
        assert row.heldout_iou > 0.5
        assert row.lag_ms_median == pytest.approx(30, abs=8)
    units = tables["unit_clusters"]
    assert (units["cluster"][planted.kind >= 2] == -1).mean() >= 0.95
    assert summary["n_clusters"] == 2 and summary["primary"] is None and summary["trust"] == "ok"
    assert summary["headlines"][0].startswith("2 clusters of neurons stand for")
    curves = tables["tuning_curves"]
    assert len(curves) == 3 * 20 * len(units) and curves["tuning_z"].notna().any()


def test_traces_are_mapped_like_spikes_whatever_their_offset_and_scale(planted, tmp_path):
    generator = np.random.default_rng(5)
    traces = 0.02 * (planted.counts - 5.0) + generator.normal(0, 0.01, planted.counts.shape)
    write_session(tmp_path, planted.calls, traces, kind="traces")
    tables, _ = run(tmp_path)
    assert len(tables["cluster_bands"]) == 2
    units = tables["unit_clusters"]
    assert (units.loc[planted.kind < 2, "q_band"] <= 0.05).mean() > 0.8
    assert (units.loc[planted.kind == 3, "q_vocal"] <= 0.05).mean() < 0.2
    gain = tables["tuning_curves"].groupby("unit_id")["tuning_gain"].max()
    assert gain.between(0, 3).all()  # SDs, though means are far below 0


def test_a_session_with_nothing_to_find_says_so(planted, tmp_path):
    counts, _ = fire(planted.calls, np.random.default_rng(11), duration_s=300.0, n_units=5, gain=1.0)
    write_session(tmp_path, planted.calls, counts)
    tables, summary = run(tmp_path)
    assert not (tables["cluster_bands"]["q"] <= 0.05).any()
    assert summary["headlines"][0] == "Nothing to see: no unit prefers a frequency band at q <= 0.05."


def test_files_of_another_sheet_are_refused(planted, tmp_path):
    write_session(tmp_path, planted.calls, np.zeros((30_000, 0), int))
    (tmp_path / "sessions.tsv").write_text("session\tsubject\taudio\nother\tanna\ta.wav\n")
    with pytest.raises(InputError, match=r"sheet does not name[\s\S]*sessions\.tsv"):
        run(tmp_path)


def test_sound_without_spikes(planted, tmp_path):
    write_session(tmp_path, planted.calls, np.zeros((30_000, 0), int))
    tables, summary = run(tmp_path)
    assert all(len(table) == 0 for table in tables.values())
    assert summary["headlines"][0].startswith("Nothing to map")
    assert summary["n_units"] == 0 and summary["p_one_cluster"] is None
