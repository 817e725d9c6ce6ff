"""The profile of a session whose sounds are no calls: played back, or continuous (tuning.nc)."""

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.mapping import playback, pseudosessions
from pipeline.mapping.controls import BAND_EVERY, control_shifts
from pipeline.mapping.nulls import without_drift
from pipeline.mapping.profile import LAG_STEP_S, session_modulation, unlinked_p, unlinked_sides
from pipeline.mapping.tuning import Selectivity
from pipeline.mapping.tuning_file import Counts, Curves, Options, tuning_dataset, untested_dataset
from pipeline.mapping.vocal import SLOWEST_S

UNITS_AT_ONCE = 16  # bounds memory: some thirty times n_bins x UNITS_AT_ONCE x 8 bytes


def profile_playback(
    units: Counts,
    power_db: np.ndarray,
    *,
    clip_start_s,
    clip_split,
    clip_duration_s,
    edges_hz: np.ndarray,
    options: Options,
    presented: pd.DataFrame | None = None,
) -> xr.Dataset:
    """The same for sounds that are no calls, from `power_db` (n_bins, n_bands; NaN: no sound).

    `presented`: start_s, stop_s (session s) and label of an experimenter's presentations; the null is then another
    order of them.
    """
    dt = units.bin_width_s
    sound = playback.sound_side(power_db, bin_width_s=dt)
    modulation = session_modulation(units, sound.loudness, options, n_surrogates=options.n_surrogates_fine)
    controlled = {"vocal": {}, "band": {}}
    if not units.unit_ids or not sound.heard.any():
        return untested_dataset(
            units, modulation, controlled, edges_hz=edges_hz, options=options, n_calls=0, method="playback"
        )
    role = np.select([clip_split == "train", np.isin(clip_split, ["validation", "test"])], [0, 1], 2)
    part = _part_of_bins(units.start_s, clip_start_s, role, clip_duration_s=clip_duration_s)
    lags = options.lags(dt, step_s=LAG_STEP_S)
    shared = {"lags": lags, "bin_width_s": dt}
    slots, method, why = None, "playback", ""
    if presented is not None:
        times = (presented[name].to_numpy(float) for name in ("start_s", "stop_s"))
        labels = presented["label"].to_numpy(str)
        slots, why = pseudosessions.find_slots(*times, labels, part=part, begin_s=units.start_s[0], bin_width_s=dt)
        if slots:
            method = "presentations"
        else:
            warnings.warn(
                f"session {options.session}: presentations cannot change places ({why}); units are tested against "
                "shifts of the recording instead",
                stacklevel=2,
            )
            why = f"; no other order of the presentations: {why}"
    if slots:
        generator = options.generator("presentations")
        stages = {"orders": options.n_surrogates, "orders_fine": options.n_surrogates_fine}
        orders = {name: slots.orders(n, generator) for name, n in stages.items()}
    found, responses = [], []
    for firing in _firing(units):
        if slots:
            one = pseudosessions.presented_selectivity(sound, firing, slots, part, lags=lags, **orders)
        else:
            one = playback.playback_selectivity(sound, firing, part, **shared)
        sums = [playback.block_sums(sound, firing, lag=lag, bin_width_s=dt) for lag in (one.lag_a, one.lag)]
        found.append(one)
        responses.append(sums)
    # Sessions mostly share what is played back: another session's sound is no control.
    shifts = control_shifts(len(part), bin_width_s=dt)
    for name, side in unlinked_sides(units).items():
        p_values = {"vocal": [], "band": []}
        for draw, shift in enumerate(shifts):
            late, later = side.at(slice(len(part) - shift)), playback.sound_side(power_db[shift:], bin_width_s=dt)
            p_values["vocal"].append(unlinked_p(late, later.loudness, options))
            if slots or draw % BAND_EVERY == 0:  # other orders cost little
                if slots:
                    moved = slots.moved(shift, len(later.bands))
                    others = moved.orders(options.n_surrogates, options.generator("presentations", name, shift))
                parts = [
                    pseudosessions.presented_p(later, firing, moved, lags=lags, orders=others)
                    if slots
                    else playback.playback_p(later, firing, **shared)
                    for firing in _firing(late)
                ]
                p_values["band"].append(np.concatenate(parts))
        for level, draws in p_values.items():
            controlled[level][name] = draws
    starts = playback.block_starts(len(part), bin_width_s=dt)
    size = np.diff(np.append(starts, len(part)))
    heard = np.add.reduceat(sound.heard, starts, dtype=float)
    seen = np.add.reduceat(units.valid & sound.heard[:, None], starts, dtype=float) / np.maximum(heard, 1)[:, None]
    gram = heard[:, None, None] * np.eye(len(edges_hz))  # each band by itself: bands have unit variance
    curves = [
        Curves(np.pad(np.concatenate(parts, axis=1), ((0, 0), (0, 0), (0, 1))), gram, seen, units.scale(units.mean))
        for parts in zip(*responses, strict=True)
    ]
    middle = np.minimum(starts + size // 2, len(part) - 1)
    spans = pd.DataFrame(
        {"bout": np.arange(len(starts)), "start_s": units.start_s[starts], "stop_s": units.start_s[starts] + size * dt}
    ).assign(part=part[middle])
    tested = np.ones(len(edges_hz) - 1, bool)
    tuning = tuning_dataset(
        units,
        modulation=modulation,
        found=Selectivity.joined(found),
        curves=tuple(curves),
        controlled=controlled,
        spans=spans,
        tested=tested,
        edges_hz=edges_hz,
        options=options,
        n_calls=0,
        method=method,
    )
    tuning.attrs["null_band"] += why
    return tuning


def _firing(units: Counts) -> Iterator[np.ndarray]:
    """Counts without drift, (n_bins, some units)."""
    without = units.regressors.removed if units.regressors else without_drift
    for begin in range(0, len(units.unit_ids), UNITS_AT_ONCE):
        some = slice(begin, begin + UNITS_AT_ONCE)
        yield without(
            units.counts[:, some],
            units.valid[:, some],
            bin_width_s=units.bin_width_s,
            shortest_period_s=SLOWEST_S,
        )


def _part_of_bins(bin_start_s, clip_start_s, role, *, clip_duration_s: float) -> np.ndarray:
    """Role of the last clip that has begun and covers each bin, 2 where none does."""
    if not len(role):
        return np.full(len(bin_start_s), 2)
    order = np.argsort(clip_start_s, kind="stable")
    last = np.searchsorted(clip_start_s[order], bin_start_s, side="right") - 1
    covers = (last >= 0) & (bin_start_s < clip_start_s[order][last] + clip_duration_s)
    return np.where(covers, role[order][last], 2)
