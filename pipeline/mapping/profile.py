"""Everything that one session says about its units without a model, as labelled arrays (tuning.nc).

Of sessions without calls see `playback_profile`.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr
from scipy.ndimage import maximum_filter1d

from pipeline.mapping.controls import BAND_EVERY, control_shifts
from pipeline.mapping.responses import CallBins, Nuisance, locate_calls, smoothed
from pipeline.mapping.tuning import MIN_SOUND_S, band_p, band_selectivity, bout_parts, bout_sums
from pipeline.mapping.tuning_file import Counts, Curves, Options, tuning_dataset, untested_dataset
from pipeline.mapping.vocal import Modulation, sounding_bins, vocal_modulation

SMOOTHING_SD_S = 0.02
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
    modulation = session_modulation(units, envelope, options, n_surrogates=options.n_surrogates_fine)
    shifts = control_shifts(len(envelope), bin_width_s=dt)
    # what cannot be linked: the neural side, the calls on its grid, and by how many bins it is late
    pairs = {name: (side, located, envelope, shifts) for name, side in unlinked_sides(units).items()}
    if other is not None and len(other):
        song = _placed(units, _beginning_with(calls, other), to_session)
        pairs["other_session"] = (units, *song, np.append(0, shifts[1:]))
    controlled = {"vocal": {}, "band": {}}
    for name, (side, _, sounding, late) in pairs.items():
        controlled["vocal"][name] = [unlinked_p(side, sounding[shift:], options) for shift in late]
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
        response, gram, observed, mean_count = bout_sums(
            located, counts, valid, nuisance=nuisance, edges_hz=edges_hz, lag=whole_lag, regressors=regressors
        )
        curves.append(Curves(response, gram, observed, units.scale(mean_count)))
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


def profile_none(units: Counts, *, edges_hz: np.ndarray, options: Options) -> xr.Dataset:
    """A session with one modality: nothing can be tested, and the arrays say so by NaN."""
    nan = np.full(len(units.unit_ids), np.nan)
    modulation = Modulation(nan, np.nan, nan, np.zeros(len(nan), int))
    return untested_dataset(
        units, modulation, {"vocal": {}, "band": {}}, edges_hz=edges_hz, options=options, n_calls=0, method="none"
    )


def unlinked_sides(units: Counts) -> dict[str, Counts]:
    """Neural sides that cannot be linked to the sound once they are shifted, by control."""
    return {"neural_shifted": units, "time_reversed": units.at(slice(None, None, -1))}


def unlinked_p(units: Counts, envelope: np.ndarray, options: Options) -> np.ndarray:
    """p of vocal modulation (n_units,) with the first bins of the neural side beside all of a later `envelope`.

    The test of the true pairing from drift removal on, on what the two have in common; with surrogates of the first
    stage, since a share at 5 % needs no small p.
    """
    return session_modulation(units.at(slice(len(envelope))), envelope, options, n_surrogates=options.n_surrogates).p


def session_modulation(units: Counts, envelope: np.ndarray, options: Options, *, n_surrogates: int) -> Modulation:
    """`vocal_modulation` of units by the sound's `envelope` (n_bins,), over the time in which any is observed."""
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
