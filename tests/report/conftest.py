"""Small runs, written as the other steps write them, for the report to read."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipeline.mapping.tables import write_tables
from pipeline.report.results import Results
from pipeline.seeds import numpy_generator
from pipeline.sessions import read_sessions
from pipeline.storage import write_dataset, write_table

HOP_S, BIN_S, LENGTH_S = 0.002, 0.01, 30.0
FREQUENCY_HZ = np.linspace(30_000, 120_000, 46)
CLUSTER_KHZ = {0: (45, 55), 1: (62, 71), 2: (85, 95)}
UNITS = {0: 4, 1: 3, 2: 5, -1: 6}  # units of each cluster in a session
BAND_KHZ = np.arange(30, 120, 6.0)


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
        )

    def arguments(self) -> list[str]:
        """The command line of the step `report`."""
        return [
            "report", "--sheet", str(self.sheet), "--tables", str(self.folder / "tables"),
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
            attrs={"bin_width_s": BIN_S, "clock_drift_ppm": 12.3, "clock_residual_ms": 0.21, "clock_source": "pulses"},
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
    return pd.DataFrame(pooled + single).assign(objective=objective, seed=seed, n=900, unit="bits/spike", **common)


def _history(level: float, random: np.random.Generator) -> pd.DataFrame:
    epoch = np.arange(20)
    rise = 1 - np.exp(-epoch / 5)
    return pd.DataFrame({
        "epoch": epoch, "train_objective": -900 + 200 * rise, "validation_objective": -910 + 195 * rise,
        "bits_per_spike": level * rise + random.normal(0, 0.005, len(epoch)),
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
    )  # fmt: skip


def _tables(folder: Path, units: pd.DataFrame, clusters: pd.DataFrame, kind: str, random: np.random.Generator) -> None:
    tables = {"units": units, "unit_clusters": clusters}
    if kind != "audio":
        tables["model_comparison"] = _comparison()
    if kind == "full":
        tables |= _mapped(clusters, random)
        tables["recovery"] = pd.DataFrame({
            "metric": ["tuned_units_detected", "false_discoveries", "cluster_ari"],
            "value": [0.8512345, 0.02, 1.0], "n": [24, 23, 24],
        })  # fmt: skip
    recovery = tables.pop("recovery", None)
    write_tables(tables, folder)
    if recovery is not None:
        write_table(recovery, folder / "recovery.csv")
    (folder / "summary.json").write_text(json.dumps(_summary(kind, len(units))))


def _mapped(clusters: pd.DataFrame, random: np.random.Generator) -> dict[str, pd.DataFrame]:
    rows, curves = [], []
    for unit in clusters.itertuples():
        low, high = CLUSTER_KHZ.get(unit.cluster, (0, 1))
        strength = np.exp(-(((BAND_KHZ + 3 - (low + high) / 2) / 7) ** 2)) * (unit.cluster >= 0)
        noise = random.normal(0, 0.08, (3, len(BAND_KHZ)))
        for band, khz in enumerate(BAND_KHZ):
            place = {"unit_id": unit.unit_id, "band_low_khz": khz, "band_high_khz": khz + 6}
            rows.append({**place, "coupling_db_log_rate": strength[band] + noise[0, band], "q": 0.01})
            for i, part in enumerate("AB", 1):
                gain = 0.8 * strength[band] + noise[i, band]
                curves.append({**place, "part": part, "tuning_z": 6 * gain, "tuning_gain": gain})
    bands = pd.DataFrame([
        {
            "cluster": c, "n_units": 2 * UNITS[c], "n_sessions": 2, "n_animals": 2, "regions": "ACC",
            "peak_khz": (low + high) / 2, "low_khz": low + 0.123456, "high_khz": high, "fwhm_khz": high - low,
            "low_ci_low_khz": low - 1.5, "low_ci_high_khz": low + 1.2, "high_ci_low_khz": high - 1.0,
            "high_ci_high_khz": high + 2.0, "lag_ms_median": 30.0, "heldout_iou": 0.8, "q": 0.0123456, "trust": "ok",
        }
        for c, (low, high) in CLUSTER_KHZ.items()
    ])  # fmt: skip
    latents = pd.DataFrame({
        "objective": "mopoe", "latent_dim": 8, "latent": range(4), "kl_nat": [0.4, 2.1, 1.2, 0.01],
        "active": [True, True, True, False], "stability_r": [0.9, 0.85, 0.4, 0.1], "reported_as": "dimension",
    })  # fmt: skip
    return {
        "coupling": pd.DataFrame(rows),
        "tuning_curves": pd.DataFrame(curves),
        "cluster_bands": bands,
        "latents": latents,
    }


def _comparison() -> pd.DataFrame:
    rows = [
        {"objective": family, "latent_dim": 8, "seed": seed, "value": value + 0.004 * seed}
        for family, value in (("mopoe", 0.23), ("mvae", 0.17))
        for seed in (-1, 0, 1)
    ]
    baselines = {"baseline:ridge": 0.12, "baseline:drift_only": 0.0, "baseline:reduced_rank": 0.14}
    rows += [{"objective": name, "latent_dim": 0, "seed": -1, "value": value} for name, value in baselines.items()]
    return pd.DataFrame(rows).assign(
        split="test", target="neural", given="audio", metric="bits_per_spike", se=0.012, n=400, unit="bits/spike"
    )


def _summary(kind: str, n_units: int) -> dict:
    counts = {"n_sessions": 2, "n_animals": 2, "n_units": n_units, "n_units_included": n_units, "q": 0.05}
    if kind == "audio":
        empty = {"primary": None, "best_baseline": None, "n_clusters": 0, "trust": "ok", "controls": [], "notes": []}
        return {**counts, **empty, "headlines": ["Nothing to see: no session has both sound and spikes."]}
    full = kind == "full"
    found = 24 if full else 1
    control = {"level": "band", "n": 72, "nominal": 0.05}
    fraction = 0.04 if full else 0.31
    return {
        **counts, "n_units_vocal": found + 6, "n_units_band": found, "n_units_assigned": found if full else 0,
        "n_clusters": 3 if full else 0, "p_one_cluster": 0.005 if full else None,
        "primary": {"family": "mopoe", "latent_dim": 8, "seeds": [0, 1], "reason": "best on the validation blocks",
                    "validation_bits_per_spike": 0.24, "test_bits_per_spike": 0.23, "test_se": 0.012},
        "best_baseline": {"objective": "baseline:reduced_rank", "test_bits_per_spike": 0.14, "delta": 0.09,
                          "delta_se": 0.01, "delta_low": 0.07, "delta_high": 0.11},
        "beats_baseline": True, "trust": "ok" if full else "low",
        "trust_reasons": [] if full else ["neural_shifted: 31 % of tests significant <em>"],
        "controls": [{"control": "neural_shifted", "fraction": fraction, "trust": "ok" if full else "low", **control},
                     {"control": "time_reversed", "fraction": 0.05, "trust": "ok", **control},
                     {"control": "time_reversed", "fraction": 0.03, "trust": "ok", **control, "level": "vocal"}],
        "headlines": ["3 clusters of neurons stand for frequency bands: 45–55, 62–71 & 85–95 kHz.",
                      "The model predicts spikes from sound better than the best baseline <reduced rank>."]
        if full else ["Nothing to see: no unit is tuned to a band of frequencies."],
        "notes": ["Null: contours swapped within bouts; Benjamini-Hochberg over all units at 0.05."],
    }  # fmt: skip
