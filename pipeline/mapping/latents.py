"""Latents as views of the map: which are active and stable over seeds, and which link sound and spikes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy import fft
from scipy.optimize import linear_sum_assignment

from pipeline.clips import MODALITIES, SessionClips
from pipeline.mapping.coupling import drive
from pipeline.mapping.nulls import permutation_p, shift_candidates
from pipeline.vae.assembly import LoadedModel

ACTIVE_VARIANCE, ACTIVE_KL_NAT = 0.01, 0.05
STABLE_R = 0.8
SHORTEST_SHIFT = 40  # clips
FEWEST_CLIPS = 76  # of a session in which a link is looked for: twenty shifts or so
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
    """Change from -2 to +2 SD of each latent: `audio_db` (n_latents, n_bands), averaged over frames; `log_rate`
    {session: (n_latents, n_units)}, averaged over bins."""

    audio_db: np.ndarray
    log_rate: dict[str, np.ndarray]


def traverse(loaded: LoadedModel, embedded: Embedded) -> Traversal:
    """Decode the held-out mean with each latent moved by two SDs of its posterior means, both ways."""
    means = embedded.means(embedded.widest)
    middle, sd = means.mean().to_numpy(), means.std(ddof=0).to_numpy()
    z = torch.as_tensor(np.stack([middle + 2 * sign * np.diag(sd) for sign in (1, -1)]), dtype=torch.float32)
    log_rate, audio_db = {}, np.zeros((len(sd), len(loaded.frequency_hz)))
    with torch.inference_mode():
        for session in loaded.sessions:
            decoded = loaded.model.decode(z, session=session, names=MODALITIES)
            audio, neural = decoded["audio"].mean, drive(decoded["neural"].mean, kind=loaded.kind)
            audio_db = (audio[0] - audio[1]).mean(dim=-1).numpy()
            log_rate[session] = (neural[0] - neural[1]).mean(dim=-1).numpy()
    return Traversal(audio_db, log_rate)


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
    r = np.empty((len(left), len(right)), np.float32)
    null = np.empty((len(shifts), *r.shape), np.float32)
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


@dataclass
class Link:
    """Whether latents link sound and spikes in held-out clips, as correlations and those at circular shifts.

    `band_r` (n_latents, n_bands): of latents inferred from spikes alone and the level of each band, averaged over
    animals; `band_null` (n_surrogates, n_latents, n_bands): at shifts. `units` {session: r, p (n_latents, n_units) and
    the smallest p}: of latents inferred from sound alone and the units' counts.
    """

    band_r: np.ndarray
    band_null: np.ndarray
    units: dict[str, tuple[np.ndarray, np.ndarray, float]]

    @property
    def p_floor(self) -> float:
        """The smallest p of a band; NaN without surrogates."""
        return 1 / (1 + len(self.band_null)) if len(self.band_null) else float("nan")

    def band_p(self, latent: int, inside: np.ndarray, sign: int) -> float:
        """p of a latent going up (`sign` 1) or down (-1) with the level of some band among those `inside` (n_bands,),
        against the maximum over all bands; NaN without surrogates."""
        if not len(self.band_null):
            return float("nan")
        highest = (sign * self.band_null[:, latent]).max(axis=1)
        return float(permutation_p((sign * self.band_r[latent, inside]).max(), highest))


def link_latents(
    embedded: Embedded, clips: list[SessionClips], *, n_surrogates: int, generator: np.random.Generator
) -> Link:
    """Correlate each latent with what it was not inferred from, in each session.

    Null: circular shifts of the clips, bout means removed. For bands, sessions are averaged (animals weigh the same),
    and so are shifts that are drawn for each session on its own.
    """
    shape = (len(embedded.columns), len(clips[0].frequency_hz))
    both = [(session, *_held_out(embedded, session)) for session in clips]
    both = [(session, chosen, z) for session, chosen, z in both if len(chosen) >= FEWEST_CLIPS]
    animals = [session.subject for session, *_ in both]
    band_r, band_null, units = np.zeros(shape), np.zeros((n_surrogates, *shape), np.float32), {}
    for session, chosen, z in both:
        blocks = np.where(chosen.bout >= 0, chosen.bout, (chosen.start_s // 10).astype(int))
        counts = np.nansum(chosen.counts, axis=2)
        r, null = shift_link(z["audio"], counts, blocks, n_shifts=n_surrogates)
        units[session.session] = (r, permutation_p(np.abs(r), np.abs(null)), 1 / (1 + len(null)))
        level_db = chosen.spectrogram.mean(axis=2)
        level_db -= level_db.mean(axis=1, keepdims=True)
        r, null = shift_link(z["neural"], level_db, blocks, n_shifts=n_surrogates)
        if len(both) == 1:
            return Link(r, null, units)
        weight = 1 / animals.count(session.subject) / len(set(animals))
        band_r += weight * r
        band_null += np.float32(weight) * null[generator.integers(len(null), size=n_surrogates)]
    return Link(band_r, band_null, units) if both else Link(np.full(shape, np.nan), np.zeros((0, *shape)), units)


def _held_out(embedded: Embedded, session: SessionClips) -> tuple[SessionClips, dict[str, np.ndarray]]:
    """The held-out clips with both sides, in the order of time, and their latents (n_clips, n_latents) by what they
    were inferred from."""
    given = {name: embedded.means(name, session.session).droplevel("session") for name in ("audio", "neural")}
    common = given["audio"].index.intersection(given["neural"].index).sort_values()
    return session.take(common.to_numpy(int)), {name: z.loc[common].to_numpy() for name, z in given.items()}
