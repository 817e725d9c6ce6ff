"""Latents as views of the map: which are active and stable over seeds, and what moving them does."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment

from pipeline.clips import MODALITIES
from pipeline.mapping.coupling import drive
from pipeline.vae.assembly import LoadedModel

ACTIVE_VARIANCE, ACTIVE_KL_NAT = 0.01, 0.05
STABLE_R = 0.8
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

    def means(self, given: str, session: str | None = None, splits: tuple[str, ...] = HELD_OUT) -> pd.DataFrame:
        """Held-out rows of one `given` (and session), index (session, clip)."""
        chosen = self.table["given"].eq(given) & self.table["split"].isin(splits)
        if session is not None:
            chosen &= self.table["session"].eq(session)
        return self.table[chosen].set_index(["session", "clip"])[self.columns]


def latents_table(seeds: list[Embedded], kl_nat: np.ndarray) -> pd.DataFrame:
    """Activity and stability of the first seed's latents, one row each.

    Columns: latent, posterior_sd, kl_nat, active, stability_r, seeds_agree, subspace_r, reported_as.

    Stability: Hungarian matching on |r| of held-out posterior means with each other seed; median of matched |r|.
    `subspace_r`: the median of `shared_subspace` over pairs of seeds, the same in all rows; NaN with one seed.
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
    pairs = [shared_subspace(one, other) for one, other in combinations(seeds, 2)]
    return pd.DataFrame(
        {
            "latent": np.arange(len(variance)),
            "posterior_sd": np.sqrt(variance),
            "kl_nat": kl_nat,
            "active": active,
            "stability_r": stability,
            "seeds_agree": np.sum(np.array(matched) >= STABLE_R, axis=0) if matched else 0,
            "subspace_r": np.median(pairs) if pairs else np.nan,
            "reported_as": np.select([~active, dimension], ["inactive", "dimension"], "subspace"),
        }
    )


def shared_subspace(one: Embedded, other: Embedded) -> float:
    """Mean canonical correlation of two seeds' posterior means, of the latents that vary (variance > 0.01).

    Fitted on the validation clips and read on the test clips, so that neither many latents nor few clips inflate it: 1
    where the latents of the one are a linear map of the other's, about 0 where they have nothing to do with each other.
    NaN where a split has fewer clips than there are latents, or a seed has none that vary.
    """
    fitted, read = [], []
    for seed in (one, other):
        varies = seed.means(seed.widest).var(ddof=0) > ACTIVE_VARIANCE
        fit, test = (seed.means(seed.widest, splits=(split,)).loc[:, varies] for split in HELD_OUT)
        fitted.append(fit.sort_index().to_numpy() - fit.mean().to_numpy())
        read.append(test.sort_index().to_numpy() - test.mean().to_numpy())
    n_latents = [z.shape[1] for z in fitted]
    if min(n_latents) == 0 or min(len(fitted[0]), len(read[0])) <= sum(n_latents):
        return float("nan")
    whitening = [np.linalg.pinv(np.linalg.qr(z, mode="r")) for z in fitted]
    turned, _, other_turned = np.linalg.svd((fitted[0] @ whitening[0]).T @ (fitted[1] @ whitening[1]))
    n = min(n_latents)
    variates = read[0] @ whitening[0] @ turned[:, :n], read[1] @ whitening[1] @ other_turned[:n].T
    return float(np.diag(_correlations(*variates)).mean())


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
