"""Covariates of a session, out of its NWB file or tables of its own, on the grid of its counts."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from warnings import warn

import numpy as np
import pandas as pd

from pipeline.covariates import Covariates
from pipeline.errors import InputError
from pipeline.listing import decoded_text
from pipeline.neural.grid import Grid
from pipeline.neural.nwb import Nwb, named_or_only, open_nwb
from pipeline.neural.resampling import resampled
from pipeline.neural.series import increasing_times, sample_times, scale_of, series_data

IN_NWB = "nwb:"
TIME = "time_s"
LEAST_COVERED = 0.9  # of a session; with less of it there is a warning
MOST = 32  # each is a dozen regressors: more would take memory and explain by chance


@dataclass(frozen=True)
class Source:
    """One entry of the sheet: covariates that share their sample times, the first and last at `start_s`, `stop_s`.

    `on_grid` gives their values in the bins of a grid: Shape (n_bins, n_covariates), float32, NaN where not known.
    """

    where: str
    names: list[str]
    unit: str
    start_s: float
    stop_s: float
    on_grid: Callable[[Grid], np.ndarray]


@contextmanager
def open_covariates(entries: Sequence[Path | str], nwb: Path | str | None) -> Iterator[list[Source]]:
    """Open what the sheet's column `covariates` names: CSV files, and series (nwb:/...) of the NWB file.

    Raises InputError for tables and series that are missing or cannot be used, where two have one name, and where there
    are more than 32.
    """
    inside = any(str(entry).startswith(IN_NWB) for entry in entries)
    with open_nwb(nwb) if inside else nullcontext() as opened:
        sources = [
            _of_nwb(opened, entry.removeprefix(IN_NWB)) if str(entry).startswith(IN_NWB) else _of_table(Path(entry))
            for entry in entries
        ]
        _check_names(sources)
        yield sources


def check_covariates(
    entries: Sequence[Path | str], nwb: Path | str | None, *, span_s: tuple[float, float] | None
) -> None:
    """Raise InputError as `open_covariates`, and where a source has no sample in `span_s`, s (None: not known); warn
    where samples begin after it or end before it, by more than a tenth of it."""
    with open_covariates(entries, nwb) as sources:
        if span_s is None:
            return
        for source in sources:
            if not (source.start_s <= span_s[1] and source.stop_s >= span_s[0]):
                raise _elsewhere("the covariates have no sample", source, span_s)
            covered = (min(source.stop_s, span_s[1]) - max(source.start_s, span_s[0])) / (span_s[1] - span_s[0])
            if covered < LEAST_COVERED:
                warn(
                    f"{source.where}: covariates cover only {covered:.0%} of the session; the tests of units use no "
                    "other time",
                    stacklevel=2,
                )


def sample_covariates(sources: Sequence[Source], grid: Grid) -> Covariates:
    """All covariates on a grid: means of samples, or straight lines between them, as for traces.

    What is not known stays so, with one warning; one that never changes is left out, with a warning. Raises
    InputError where a source has no value in the time of the grid, or no bin is left in which all are known.
    """
    span_s = grid.first_bin * grid.bin_width_s, (grid.first_bin + grid.n_bins) * grid.bin_width_s
    names, units, columns, constant = [], [], [], []
    for source in sources:
        values = source.on_grid(grid)
        for name, column in zip(source.names, values.T, strict=True):
            known = column[np.isfinite(column)]
            if not len(known):
                raise _elsewhere(f"the covariate {name!r} has no value", source, span_s)
            if known.min() == known.max():
                constant.append(f"{name} (always {known[0]:g})")
                continue
            names.append(name)
            units.append(source.unit)
            columns.append(column)
    where = "; ".join(source.where for source in sources)
    if constant:
        warn(f"{where}: covariates that never change are left out: {', '.join(constant)}", stacklevel=2)
    if not names:
        raise InputError("no covariate is left", where=where, mend="empty the sheet's column covariates")
    values = np.stack(columns, axis=1)
    missing = np.count_nonzero(~np.isfinite(values), axis=0)
    if missing.any():
        counts = ", ".join(f"{name} in {n}" for name, n in zip(names, missing, strict=True) if n)
        n_left = np.count_nonzero(np.isfinite(values).all(axis=1))
        if n_left == 0:
            raise InputError(
                "there is no bin in which all covariates are known",
                where=where,
                found=f"of {grid.n_bins} bins, missing: {counts}",
                mend="leave out those that are mostly missing",
            )
        warn(
            f"{where}: of {grid.n_bins} bins, covariates are not known: {counts}; tests use the {n_left} others",
            stacklevel=2,
        )
    return Covariates(names, units, values, grid.start_s, grid.bin_width_s)


def _elsewhere(what: str, source: Source, span_s: tuple[float, float]) -> InputError:
    return InputError(
        f"{what} in the time of the session",
        where=source.where,
        found=f"samples from {source.start_s:.6g} to {source.stop_s:.6g} s",
        allowed=f"{span_s[0]:.6g} to {span_s[1]:.6g} s, on the clock of the NWB file",
        mend="are its times session seconds? else delete the entry from the sheet",
    )


def _of_nwb(nwb: Nwb, chosen: str) -> Source:
    paths = [path for path, group in nwb.groups() if "data" in group]
    path = named_or_only(nwb, chosen, paths, what="series", key="covariates")
    group, where = nwb.root[path], f"{nwb.where}, {path}"
    data = series_data(group, where=where)
    n_samples, n_columns = len(data), 1 if data.ndim == 1 else data.shape[1]
    times_s = sample_times(group, n_samples, where=where)
    scale = scale_of(group, n_columns, where=where)

    def read(first: int, stop: int) -> np.ndarray:
        return scale(data[first:stop].reshape(stop - first, n_columns))

    name = path.rsplit("/", 1)[-1]
    names = [name] if n_columns == 1 else [f"{name}_{column}" for column in range(n_columns)]
    return _source(where, names, scale.unit, times_s, read)


def _of_table(path: Path) -> Source:
    text = decoded_text(path, what="the covariates")
    header = text.split("\n", 1)[0]
    separator = next((mark for mark in "\t;" if mark in header), ",")
    try:
        table = pd.read_csv(io.StringIO(text), sep=separator, skipinitialspace=True, index_col=False)
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError("the covariates are no table", where=path, found=error, mend="a header, then rows") from error
    table.columns = [str(name).strip() for name in table.columns]
    if TIME not in table or len(table.columns) < 2 or not len(table):
        raise InputError(
            f"the covariates need a column {TIME}, others beside it, and rows",
            where=path,
            found=f"{', '.join(table.columns)}; {len(table)} rows",
            mend=f"{TIME}: seconds on the clock of the NWB file",
        )
    numbers = table.apply(pd.to_numeric, errors="coerce")
    wrong = np.argwhere((numbers.isna() & table.notna()).to_numpy())
    if len(wrong):
        row, column = wrong[0]
        raise InputError(
            f"covariates: {table.columns[column]!r} holds what is no number",
            where=f"{path}, line {row + 2}",
            found=table.iat[row, column],
            mend="decimals take a . and empty cells are missing; delete columns of text",
        )
    times_s = increasing_times(numbers.pop(TIME).to_numpy(float), where=f"{path}, {TIME}")
    values = numbers.to_numpy(float)
    return _source(str(path), list(numbers.columns), "", times_s, lambda first, stop: values[first:stop])


def _source(where: str, names: list[str], unit: str, times_s: np.ndarray, read) -> Source:
    finite_s = times_s[np.isfinite(times_s)]
    if not len(finite_s):
        raise InputError("the covariates have no times", where=where, found=f"{len(times_s)} samples")
    return Source(
        where=where,
        names=names,
        unit=unit,
        start_s=float(finite_s.min()),
        stop_s=float(finite_s.max()),
        on_grid=lambda grid: resampled(read, times_s, n_channels=len(names), grid=grid),
    )


def _check_names(sources: list[Source]) -> None:
    n_covariates = sum(len(source.names) for source in sources)
    if n_covariates > MOST:
        raise InputError(
            "too many covariates",
            where="; ".join(source.where for source in sources),
            found=n_covariates,
            allowed=f"up to {MOST}",
            mend="choose some, or give a few principal components in a CSV",
        )
    places: dict[str, str] = {}
    for source in sources:
        for name in source.names:
            if name in places:
                raise InputError(
                    f"two covariates are called {name!r}",
                    where=f"{places[name]}; {source.where}",
                    mend="rename a column, or leave one of them out",
                )
            places[name] = source.where
