"""Small runs, written as the other steps write them, for the report to read."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from synthetic_tables import (
    CLUSTER_KHZ,
    UNITS,
    comparison,
    controls,
    likelihoods,
    mapped,
    recovery,
    sensitivities,
    summary,
)

from pipeline.mapping.tables import write_tables
from pipeline.report.results import Results
from pipeline.seeds import numpy_generator
from pipeline.sessions import read_sessions
from pipeline.storage import write_dataset, write_table

HOP_S, BIN_S, LENGTH_S = 0.002, 0.01, 30.0
FREQUENCY_HZ = np.linspace(30_000, 120_000, 46)


@dataclass(frozen=True)
class Run:
    folder: Path
    sheet: Path

    @property
    def results(self) -> Results:
        return Results(
            sessions=read_sessions(self.sheet, must_exist=False),
            tables=self.folder / "tables",
            prepared=self.folder / "prepared",
            models=self.folder / "models",
            trained=[f"{family}-k8/seed{seed}" for family in ("mopoe", "mvae", "unimodal") for seed in (0, 1)],
        )

    def arguments(self) -> list[str]:
        """The command line of the step `report`."""
        return [
            "report", "--config", json.dumps({"models": {"latent_dims": [8], "seeds": [0, 1]}}),
            "--sheet", str(self.sheet), "--tables", str(self.folder / "tables"),
            "--prepared", str(self.folder / "prepared"), "--models", str(self.folder / "models"),
            "--out", str(self.folder / "report.html"), "--figures", str(self.folder / "figures"),
        ]  # fmt: skip


@pytest.fixture(scope="session")
def full_run(tmp_path_factory):
    """Two sessions with sound and spikes, three clusters, two families, simulated truth."""
    return build_run(tmp_path_factory.mktemp("full"), kind="full")


@pytest.fixture(scope="session")
def audio_run(tmp_path_factory):
    """Two sessions with sound alone."""
    return build_run(tmp_path_factory.mktemp("audio"), kind="audio")


@pytest.fixture(scope="session")
def nothing_run(tmp_path_factory):
    """Sound and spikes without any link, and a control that fails."""
    return build_run(tmp_path_factory.mktemp("nothing"), kind="nothing")


def build_run(folder: Path, *, kind: str) -> Run:
    """Write a run of `kind` full, audio or nothing into `folder`."""
    sessions = ["mouse1", "mouse2"]
    sheet = folder / "sessions.tsv"
    nwb = (lambda name: f"{name}.nwb") if kind != "audio" else (lambda name: "")
    lines = ["session\tsubject\taudio\tnwb\tcondition"]
    lines += [f"{s}\t<b>animal</b> & {s}\t{s}.wav\t{nwb(s)}\t<script>alert(1)</script>" for s in sessions]
    sheet.write_text("\n".join(lines) + "\n")
    random = numpy_generator(7, "report", kind)
    for session in sessions:
        _prepared(folder / "prepared" / session, session, kind, random)
    units = pd.concat([pd.read_parquet(folder / "prepared" / s / "units.parquet") for s in sessions])
    clusters = _unit_clusters(units, kind)
    if kind != "audio":
        _models(folder / "models", sessions, clusters, random)
    _tables(folder / "tables", units, clusters, kind, random)
    return Run(folder=folder, sheet=sheet)


def _prepared(folder: Path, session: str, kind: str, random: np.random.Generator) -> None:
    calls = _calls(random)
    time_s = np.arange(HOP_S / 2, LENGTH_S, HOP_S)
    power_db = random.normal(20, 3, (len(time_s), len(FREQUENCY_HZ)))
    for call in calls.itertuples():
        for t, hz in zip(call.contour_s, call.contour_hz, strict=True):
            power_db[int(t / HOP_S)] += 25 * np.exp(-(((FREQUENCY_HZ - hz) / 2500) ** 2))
    write_dataset(
        xr.Dataset(
            {
                "power_db": (("time", "frequency"), power_db.astype(np.float16)),
                "noise_floor_db": ("frequency", np.full(len(FREQUENCY_HZ), 20, np.float32)),
                "usable": ("time", np.ones(len(time_s), bool)),
            },
            coords={"time": time_s, "frequency": FREQUENCY_HZ},
            attrs={"hop_s": HOP_S, "duration_s": LENGTH_S},
        ),
        folder / "spectrogram.nc",
    )
    write_table(calls, folder / "calls.parquet")
    cluster_of = [] if kind == "audio" else [c for c, n in UNITS.items() for _ in range(n)]
    ids = [f"{session}|units|{row}" for row in range(len(cluster_of))]
    _counts(folder / "counts.nc", ids, cluster_of, calls, random)
    units = pd.DataFrame({
        "unit_id": ids, "session": session, "nwb_id": range(len(ids)), "region": "<i>ACC</i>",
        "n_spikes": 120, "rate_hz": 4.0, "observed_s": LENGTH_S, "n_dropped": 0, "included": True,
        "exclusion_reason": "", "subject": session,
    })  # fmt: skip
    write_table(units, folder / "units.parquet")


def _calls(random: np.random.Generator) -> pd.DataFrame:
    rows, start_s = [], 0.5
    while start_s < LENGTH_S - 1:
        duration_s = float(np.clip(random.lognormal(np.log(0.055), 0.4), 0.02, 0.12))
        seconds = np.arange(start_s, start_s + duration_s, HOP_S)
        hz = random.uniform(40e3, 100e3) + random.normal(0, 8e3) * np.sin(np.linspace(0, 3, len(seconds)))
        rows.append({
            "call": len(rows), "bout": int(start_s // 5), "start_s": start_s, "stop_s": start_s + duration_s,
            "duration_s": duration_s, "peak_hz": hz.mean(), "mean_hz": hz.mean(), "low_hz": hz.min(),
            "high_hz": hz.max(), "bandwidth_hz": np.ptp(hz), "level_db": 25.0, "entropy": 0.5, "tonality": 0.9,
            "confidence": random.uniform(5, 9), "label": "", "contour_s": seconds, "contour_hz": hz,
            "contour_db": np.full(len(hz), 25.0),
        })  # fmt: skip
        start_s += duration_s + float(random.choice([0.07, 0.1, 2.5], p=[0.45, 0.45, 0.1]))
    return pd.DataFrame(rows)


def _counts(path: Path, ids: list[str], cluster_of: list[int], calls: pd.DataFrame, random) -> None:
    n_bins = int(LENGTH_S / BIN_S)
    rate_hz = np.full((n_bins, len(ids)), 5.0)
    for call in calls.itertuples():
        for column, cluster in enumerate(cluster_of):
            low, high = CLUSTER_KHZ.get(cluster, (0, 0))
            if low - 4 < call.peak_hz / 1e3 < high + 4:
                rate_hz[int(call.start_s / BIN_S) + 3 : int(call.stop_s / BIN_S) + 5, column] = 60.0
    counts = random.poisson(rate_hz * BIN_S).astype(np.uint16)
    write_dataset(
        xr.Dataset(
            {
                "counts": (("bin", "unit"), counts),
                "valid": (("bin", "unit"), np.ones(counts.shape, bool)),
                "covered": ("bin", np.ones(n_bins, bool)),
                "clock_audio_s": ("knot", [0.0, LENGTH_S]),
                "clock_session_s": ("knot", [0.0, LENGTH_S]),
            },
            coords={"bin": np.arange(n_bins) * BIN_S, "unit": np.array(ids, dtype=object)},
            attrs={
                "bin_width_s": BIN_S,
                "kind": "spikes",
                "clock_drift_ppm": 12.3,
                "clock_residual_ms": 0.21,
                "clock_source": "pulses",
            },
        ),
        path,
    )


def _unit_clusters(units: pd.DataFrame, kind: str) -> pd.DataFrame:
    order = [c for c, n in UNITS.items() for _ in range(n)]
    cluster = np.array([order[int(unit.split("|")[-1])] if kind == "full" else -1 for unit in units["unit_id"]], int)
    middle = np.array([np.mean(CLUSTER_KHZ[c]) if c >= 0 else np.nan for c in cluster])
    return pd.DataFrame({
        "unit_id": units["unit_id"].to_numpy(), "cluster": cluster, "membership": np.where(cluster < 0, np.nan, 0.93),
        "best_khz": middle, "low_khz": middle - 5, "high_khz": middle + 5, "lag_ms": 30.0,
        "p_band": np.where(cluster < 0, 0.412345, 0.000512345), "trust": "ok",
    })  # fmt: skip


def _models(folder: Path, sessions: list[str], clusters: pd.DataFrame, random: np.random.Generator) -> None:
    unit_ids = clusters["unit_id"].tolist()
    common = {"latent_dim": 8, "split": "test", "target": "neural", "given": "audio", "metric": "bits_per_spike"}
    for family, level in (("mopoe", 0.23), ("mvae", 0.17)):
        for seed in (0, 1):
            place = folder / f"{family}-k8" / f"seed{seed}"
            write_table(_metrics(family, level, seed, sessions, unit_ids, common, random), place / "metrics.parquet")
            write_table(_history(level, random), place / "history.csv")
            write_dataset(_traversal(unit_ids, clusters["cluster"].to_numpy()), place / "traversal.nc")
            write_dataset(_examples(unit_ids, random), place / "examples.nc")
    parts = [
        _metrics(f"baseline:{name}", level, -1, sessions, unit_ids, common, random)
        for name, level in (("ridge", 0.12), ("drift_only", 0.0), ("reduced_rank", 0.14))
    ]
    write_table(pd.concat(parts), folder / "baselines" / "metrics.parquet")


def _metrics(objective, level, seed, sessions, unit_ids, common, random) -> pd.DataFrame:
    pooled = [{"session": s, "unit_id": "", "value": level + random.normal(0, 0.01), "se": 0.012} for s in sessions]
    single = [
        {"session": u.split("|")[0], "unit_id": u, "value": level + random.normal(0, 0.08), "se": 0.05}
        for u in unit_ids
    ]
    table = pd.DataFrame(pooled + single).assign(objective=objective, seed=seed, n=900, unit="bits/spike", **common)
    if objective.startswith("baseline:"):
        return table
    return pd.concat([table, sensitivities(objective, seed, sessions)], ignore_index=True)


def _history(level: float, random: np.random.Generator) -> pd.DataFrame:
    epoch = np.arange(1, 21)
    rise = 1 - np.exp(-epoch / 5)
    return pd.DataFrame({
        "epoch": epoch, "train_objective": -900 + 200 * rise, "validation_objective": -910 + 195 * rise,
        "neural_bits": level * rise + random.normal(0, 0.005, len(epoch)), "best_epoch": np.minimum(epoch, 17),
    })  # fmt: skip


def _traversal(unit_ids: list[str], clusters: np.ndarray) -> xr.Dataset:
    sd = np.linspace(-2, 2, 5)
    khz = np.linspace(30, 120, 16)
    middle = 60 + 8 * np.arange(4)[:, None] + 8 * sd  # (latent, step)
    audio_db = np.repeat(20 * np.exp(-(((khz - middle[..., None]) / 6) ** 2))[..., None], 12, axis=-1)
    gain = np.where(clusters == 1, 0.5, 0.05)[None, None, :, None] * sd[None, :, None, None]
    expected = 0.05 * np.exp(np.broadcast_to(gain, (4, 5, len(unit_ids), 10)))
    return xr.Dataset(
        {
            "audio_db": (("latent", "step", "frequency", "frame"), audio_db),
            "expected_count": (("latent", "step", "unit", "bin"), expected),
        },
        coords={
            "sd_steps": ("step", sd), "frequency": khz * 1e3, "frame": (np.arange(12) + 0.5) / 60,
            "unit": np.array(unit_ids, dtype=object), "bin": 0.05 + 0.01 * np.arange(10),
        },
        attrs={"kind": "spikes"},
    )  # fmt: skip


def _examples(unit_ids: list[str], random: np.random.Generator) -> xr.Dataset:
    givens = ["audio", "neural", "audio+neural"]
    mean = random.uniform(0.02, 0.2, len(unit_ids))
    shape, cells = (16, 12), (len(unit_ids), 10)
    return xr.Dataset(
        {
            "mean_count": ("unit", mean),
            "true_audio_db": (("clip", "frequency", "frame"), random.uniform(0, 20, (3, *shape))),
            "true_count": (("clip", "unit", "bin"), random.poisson(mean[:, None], (3, *cells)).astype(float)),
            "audio_db": (("given", "clip", "frequency", "frame"), random.uniform(0, 9, (3, 3, *shape))),
            "expected_count": (
                ("given", "clip", "unit", "bin"),
                mean[:, None] * random.uniform(0.5, 2, (3, 3, *cells)),
            ),
            "drawn_audio_db": (("draw", "frequency", "frame"), random.uniform(0, 9, (8, *shape))),
            "drawn_count": (("draw", "unit", "bin"), mean[:, None] * random.uniform(0.5, 2, (8, *cells))),
        },
        coords={
            "given": np.array(givens, dtype=object), "frequency": np.linspace(30e3, 120e3, 16),
            "frame": (np.arange(12) + 0.5) / 60, "unit": np.array(unit_ids, dtype=object),
            "bin": 0.05 + 0.01 * np.arange(10),
        },
        attrs={"kind": "spikes", "bin_width_s": 0.01},
    )  # fmt: skip


def _tables(folder: Path, units: pd.DataFrame, clusters: pd.DataFrame, kind: str, random: np.random.Generator) -> None:
    tables = {"units": units, "unit_clusters": clusters}
    if kind != "audio":
        tables["model_comparison"] = comparison()
        tables["log_likelihood"] = likelihoods()
        tables["controls"] = controls(0.04 if kind == "full" else 0.31)
    if kind == "full":
        tables |= mapped(clusters, random)
        tables["recovery"] = recovery()
    planted = tables.pop("recovery", None)
    write_tables(tables, folder)
    if planted is not None:
        write_table(planted, folder / "recovery.csv")
    (folder / "summary.json").write_text(json.dumps(summary(kind, len(units))))
