"""The whole workflow, from a sheet to the report, on one simulated minute."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from pipeline.mapping.tables import TABLES

REPOSITORY = Path(__file__).resolve().parents[1]
SHEET = "session\tsubject\taudio\tnwb\tsync\nmouse1\tm1\tdemo/mouse1.wav\tdemo/mouse1.nwb\tdemo/mouse1_sync.csv\n"
TINY = {
    "sessions": "sessions.tsv",
    "simulation": {
        "out_dir": "demo",
        "n_sessions": 1,
        "duration_s": 60,
        "gain": 8,
        "units_per_band": 3,
        "n_vocal": 2,
        "n_unrelated": 3,
    },
    "clips": {"split": {"n_blocks": 5, "guard_s": 0.5}},
    "models": {"families": ["mvae"], "latent_dims": [4], "seeds": [0, 1], "hidden": 32},
    "training": {"max_epochs": 3},
    "evaluation": {"n_samples": 4},
    "mapping": {
        "n_surrogates": 19,
        "n_surrogates_fine": 19,
        "n_bootstrap": 50,
        "n_consensus": 20,
        "max_clusters": 4,
    },
}
PREPARED = ("spectrogram.nc", "calls.parquet", "counts.nc", "units.parquet", "clips.nc", "tuning.nc")
OF_A_MODEL = ("model.pt", "history.csv", "latents.parquet", "metrics.parquet", "traversal.nc", "examples.nc")


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--directory", str(folder), "--configfile", str(folder / "tiny.yaml"), "--cores", "2", *arguments]
    # a run must not depend on where it is called from, nor on an installed package
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd="/", env=outside, capture_output=True, text=True)


def write_inputs(folder: Path, **changes) -> None:
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | changes))
    (folder / "sessions.tsv").write_text(SHEET)


def rules_to_run(result: subprocess.CompletedProcess) -> dict[str, int]:
    """Jobs of a dry run, by rule."""
    table = result.stdout.split("Job stats:")[-1].split("total")[0] if "Job stats:" in result.stdout else ""
    return {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", table, re.MULTILINE)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workflow")
    write_inputs(folder)
    result = snakemake(folder)
    assert result.returncode == 0, result.stderr[-8000:]
    return folder, result


@pytest.fixture(scope="module")
def results(finished):
    return finished[0] / "results"


def test_every_declared_file_is_there(results):
    expected = [results / "prepared" / "mouse1" / name for name in PREPARED]
    expected += [results / "models" / "mvae-k4" / f"seed{seed}" / name for seed in (0, 1) for name in OF_A_MODEL]
    expected += [results / "tables" / f"{table}.{suffix}" for table in TABLES for suffix in ("csv", "parquet")]
    expected += [results / name for name in ("check.tsv", "report.html", "tables/summary.json", "tables/recovery.csv")]
    assert [str(path) for path in expected if not path.is_file() or not path.stat().st_size] == []
    figures = {path.stem: path for path in (results / "figures").iterdir() if path.suffix == ".svg"}
    assert {"coupling", "tuning", "example"} <= set(figures)
    assert all(path.with_suffix(".png").is_file() for path in figures.values())


def test_nothing_is_written_outside_results_but_the_simulation(finished):
    folder, _ = finished
    allowed = {"results", "demo", "tiny.yaml", "sessions.tsv", ".snakemake"}
    assert {path.name for path in folder.iterdir()} == allowed
    partial = [path for path in (folder / "results").rglob(".*") if path.is_file()]
    assert [path.name for path in partial if path.name != ".snakemake_timestamp"] == []


def test_the_screen_shows_progress_and_no_warnings(finished):
    _, result = finished
    assert "100%" in result.stderr
    assert "warning" not in (result.stdout + result.stderr).lower()


def test_each_job_leaves_a_log_and_a_benchmark(results):
    logs = {path.relative_to(results / "logs").with_suffix("") for path in (results / "logs").rglob("*.log")}
    measured = {
        path.relative_to(results / "benchmarks").with_suffix("") for path in results.glob("benchmarks/**/*.tsv")
    }
    assert logs == measured
    assert {"check", "map", "report", "spectrogram/mouse1", "train/mvae-k4-seed0"} <= {str(path) for path in logs}


@pytest.mark.parametrize("table", TABLES)
def test_tables_have_only_columns_that_the_dictionary_explains(results, table):
    parquet = pd.read_parquet(results / "tables" / f"{table}.parquet")
    assert len(parquet.columns) and set(parquet.columns) <= set(TABLES[table])
    assert list(pd.read_csv(results / "tables" / f"{table}.csv").columns) == list(parquet.columns)


def test_arrays_have_the_dimensions_that_the_design_names(results):
    dimensions = {
        "spectrogram.nc": {"power_db": ("time", "frequency")},
        "counts.nc": {"counts": ("bin", "unit"), "valid": ("bin", "unit")},
        "clips.nc": {"spectrogram": ("clip", "frequency", "frame"), "counts": ("clip", "unit", "bin")},
    }
    for name, variables in dimensions.items():
        with xr.open_dataset(results / "prepared" / "mouse1" / name, engine="h5netcdf") as dataset:
            for variable, expected in variables.items():
                assert dataset[variable].dims == expected
    with xr.open_dataset(results / "models" / "mvae-k4" / "seed0" / "examples.nc", engine="h5netcdf") as examples:
        assert examples["audio_db"].dims == ("given", "clip", "frequency", "frame")
        assert examples["drawn_count"].dims == ("draw", "unit", "bin") and examples.sizes["draw"] > 0
    with xr.open_dataset(results / "prepared" / "mouse1" / "clips.nc", engine="h5netcdf") as clips:
        assert {"train", "validation", "test"} <= set(clips["split"].values)


def test_spikes_and_sound_share_a_clock(finished):
    """Planted units fire more during calls than between them, which a wrong clock (offset of seconds) would undo."""
    folder, _ = finished
    prepared = folder / "results" / "prepared" / "mouse1"
    truth = json.loads((folder / "demo" / "truth.json").read_text())["sessions"]["mouse1"]
    vocal = [unit for unit, planted in truth["units"].items() if planted["kind"] == "vocal"]
    calls = pd.DataFrame(truth["calls"])
    with xr.open_dataset(prepared / "counts.nc", engine="h5netcdf") as counts:
        covered = counts["covered"].values.astype(bool)
        middle_s = counts["bin"].values[covered] + counts.attrs["bin_width_s"] / 2
        audio_s = np.interp(middle_s, counts["clock_session_s"].values, counts["clock_audio_s"].values)
        spikes = counts["counts"].sel(unit=vocal).values[covered].sum(1)
    during = np.zeros(len(spikes), bool)
    for start_s, stop_s in zip(calls["start_s"], calls["stop_s"], strict=True):
        during |= (audio_s >= start_s) & (audio_s < stop_s)
    assert spikes[during].mean() > 2 * spikes[~during].mean()


def test_latents_cover_every_way_of_being_given(results):
    latents = pd.read_parquet(results / "models" / "mvae-k4" / "seed0" / "latents.parquet")
    assert {"session", "clip", "split", "given", "z0", "z3"} <= set(latents.columns)
    assert set(latents["given"]) == {"audio", "neural", "audio+neural"}
    assert np.isfinite(latents[["z0", "z1", "z2", "z3"]]).all(axis=None)


def test_a_second_run_does_nothing(finished):
    folder, _ = finished
    result = snakemake(folder)
    assert result.returncode == 0
    assert "Nothing to be done" in result.stdout + result.stderr


@pytest.mark.parametrize(
    "section, change, again, kept",
    [
        ("training", {"learning_rate": 0.004}, {"train": 2, "embed": 2, "map": 1}, {"spectrogram", "clips", "tune"}),
        ("neural", {"bin_width_s": 0.02}, {"bin": 1, "clips": 1, "train": 2}, {"simulate", "spectrogram", "calls"}),
        ("audio", {"hop_s": 0.002}, {"spectrogram": 1, "calls": 1, "train": 2}, {"simulate"}),
    ],
)
def test_a_changed_setting_redoes_what_depends_on_it(finished, section, change, again, kept):
    folder, _ = finished
    write_inputs(folder, **{section: TINY.get(section, {}) | change})
    try:
        planned = rules_to_run(snakemake(folder, "--dry-run"))
    finally:
        write_inputs(folder)
    assert again.items() <= planned.items()
    assert not kept & set(planned)


def test_the_archive_of_the_report_is_made_offline(finished):
    folder, _ = finished
    result = snakemake(folder, "--report", "results/report.zip")
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(folder / "results" / "report.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {"report.html", "cluster_bands.csv", "coupling.svg"} <= names


def test_a_bad_sheet_gives_one_message_and_starts_nothing(tmp_path):
    write_inputs(tmp_path)
    (tmp_path / "sessions.tsv").write_text("session\tsubject\taudio\tnwb\nm1\tm1\tnone.wav\t\nm2\tm2\t\tnone.nwb\n")
    result = snakemake(tmp_path)
    assert result.returncode != 0
    assert "audio: no such file" in result.stderr and "nwb: no such file" in result.stderr
    assert "Traceback" not in result.stderr and 'File "' not in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_bad_config_gives_one_message_and_starts_nothing(tmp_path):
    write_inputs(tmp_path, trainnig={"max_epochs": 3})
    result = snakemake(tmp_path)
    assert result.returncode != 0
    assert "unknown key 'trainnig'" in result.stderr and "nearest: training" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_recording_that_is_none_stops_at_the_check(tmp_path):
    write_inputs(tmp_path)
    (tmp_path / "broken.wav").write_bytes(b"RIFFnothing")
    (tmp_path / "sessions.tsv").write_text("session\tsubject\taudio\nm1\tm1\tbroken.wav\n")
    result = snakemake(tmp_path)
    assert result.returncode != 0
    assert "broken.wav" in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "results" / "prepared").exists() and not (tmp_path / "results" / "check.tsv").exists()
