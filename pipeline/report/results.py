"""What the report reads: the results of a run, each file once and only when asked for."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.errors import InputError
from pipeline.sessions import Session
from pipeline.storage import read_dataset, read_table


class NoData(Exception):
    """A figure has nothing to show; the message says why, for the reader of the report."""


@dataclass(frozen=True)
class Results:
    """The files of a run.

    `tables` is the folder of the CSV and Parquet tables, `prepared` that of the sessions, `models` that of the models;
    `trained` names the models of this run in it (`mopoe-k32/seed0`), since others may be left from earlier ones.
    A file that is absent stands for data that the run does not have (audio only, no truth): empty tables, None.
    """

    sessions: list[Session]
    tables: Path
    prepared: Path
    models: Path
    trained: list[str]

    @cached_property
    def summary(self) -> dict:
        """`summary.json`: the primary model, counts, trust and the headline sentences; empty where no map was made."""
        path = self.tables / "summary.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise InputError("not valid JSON", where=path, found=error, mend="run `duet map` again") from error

    @cached_property
    def table_names(self) -> list[str]:
        """Names of the tables that exist, sorted."""
        return sorted({path.stem for path in self.tables.glob("*.*") if path.suffix in (".parquet", ".csv")})

    def table(self, name: str) -> pd.DataFrame:
        """The table `name`; empty and without columns where there is none."""
        if name not in self._tables:
            self._tables[name] = _read(self.tables / f"{name}.parquet", self.tables / f"{name}.csv")
        return self._tables[name]

    @cached_property
    def _tables(self) -> dict[str, pd.DataFrame]:
        return {}

    @cached_property
    def _calls(self) -> dict[str, pd.DataFrame]:
        return {s.name: _read(self.prepared / s.name / "calls.parquet") for s in self.sessions}

    def calls(self, session: str) -> pd.DataFrame:
        """Calls of one session, audio clock."""
        return self._calls[session]

    @cached_property
    def _units(self) -> dict[str, pd.DataFrame]:
        return {s.name: _read(self.prepared / s.name / "units.parquet") for s in self.sessions}

    def units(self, session: str) -> pd.DataFrame:
        """All units of one session, included or not."""
        return self._units[session]

    def counts(self, session: str) -> xr.Dataset | None:
        """Binned counts of one session, opened lazily; None where there are none."""
        return _open(self.prepared / session / "counts.nc")

    def spectrogram(self, session: str) -> xr.Dataset | None:
        """Spectrogram of one session, opened lazily; None where the session has no sound."""
        dataset = _open(self.prepared / session / "spectrogram.nc")
        return dataset if dataset is not None and dataset.sizes["time"] else None

    @cached_property
    def clusters(self) -> pd.DataFrame:
        """unit_id, cluster (-1: none), best_khz of all units that were mapped, sorted as in every figure."""
        table = self.table("unit_clusters")
        if table.empty:
            return pd.DataFrame({"unit_id": pd.Series(dtype=str), "cluster": pd.Series(dtype=int), "best_khz": []})
        table = table.assign(_last=table["cluster"] < 0)
        keys = ["_last", "cluster", *(["best_khz"] if "best_khz" in table else []), "unit_id"]
        return table.sort_values(keys, kind="stable").drop(columns="_last").reset_index(drop=True)

    @cached_property
    def cluster_ids(self) -> list[int]:
        """The clusters that were found, without -1."""
        return sorted({int(c) for c in self.clusters["cluster"] if c >= 0})

    def sorted_units(self, unit_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Positions that sort `unit_ids` as in every figure (by cluster, the rest last), and their clusters so sorted.

        Both have Shape (n_units,).
        """
        rank = {unit: i for i, unit in enumerate(self.clusters["unit_id"])}
        cluster = dict(zip(self.clusters["unit_id"], self.clusters["cluster"], strict=True))
        order = sorted(range(len(unit_ids)), key=lambda i: rank.get(unit_ids[i], len(rank)))
        return np.array(order, int), np.array([cluster.get(unit_ids[i], -1) for i in order], int)

    @cached_property
    def history(self) -> pd.DataFrame:
        """Training histories of all models, with columns family, latent_dim, seed in front."""
        return self._gather("history.csv")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Metrics of all models and baselines, one below the other."""
        parts = [_read(self.models / name / "metrics.parquet") for name in [*self.trained, "baselines"]]
        parts = [part for part in parts if len(part)]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    @cached_property
    def primary(self) -> dict | None:
        """family, latent_dim and seeds of the primary model; None where the run has none."""
        primary = self.summary.get("primary")
        return primary if primary and primary.get("family") else None

    @property
    def traversal(self) -> xr.Dataset | None:
        """Latent traversal of the first seed of the primary model."""
        return self._of_primary("traversal.nc")

    @property
    def examples(self) -> xr.Dataset | None:
        """Example clips and joint draws of the first seed of the primary model."""
        return self._of_primary("examples.nc")

    def _of_primary(self, file: str) -> xr.Dataset | None:
        if self.primary is None:
            return None
        folder = self.models / f"{self.primary['family']}-k{self.primary['latent_dim']}"
        return next((_open(folder / f"seed{seed}" / file) for seed in self.primary["seeds"]), None)

    def _gather(self, file: str) -> pd.DataFrame:
        parts = []
        for name in self.trained:
            family, latent_dim, seed = re.fullmatch(r"(.+)-k(\d+)/seed(\d+)", name).groups()
            part = _read(self.models / name / file)
            if len(part):
                parts.append(part.assign(family=family, latent_dim=int(latent_dim), seed=int(seed)))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _read(*paths: Path) -> pd.DataFrame:
    """The first of `paths` that exists and is not empty of columns."""
    for path in paths:
        if path.is_file() and path.stat().st_size > 1:
            return read_table(path)
    return pd.DataFrame()


def _open(path: Path) -> xr.Dataset | None:
    return read_dataset(path) if path.is_file() else None
