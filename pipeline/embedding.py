"""Where clips lie in the latent space of a trained model."""

from collections.abc import Sequence

import pandas as pd
import torch

from pipeline.clips import SessionClips
from pipeline.errors import InputError
from pipeline.vae.assembly import LoadedModel, to_batch

CHUNK = 1024  # clips that are embedded at once


def embed(loaded: LoadedModel, clips: Sequence[SessionClips]) -> pd.DataFrame:
    """Posterior means: session, clip, split, given, z0, z1, ...; the clips that have all that is given."""
    model = loaded.model
    choices = [(name,) for name in loaded.modalities]
    if model.cross_generates and len(choices) > 1:
        choices.append(loaded.modalities)
    tables = []
    for session in clips:
        batch = to_batch(session)
        for given in choices:
            rows = model.presence(batch)[[name in given for name in model.modalities]].all(0).nonzero().squeeze(-1)
            known = "neural" not in given or session.session in loaded.sessions
            if len(rows) and known:
                with torch.no_grad():
                    parts = [model.posterior(batch.take(part), given).mean for part in rows.split(CHUNK)]
                z = torch.cat(parts).numpy()
                table = pd.DataFrame(z, columns=[f"z{i}" for i in range(z.shape[1])])
                table.insert(0, "session", session.session)
                table.insert(1, "clip", rows.numpy())
                table.insert(2, "split", session.split[rows.numpy()])
                table.insert(3, "given", "+".join(given))
                tables.append(table)
    if not tables:
        raise InputError("no clip holds a modality of this model", allowed=loaded.modalities)
    return pd.concat(tables, ignore_index=True)
