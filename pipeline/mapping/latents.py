"""Latents as views of the map: which are active and stable over seeds, and what moving one does to both sides."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy import fft
from scipy.optimize import linear_sum_assignment

from pipeline.clips import SessionClips
from pipeline.mapping.bands import peak_bands
from pipeline.mapping.coupling import drive
from pipeline.mapping.nulls import permutation_p, shift_candidates
from pipeline.vae.assembly import LoadedModel

ACTIVE_VARIANCE, ACTIVE_KL_NAT = 0.01, 0.05
STABLE_R = 0.8
SHORTEST_SHIFT = 40  # clips
HELD_OUT = ("validation", "test")


@dataclass
class Embedded:
    """Posterior means of one seed: the table of latents.parquet, and the names of its latent columns."""

    table: pd.DataFrame

    @property
    def columns(self) -> list[str]:
        return [name for name in self.table.columns if name[0] == "z" and name[1:].isdigit()]

    @property
    def widest(self) -> str:
        """The `given` with the most modalities."""
        return max(sorted(self.table["given"].unique()), key=len)

    def means(self, given: str, session: str | None = None) -> pd.DataFrame:
        """Held-out rows of one `given` (and session), index (session, clip)."""
        chosen = self.table["given"].eq(given) & self.table["split"].isin(HELD_OUT)
        if session is not None:
            chosen &= self.table["session"].eq(session)
        return self.table[chosen].set_index(["session", "clip"])[self.columns]


def latents_table(seeds: list[Embedded], kl_nat: np.ndarray) -> pd.DataFrame:
    """Activity and stability of the first seed's latents, one row each.

    Columns: latent, posterior_sd, kl_nat, active, stability_r, seeds_agree, reported_as.

    Stability: Hungarian matching on |r| of held-out posterior means with each other seed; median of matched |r|.
    """
    first = seeds[0].means(seeds[0].widest)
    variance = first.var(ddof=0).to_numpy()
    matched = []
    for other in seeds[1:]:
        second = other.means(other.widest).reindex(first.index)
        r = np.abs(_correlations(first.to_numpy(), second.to_numpy()))
        rows, columns = linear_sum_assignment(-r)
        matched.append(r[rows, columns][np.argsort(rows)])
    stability = np.median(matched, axis=0) if matched else np.full(len(variance), np.nan)
    active = (variance > ACTIVE_VARIANCE) | (kl_nat > ACTIVE_KL_NAT)
    dimension = active & (stability >= STABLE_R)
    return pd.DataFrame(
        {
            "latent": np.arange(len(variance)),
            "posterior_sd": np.sqrt(variance),
            "kl_nat": kl_nat,
            "active": active,
            "stability_r": stability,
            "seeds_agree": np.sum(np.array(matched) >= STABLE_R, axis=0) if matched else 0,
            "reported_as": np.select([~active, dimension], ["inactive", "dimension"], "subspace"),
        }
    )


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = np.linalg.norm(a, axis=0)[:, None] * np.linalg.norm(b, axis=0)
    return np.divide(a.T @ b, scale, out=np.zeros(scale.shape), where=scale > 0)


@dataclass
class Traversal:
    """Change for +1 SD of each latent (half the difference of +1 and -1 SD): `audio_db` (n_latents, n_bands), averaged
    over frames; `log_rate` {session: (n_latents, n_units)}, averaged over bins."""

    audio_db: np.ndarray
    log_rate: dict[str, np.ndarray]


def traverse(loaded: LoadedModel, embedded: Embedded) -> Traversal:
    """Decode the held-out mean with each latent moved by one SD of its posterior means, both ways."""
    means = embedded.means(embedded.widest)
    middle, sd = means.mean().to_numpy(), means.std(ddof=0).to_numpy()
    steps = np.stack([middle + sign * np.diag(sd) for sign in (1, -1)])  # (2, n_latents, d)
    z = torch.as_tensor(steps, dtype=torch.float32)
    log_rate, audio_db = {}, np.zeros((len(sd), len(loaded.frequency_hz)))
    with torch.no_grad():
        for session in loaded.sessions:
            decoded = loaded.model.decode(z, session=session)
            db = decoded["audio"].mean.mean(dim=-1)
            rate = drive(decoded["neural"].mean, kind=loaded.kind).mean(dim=-1)
            audio_db = ((db[0] - db[1]) / 2).numpy()
            log_rate[session] = ((rate[0] - rate[1]) / 2).numpy()
    return Traversal(audio_db, log_rate)


def latent_bands(audio_db: np.ndarray, frequency_hz: np.ndarray) -> pd.DataFrame:
    """Band in which each latent changes the sound most, one row a latent."""
    half = np.diff(frequency_hz, prepend=2 * frequency_hz[0] - frequency_hz[1]) / 2
    edges_hz = np.append(frequency_hz - half, frequency_hz[-1] + half[-1])
    found = peak_bands(np.abs(audio_db), frequency_hz, edges_hz)
    signed = audio_db[np.arange(len(audio_db)), np.abs(audio_db).argmax(axis=1)]
    is_open = found["open_low"] | found["open_high"]
    return pd.DataFrame(
        {
            "latent": np.arange(len(audio_db)),
            "run": 0,
            **{f"{name}_khz": found[f"{name}_hz"] / 1e3 for name in ("peak", "low", "high")},
            "fwhm_khz": (found["high_hz"] - found["low_hz"]) / 1e3,
            "fwhm_octaves": np.log2(found["high_hz"] / np.maximum(found["low_hz"], 1e-9)),
            "edge": np.where(is_open, "open", "closed"),
            "effect_db_per_sd": signed,
        }
    )


def shift_link(
    left: np.ndarray, right: np.ndarray, blocks: np.ndarray, *, n_shifts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Correlations of clip-wise series, r (n_left, n_right), and at circular shifts, (at most n_shifts, ...the same).

    `left` (n_clips, n_left), `right` (n_clips, n_right) in the order of time; block means (`blocks` (n_clips,):
    bouts) are removed from both, so that drift between bouts is no link. Shifts are spread over those of at least 40
    clips.
    """
    left, right = (np.ascontiguousarray(_standard(values, blocks).T) for values in (left, right))
    n = left.shape[1]
    shifts = shift_candidates(n, shortest=min(SHORTEST_SHIFT, n // 4), n_shifts=n_shifts)
    r, null = np.empty((len(left), len(right))), np.empty((len(shifts), len(left), len(right)))
    spectrum = fft.rfft(right)
    for index, series in enumerate(left):
        at_shifts = fft.irfft(np.conj(fft.rfft(series)) * spectrum, n=n) / max(n, 1)  # (n_right, n)
        r[index], null[:, index] = at_shifts[:, 0], at_shifts[:, shifts].T
    return r, null


def _standard(values: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    member = np.equal.outer(np.unique(blocks), blocks).astype(float)
    centred = values - (member.T @ ((member @ values) / member.sum(axis=1, keepdims=True)))
    sd = centred.std(axis=0)
    return centred / np.where(sd > 0, sd, 1.0)


def link_p(
    embedded: Embedded, clips: list[SessionClips], *, n_surrogates: int
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray], float]:
    """Do the latents link sound and spikes in held-out clips?

    Returns p of each latent, inferred from spikes alone, going with the energy of some band (n_latents,); for each
    session p of each latent, inferred from sound alone, going with each unit's count (n_latents, n_units), and the
    sign of that; and the smallest p possible. Null: circular shifts of the clips, bout means removed.
    """
    by_session, signs, strongest, floors = {}, {}, [], []
    for session in clips:
        given = {name: embedded.means(name, session.session) for name in ("audio", "neural")}
        common = given["audio"].index.intersection(given["neural"].index).get_level_values("clip").to_numpy()
        if len(common) < 4 * 19:
            continue
        chosen = session.take(np.sort(common))
        blocks = np.where(chosen.bout >= 0, chosen.bout, (chosen.start_s // 10).astype(int))
        keys = pd.MultiIndex.from_arrays([[session.session] * len(common), np.sort(common)])
        z = {name: table.reindex(keys).to_numpy() for name, table in given.items()}
        r, null = shift_link(z["audio"], np.nansum(chosen.counts, axis=2), blocks, n_shifts=n_surrogates)
        by_session[session.session] = permutation_p(np.abs(r), np.abs(null))
        signs[session.session] = np.sign(r)
        level_db = chosen.spectrogram.mean(axis=2)
        level_db -= level_db.mean(axis=1, keepdims=True)
        r, null = shift_link(z["neural"], level_db, blocks, n_shifts=n_surrogates)
        strongest.append(permutation_p(np.abs(r).max(axis=1), np.abs(null).max(axis=2)))
        floors.append(1 / (1 + len(null)))
    n_latents = len(embedded.columns)
    if not strongest:
        return np.full(n_latents, np.nan), by_session, signs, float("nan")
    smallest = np.minimum(1.0, len(strongest) * np.min(strongest, axis=0))  # Bonferroni over sessions
    return smallest, by_session, signs, len(strongest) * max(floors)
