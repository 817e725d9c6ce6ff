"""Whether latents link sound and spikes: correlations of each latent with what it was not inferred from."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from pipeline.clips import SessionClips
from pipeline.mapping.latents import Embedded
from pipeline.mapping.nulls import permutation_p, shift_candidates

SHORTEST_SHIFT = 40  # clips
FEWEST_CLIPS = 76  # of a session in which a link is looked for: twenty shifts or so
SOUNDING_DB = 10.0  # above the noise floor, of the loudest band of a frame
N_QUARTERS = 4


@dataclass
class Link:
    """Whether latents link sound and spikes in held-out clips, as correlations and those at circular shifts.

    `band_r` (n_latents, n_bands): of latents inferred from spikes alone and the level of each band, both without the
    amount of sound, averaged over animals; `band_null` (n_surrogates, n_latents, n_bands): at shifts. `units`
    {session: r, p (n_latents, n_units) and the smallest p}: of latents inferred from sound alone and the units' counts.
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

    Null: circular shifts of the clips, bout means removed. For bands, what follows from the amount of sound in the clip
    (`sound_amounts`) is removed from both sides, sessions are averaged (animals weigh the same), and so are shifts that
    are drawn for each session on its own.
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
        amounts = sound_amounts(chosen.spectrogram)
        r, null = shift_link(z["neural"], level_db, blocks, n_shifts=n_surrogates, without=amounts)
        if len(both) == 1:
            return Link(r, null, units)
        weight = 1 / animals.count(session.subject) / len(set(animals))
        band_r += weight * r
        band_null += np.float32(weight) * null[generator.integers(len(null), size=n_surrogates)]
    return Link(band_r, band_null, units) if both else Link(np.full(shape, np.nan), np.zeros((0, *shape)), units)


def sound_amounts(spectrogram: np.ndarray) -> np.ndarray:
    """How much a clip sounds, how loud and when, from (n_clips, n_frequencies, n_frames) dB; (n_clips, n_amounts).

    Mean level, share of the frames that sound, their mean peak and the highest, each to the third power, and products
    of each two; the share in each quarter of the clip, and times that of the whole. A unit that fires to any call, or
    to onsets, follows these, and with them the bands that calls often use.
    """
    peak_db = spectrogram.max(axis=1)  # (n_clips, n_frames)
    sounding = peak_db >= SOUNDING_DB
    share = sounding.mean(axis=1)
    own_db = (peak_db * sounding).sum(axis=1) / np.maximum(sounding.sum(axis=1), 1)
    whole = standardised(np.column_stack([spectrogram.mean(axis=(1, 2)), share, own_db, peak_db.max(axis=1)]))
    quarters = [part.mean(axis=1) for part in np.array_split(sounding, N_QUARTERS, axis=1)]
    quarters = standardised(np.column_stack(quarters))
    first, second = np.triu_indices(whole.shape[1])  # squares among them
    return np.column_stack([whole, whole**3, whole[:, first] * whole[:, second], quarters, quarters * whole[:, 1:2]])


def standardised(values: np.ndarray) -> np.ndarray:
    """`values` (n_clips, n_columns) in SDs from their mean; 0 in columns that do not change."""
    centred = values - values.mean(axis=0)
    sd = centred.std(axis=0)
    return centred / np.where(sd > 1e-9, sd, 1.0)


def shift_link(
    left: np.ndarray, right: np.ndarray, blocks: np.ndarray, *, n_shifts: int, without: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Correlations of clip-wise series, r (n_left, n_right), and at circular shifts, (at most n_shifts, ...the same).

    `left` (n_clips, n_left), `right` (n_clips, n_right) in the order of time; block means (`blocks` (n_clips,):
    bouts) are removed from both, so that drift between bouts is no link, and so is their regression on `without`
    (n_clips, n_nuisances). Shifts are spread over those of at least 40 clips, or a quarter of them where that is less.
    """
    left, right = (_less_means(values, blocks) for values in (left, right))
    if without is not None:
        basis = _basis(_less_means(without, blocks))
        left, right = (values - basis @ (basis.T @ values) for values in (left, right))
    left, right = (np.ascontiguousarray(standardised(values).T) for values in (left, right))
    n = left.shape[1]
    shifts = shift_candidates(n, shortest=min(SHORTEST_SHIFT, n // 4), n_shifts=n_shifts)
    r = np.empty((len(left), len(right)), np.float32)
    null = np.empty((len(shifts), *r.shape), np.float32)
    spectrum = fft.rfft(right)
    for index, series in enumerate(left):
        at_shifts = fft.irfft(np.conj(fft.rfft(series)) * spectrum, n=n) / max(n, 1)  # (n_right, n)
        r[index], null[:, index] = at_shifts[:, 0], at_shifts[:, shifts].T
    return r, null


def _less_means(values: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    member = np.equal.outer(np.unique(blocks), blocks).astype(float)
    return values - (member.T @ ((member @ values) / member.sum(axis=1, keepdims=True)))


def _basis(columns: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span the given ones."""
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, sizes > 1e-6 * sizes.max(initial=0)]


def _held_out(embedded: Embedded, session: SessionClips) -> tuple[SessionClips, dict[str, np.ndarray]]:
    """The held-out clips with both sides, in the order of time, and their latents (n_clips, n_latents) by what they
    were inferred from."""
    given = {name: embedded.means(name, session.session).droplevel("session") for name in ("audio", "neural")}
    common = given["audio"].index.intersection(given["neural"].index).sort_values()
    return session.take(common.to_numpy(int)), {name: z.loc[common].to_numpy() for name, z in given.items()}
