"""Everything that one session says about its units without a model, as labelled arrays (tuning.nc)."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr
from scipy.ndimage import maximum_filter1d

from pipeline.mapping import playback, pseudosessions
from pipeline.mapping.controls import BAND_EVERY, control_shifts
from pipeline.mapping.nulls import without_drift
from pipeline.mapping.responses import CallBins, Nuisance, locate_calls, smoothed
from pipeline.mapping.tuning import MIN_SOUND_S, Selectivity, band_p, band_selectivity, bout_parts, bout_sums
from pipeline.mapping.tuning_file import Counts, Curves, Options, tuning_dataset, untested_dataset
from pipeline.mapping.vocal import SLOWEST_S, Modulation, sounding_bins, vocal_modulation

SMOOTHING_SD_S = 0.02
PLAYBACK_UNITS_AT_ONCE = 16  # bounds memory: some thirty times n_bins x PLAYBACK_UNITS_AT_ONCE x 8 bytes
LAG_STEP_S = 0.02  # responses are smoothed by as much: finer lags would only repeat each other


def profile_calls(
    units: Counts,
    calls: pd.DataFrame,
    *,
    to_session,
    clip_start_s,
    clip_split,
    edges_hz: np.ndarray,
    options: Options,
    other: pd.DataFrame | None = None,
) -> xr.Dataset:
    """Vocal modulation and band selectivity for a session with calls; the layout is that of `tuning_dataset`.

    `other`: calls of another session, to which these units cannot have listened; they are moved to begin with the
    session's own.
    """
    dt = units.bin_width_s
    located, envelope = _placed(units, calls, to_session)
    modulation = _modulation(units, envelope, options, n_surrogates=options.n_surrogates_fine)
    shifts = control_shifts(len(envelope), bin_width_s=dt)
    # what cannot be linked: the neural side, the calls on its grid, and by how many bins it is late
    pairs = {name: (side, located, envelope, shifts) for name, side in _sides(units).items()}
    if other is not None and len(other):
        song = _placed(units, _beginning_with(calls, other), to_session)
        pairs["other_session"] = (units, *song, np.append(0, shifts[1:]))
    controlled = {"vocal": {}, "band": {}}
    for name, (side, _, sounding, late) in pairs.items():
        controlled["vocal"][name] = [_vocal_p(side, sounding[shift:], options) for shift in late]
    if len(located.bin) == 0 or not units.unit_ids:
        return untested_dataset(
            units,
            modulation,
            controlled,
            edges_hz=edges_hz,
            options=options,
            n_calls=len(calls),
            method="calls",
        )
    part = bout_parts(located, clip_start_s, clip_split)
    lags = options.lags(dt, step_s=LAG_STEP_S)
    margin = int((options.max_lag_s + 4 * SMOOTHING_SD_S) / dt) + 1
    near, located = _near(located, len(envelope), margin=margin)
    nuisance = Nuisance(located)

    def test(tester, bins, *names, side=units, song=located, nuisance=nuisance, **more):
        inside = (bins >= 0)[:, None]
        rates, enough = smoothed(side.counts[bins], side.valid[bins] & inside, sd_bins=SMOOTHING_SD_S / dt)
        return tester(
            song,
            rates,
            enough,
            nuisance=nuisance,
            edges_hz=edges_hz,
            lags=lags,
            bin_width_s=dt,
            n_surrogates=options.n_surrogates,
            generator=options.generator("contours", *names),
            regressors=side.regressors.design[bins] if side.regressors else None,
            **more,
        )

    found = test(band_selectivity, near, part=part, n_surrogates_fine=options.n_surrogates_fine)
    counts, valid = units.counts[near], units.valid[near]
    regressors = units.regressors.design[near] if units.regressors else None
    curves = []
    for lag in (found.lag_a, found.lag):
        whole_lag = np.rint(lag).astype(int)
        response, gram, mean_count = bout_sums(
            located, counts, valid, nuisance=nuisance, edges_hz=edges_hz, lag=whole_lag, regressors=regressors
        )
        curves.append(Curves(response, gram, units.scale(mean_count)))
    for name, (side, song, _, late) in pairs.items():
        bins, song = _near(song, len(envelope), margin=margin)
        more = {"side": side, "song": song, "nuisance": Nuisance(song)}
        few = late[::BAND_EVERY] if len(song.bin) else []
        controlled["band"][name] = [test(band_p, bins - shift, name, shift, **more) for shift in few]
    tested = found.sound_bins[2] * dt >= MIN_SOUND_S
    spans = pd.DataFrame({"bout": located.bout_id, "start_s": located.start_s, "stop_s": located.stop_s, "part": part})
    return tuning_dataset(
        units,
        modulation=modulation,
        found=found,
        curves=tuple(curves),
        controlled=controlled,
        spans=spans,
        tested=tested,
        edges_hz=edges_hz,
        options=options,
        n_calls=len(calls),
        method="calls",
    )


def _placed(units: Counts, calls: pd.DataFrame, to_session) -> tuple[CallBins, np.ndarray]:
    """Calls on the grid of the counts, and whether any sounds in each bin (n_bins,)."""
    grid = {"to_session": to_session, "bin_start_s": units.start_s, "bin_width_s": units.bin_width_s}
    return locate_calls(calls, **grid), sounding_bins(calls, **grid)


def _beginning_with(calls: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """`other` moved to begin with `calls`."""
    late_s = calls["start_s"].min() - other["start_s"].min()
    moved = other.assign(start_s=other["start_s"] + late_s, stop_s=other["stop_s"] + late_s)
    moved["contour_s"] = [np.asarray(time_s, float) + late_s for time_s in other["contour_s"]]
    return moved


def _near(located: CallBins, n_bins: int, *, margin: int) -> tuple[np.ndarray, CallBins]:
    """Bins of the grid within `margin` of a call, and the calls on a grid of these bins alone.

    Only these matter to a test whose lags and smoothing stay within the margin: most of a recording is silence.
    """
    sounding = np.zeros(n_bins, bool)
    sounding[located.bin] = True
    near = np.flatnonzero(maximum_filter1d(sounding.view(np.uint8), 2 * margin + 1, mode="constant"))
    return near, replace(located, bin=np.searchsorted(near, located.bin))


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
    modulation = _modulation(units, sound.loudness, options, n_surrogates=options.n_surrogates_fine)
    controlled = {"vocal": {}, "band": {}}
    if not units.unit_ids or not sound.heard.any():
        return untested_dataset(
            units, modulation, controlled, edges_hz=edges_hz, options=options, n_calls=0, method="playback"
        )
    role = np.select([clip_split == "train", np.isin(clip_split, ["validation", "test"])], [0, 1], 2)
    part = _part_of_bins(units.start_s, clip_start_s, role, clip_duration_s=clip_duration_s)
    lags = options.lags(dt, step_s=LAG_STEP_S)
    shared = {"lags": lags, "bin_width_s": dt}
    drawn = {"lags": lags, "n_surrogates": options.n_surrogates, "generator": options.generator("presentations")}
    slots, method, why = None, "playback", ""
    if presented is not None:
        times = (presented[name].to_numpy(float) for name in ("start_s", "stop_s"))
        labels = presented["label"].to_numpy(str)
        slots, why = pseudosessions.find_slots(*times, labels, part=part, begin_s=units.start_s[0], bin_width_s=dt)
        method, why = ("presentations", "") if slots else (method, f"; no other order of the presentations: {why}")
    found, responses = [], []
    for firing in _firing(units):
        if slots:
            one = pseudosessions.presented_selectivity(
                sound, firing, slots, part, n_surrogates_fine=options.n_surrogates_fine, **drawn
            )
        else:
            one = playback.playback_selectivity(sound, firing, part, **shared)
        sums = [playback.block_sums(sound, firing, lag=lag, bin_width_s=dt) for lag in (one.lag_a, one.lag)]
        found.append(one)
        responses.append(sums)
    # Sessions mostly share what is played back: another session's sound is no control.
    shifts = control_shifts(len(part), bin_width_s=dt)
    for name, side in _sides(units).items():
        p_values = {"vocal": [], "band": []}
        for draw, shift in enumerate(shifts):
            late, sound = side.at(slice(len(part) - shift)), playback.sound_side(power_db[shift:], bin_width_s=dt)
            p_values["vocal"].append(_vocal_p(late, sound.loudness, options))
            if slots or draw % BAND_EVERY == 0:  # other orders cost little
                parts = [
                    pseudosessions.presented_p(sound, firing, slots.moved(shift, len(sound.bands)), **drawn)
                    if slots
                    else playback.playback_p(sound, firing, **shared)
                    for firing in _firing(late)
                ]
                p_values["band"].append(np.concatenate(parts))
        for level, draws in p_values.items():
            controlled[level][name] = draws
    starts = playback.block_starts(len(part), bin_width_s=dt)
    size = np.diff(np.append(starts, len(part)))
    gram = size[:, None, None] * np.eye(len(edges_hz))  # each band by itself: bands have unit variance
    curves = [
        Curves(np.pad(np.concatenate(parts, axis=1), ((0, 0), (0, 0), (0, 1))), gram, units.scale(units.mean))
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
    for begin in range(0, len(units.unit_ids), PLAYBACK_UNITS_AT_ONCE):
        some = slice(begin, begin + PLAYBACK_UNITS_AT_ONCE)
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


def profile_none(units: Counts, *, edges_hz: np.ndarray, options: Options) -> xr.Dataset:
    """A session with one modality: nothing can be tested, and the arrays say so by NaN."""
    nan = np.full(len(units.unit_ids), np.nan)
    modulation = Modulation(nan, np.nan, nan, np.zeros(len(nan), int))
    return untested_dataset(
        units, modulation, {"vocal": {}, "band": {}}, edges_hz=edges_hz, options=options, n_calls=0, method="none"
    )


def _sides(units: Counts) -> dict[str, Counts]:
    """Neural sides that cannot be linked to the sound once they are shifted, by control."""
    return {"neural_shifted": units, "time_reversed": units.at(slice(None, None, -1))}


def _vocal_p(units: Counts, envelope: np.ndarray, options: Options) -> np.ndarray:
    """p of vocal modulation (n_units,) with the first bins of the neural side beside all of a later `envelope`.

    The test of the true pairing from drift removal on, on what the two have in common; with surrogates of the first
    stage, since a share at 5 % needs no small p.
    """
    return _modulation(units.at(slice(len(envelope))), envelope, options, n_surrogates=options.n_surrogates).p


def _modulation(units: Counts, envelope: np.ndarray, options: Options, *, n_surrogates: int) -> Modulation:
    dt = units.bin_width_s
    covered = np.flatnonzero(units.valid.any(axis=1))
    if not len(covered) or not envelope.any():
        nan = np.full(len(units.unit_ids), np.nan)
        return Modulation(nan, np.nan, nan, np.zeros(len(nan), int))
    rows = slice(covered[0], covered[-1] + 1)
    units = units.at(rows)
    return vocal_modulation(
        envelope[rows],
        units.counts,
        units.valid,
        scale=units.scale(units.mean),
        lags=options.lags(dt, step_s=dt),
        bin_width_s=dt,
        n_surrogates=n_surrogates,
        regressors=units.regressors,
        counted=units.kind == "spikes",
    )
