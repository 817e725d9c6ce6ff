"""Where clips lie in the latent space of a trained model."""

from collections.abc import Sequence

import pandas as pd
import torch

from pipeline.clips import SessionClips
from pipeline.errors import InputError
from pipeline.evaluation.predictions import possible_givens
from pipeline.vae.assembly import LoadedModel, to_batch

CHUNK = 1024  # clips that are embedded at once


def embed(loaded: LoadedModel, clips: Sequence[SessionClips]) -> pd.DataFrame:
    """Posterior means: session, clip, split, given, z0, z1, ...; the clips that have all that is given."""
    model = loaded.model
    tables = []
    for session in clips:
        batch = to_batch(session)
        for given in possible_givens(model, loaded.known(session.session)):
            rows = model.presence(batch)[[name in given for name in model.modalities]].all(0).nonzero().squeeze(-1)
            if len(rows):
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
