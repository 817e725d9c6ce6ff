"""The noise floor of each frequency: a median over frames from all over the recording, in little memory."""

import numpy as np

RESERVOIR_FRAMES = 2048  # the median over so many frames is good to about 0.1 dB
ROUNDING_DB = 0.2  # of float16 at the level of silence


class Reservoir:
    """Evenly spaced frames of all that passed, at most 2 RESERVOIR_FRAMES: when full, every second one is dropped.

    Digital silence is passed over, so that a recorder that wrote little sound between much silence still leaves
    enough frames.
    """

    def __init__(self, n_bands: int):
        self._levels = np.empty((2 * RESERVOIR_FRAMES, n_bands), np.float16)
        self._frames = np.empty(2 * RESERVOIR_FRAMES, int)
        self._stride, self._kept, self._seen = 1, 0, 0

    def see(self, first_frame: int, power_db: np.ndarray, *, silence_db: float) -> None:
        """Take the next frames, shape (n, n_bands), dB."""
        middle = power_db[:, power_db.shape[1] // 2]
        sounding = np.flatnonzero(middle > silence_db + ROUNDING_DB)
        for k in range(-self._seen % self._stride, len(sounding), self._stride):
            # The stride may have doubled within this block.
            if (self._seen + k) % self._stride == 0:
                self._levels[self._kept], self._frames[self._kept] = power_db[sounding[k]], first_frame + sounding[k]
                self._kept += 1
            if self._kept == len(self._levels):
                for kept in (self._levels, self._frames):
                    kept[:RESERVOIR_FRAMES] = kept[::2]
                self._kept, self._stride = RESERVOIR_FRAMES, 2 * self._stride
        self._seen += len(sounding)

    def median_db(self, usable: np.ndarray, *, silence_db: float) -> np.ndarray:
        """Median level of each band over the usable frames, float32, shape (n_bands,).

        Where none is usable, over all; `silence_db` where there was nothing but digital silence.
        """
        levels, good = self._levels[: self._kept], usable[self._frames[: self._kept]]
        if not len(levels):
            return np.full(levels.shape[1], silence_db, np.float32)
        return np.median((levels[good] if good.any() else levels).astype(np.float32), axis=0)
