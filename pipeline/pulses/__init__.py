"""Pulses that two devices saw: found in sound and in NWB files, and told which is which."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Pulses:
    """Onsets of pulses on one device's clock.

    `onset_s`: Shape (n_pulses,), increasing. `spans_s`: Shape (n_spans, 2), when the device is known to have listened:
    a pulse that is not there was not seen. `where` names file and channel; `level` says what the pulses look like.
    """

    onset_s: np.ndarray
    spans_s: np.ndarray
    where: str
    level: str = ""

    def __len__(self) -> int:
        return len(self.onset_s)
