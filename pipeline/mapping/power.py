"""What a session can show, before anything is computed."""

import numpy as np

HALF_FOUND = 24.0  # (gain - 1) sqrt(spikes expected in song) of units half of which pass; benchmarks/recovery.py
SONG_SHARE = 0.1  # of a recording, where no annotations tell of the calls


def smallest_gain(*, rate_hz: float, song_s: float) -> float:
    """Firing in its band over a unit's baseline, for half of such units to be found selective at q <= 0.05.

    `rate_hz` is the baseline, `song_s` the time that calls sound in all. The score of a band grows with
    (gain - 1) sqrt(rate_hz song_s), as a count's deviation over its own spread; the constant is that of simulated mouse
    song, bands of 9 to 11 kHz and noise twice as wide as Poisson's. inf without spikes or song.
    """
    expected = rate_hz * song_s
    return 1 + HALF_FOUND / float(np.sqrt(expected)) if expected > 0 else float("inf")
