"""Session permutation: do units follow the song of their own session more than the songs of comparable ones?

Nothing is assumed about how units drift or how a song fades: what all sessions share, other sessions' songs have too.
After Harris (2021), Nonsense correlations in neuroscience, https://doi.org/10.1101/2020.11.29.402719.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import rankdata

from pipeline.mapping.tuning_file import Counts, Options
from pipeline.mapping.vocal import song_gains, sounding_bins

FEWEST_SESSIONS = 5  # 120 orders: p can reach 0.01
SIMILAR = 2.0  # times the median of the songs, or one over it
N_DRAWS = 9999  # and all orders where there are no more


def comparable_songs(songs: Mapping[str, pd.DataFrame]) -> tuple[list[str], float]:
    """The songs of similar span and amount of sound, by session, and the shortest of their spans, s.

    Similar: the time from the first to the last call, and the time in calls, are each between half and twice the
    median of all `songs` that have calls. This hangs on the set alone, so that all sessions of a set agree on it.
    """
    sung = {name: calls for name, calls in songs.items() if len(calls)}
    if not sung:
        return [], 0.0
    span_s = np.array([calls["stop_s"].max() - calls["start_s"].min() for calls in sung.values()])
    sound_s = np.array([(calls["stop_s"] - calls["start_s"]).sum() for calls in sung.values()])
    similar = np.ones(len(sung), bool)
    for amount in (span_s, sound_s):
        similar &= (amount <= SIMILAR * np.median(amount)) & (amount >= np.median(amount) / SIMILAR)
    return list(np.array(list(sung))[similar]), float(span_s[similar].min(initial=np.inf))


def followed_songs(units: Counts, songs: Mapping[str, pd.DataFrame], *, to_session, options: Options) -> xr.DataArray:
    """How far the units of `options.session` follow each of the comparable `songs`, its own among them, (unit, song).

    Every song is moved to begin with the session's own and cut to the length of the shortest: all are treated alike.
    No songs where the session's own is none of them.
    """
    names, span_s = comparable_songs(songs)
    names = names if options.session in names else []
    if names:
        dt, begin_s = units.bin_width_s, float(songs[options.session]["start_s"].min())
        first = max(0, round((float(to_session(begin_s)) - units.start_s[0]) / dt))
        window = units.at(slice(first, first + int(span_s / dt)))
        names = names if len(window.start_s) else []  # a song after the last spikes
    gains = np.zeros((len(units.unit_ids), len(names)))
    if names:
        envelopes = np.zeros((len(window.start_s), len(names)))
        for index, name in enumerate(names):
            times = songs[name][["start_s", "stop_s"]]
            moved = times + (begin_s - times["start_s"].min())
            envelopes[:, index] = sounding_bins(
                moved, to_session=to_session, bin_start_s=window.start_s, bin_width_s=dt
            )
        gains = song_gains(
            envelopes,
            window.counts,
            window.valid,
            scale=window.scale(window.mean),
            lags=options.lags(dt, step_s=dt),
            bin_width_s=dt,
            regressors=window.regressors,
            counted=window.kind == "spikes",
        )
    coords = {"unit": np.array(units.unit_ids, object), "song": np.array(names, object)}
    return xr.DataArray(gains, coords=coords, dims=("unit", "song"))


@dataclass(frozen=True)
class SongTest:
    """The answer of all sessions; `rank` by unit: share of the other songs that it follows less than its own.

    p and p_floor are NaN, and there are no ranks, where fewer than FEWEST_SESSIONS sessions can be compared.
    """

    p: float
    p_floor: float
    n_orders: int
    rank: pd.Series
    sessions: list[str]

    @property
    def mean_rank(self) -> float:
        """Mean over sessions of the mean over units: 0.5 where there is no link, 1 where each follows its own most."""
        session = self.rank.index.get_level_values("session")
        return float(self.rank.groupby(session).mean().mean())


def session_permutation(followed: Mapping[str, xr.DataArray], *, generator: np.random.Generator) -> SongTest:
    """Test what `followed_songs` gave, by session, against other orders of the same songs among the sessions.

    Sessions that were compared with the same songs form a set, inside which songs change places: all orders where
    there are no more than N_DRAWS, else as many draws. Statistic: `SongTest.mean_rank`.
    """
    ranks, tables, sets = {}, [], _sets(followed)
    for members in sets:
        scores = np.empty((len(members), len(members)))
        for row, name in enumerate(members):
            gains = followed[name].sel(song=members).dropna("unit")
            of_unit = (rankdata(gains.values, axis=1) - 1) / (len(members) - 1)  # (n_units, n_songs)
            ranks |= {(name, unit): rank for unit, rank in zip(gains["unit"].values, of_unit[:, row], strict=True)}
            scores[row] = of_unit.mean(axis=0)
        tables.append(scores)
    rank = pd.Series(ranks, dtype=float)
    rank.index = pd.MultiIndex.from_tuples(ranks, names=["session", "unit_id"])
    if not tables:
        return SongTest(math.nan, math.nan, 0, rank, [])
    observed = sum(np.trace(scores) for scores in tables)
    n_orders = math.prod(math.factorial(len(scores)) for scores in tables)
    whole = n_orders <= N_DRAWS and len(tables) == 1
    total = np.zeros(n_orders if whole else N_DRAWS)
    for scores in tables:
        sessions = np.arange(len(scores))
        if whole:
            orders = np.array(list(permutations(sessions)))
        else:
            orders = generator.permuted(np.tile(sessions, (N_DRAWS, 1)), axis=1)
        total += scores[sessions, orders].sum(axis=1)
    reaching = int((total >= observed - 1e-9).sum())
    drawn = 0 if whole else 1  # of all orders the sessions' own is one; beside draws it counts once more
    n = drawn + len(total)
    return SongTest((drawn + reaching) / n, 1 / n, len(total), rank, [name for members in sets for name in members])


def _sets(followed: Mapping[str, xr.DataArray]) -> list[list[str]]:
    """Sessions with tested units and the same songs, where they are enough."""
    sets = defaultdict(list)
    for name, gains in followed.items():
        songs = gains["song"].values.tolist()
        if name in songs and gains.notnull().all("song").any():
            sets[frozenset(songs)].append(name)
    return [members for members in sets.values() if len(members) >= FEWEST_SESSIONS]


def song_summary(test: SongTest, subjects: Mapping[str, str]) -> dict:
    """What summary.json says about the test; `subjects`: the animal of each session."""
    tested = bool(test.sessions)
    return {
        "tested": tested,
        "p": test.p if tested else None,
        "p_floor": test.p_floor if tested else None,
        "n_orders": test.n_orders,
        "own_song_rank": test.mean_rank if tested else None,
        "n_units": len(test.rank),
        "n_sessions": len(test.sessions),
        "n_animals": len({subjects.get(name, name) for name in test.sessions}),
    }


def song_note(summary: dict) -> str:
    """What was tested, or why nothing was; `summary`: that of `song_summary`."""
    if not summary["tested"]:
        return (
            f"Session permutation was not tested: it takes {FEWEST_SESSIONS} comparable sessions with calls and units "
            "(of one condition, song and its length between half and twice their median)."
        )
    return (
        "Session permutation: units' gain of each comparable session's song, moved to begin with their own and cut to "
        "the shortest; rank of their own among them, mean over units, then sessions, against other orders of the songs "
        f"among the sessions ({summary['n_orders']}, p >= {summary['p_floor']:.2g}). It needs no assumption about slow "
        "drift, and takes songs of different sessions as exchangeable."
    )


def song_headline(summary: dict, *, alpha: float = 0.05) -> list[str]:
    """The sentence of the report's answer; none where nothing was tested."""
    if not summary["tested"]:
        return []
    more = "follow" if summary["p"] <= alpha else "do not follow"
    animals = "1 animal" if summary["n_animals"] == 1 else f"{summary['n_animals']} animals"
    return [
        f"Units {more} the song of their own session more than those of comparable sessions (session permutation: "
        f"p = {summary['p']:.2g}; their own is above {summary['own_song_rank']:.0%} of the others, chance 50%; "
        f"{summary['n_sessions']} sessions, {animals})."
    ]
