"""Small planted sessions: clips whose spikes follow the sound by a known rule."""

import numpy as np
import pytest

from pipeline.clips import SessionClips

FRAME_S = (np.arange(16) + 0.5) * 0.2 / 16
BIN_S = 0.05 + np.arange(10) * 0.01
FREQUENCY_HZ = np.linspace(40_000, 110_000, 8)
TUNED_BAND, LAG_S = 5, 0.02


@pytest.fixture
def make_clips():
    """make(n_clips=..., gain=..., seed=...): units 0 and 1 follow band 5 by 20 ms, unit 2 drifts, unit 3 does neither.

    `true_counts` of the returned pair is the expected count that was drawn from.
    """

    def make(*, n_clips=600, gain=3.0, drift=0.0, seed=0, session="s"):
        generator = np.random.default_rng(seed)
        start_s = np.arange(n_clips) * 0.2
        n_steps = n_clips * 40 + 80  # of 5 ms
        n_bands = len(FREQUENCY_HZ)
        tone = np.repeat(generator.random((n_steps // 20 + 1, n_bands)) < 0.3, 20, axis=0)[:n_steps]  # of 100 ms
        level_db = 20.0 * tone + generator.normal(0, 1, tone.shape)
        frames = (start_s[:, None] + FRAME_S) / 0.005
        spectrogram = level_db[frames.astype(int)].transpose(0, 2, 1).astype(np.float32)
        at = np.maximum((start_s[:, None] + BIN_S + 0.005 - LAG_S) / 0.005, 0).astype(int)
        sounding = tone[at, TUNED_BAND]  # (n_clips, n_bins)
        slow = np.exp(drift * np.sin(2 * np.pi * start_s / 120))[:, None] * np.ones(len(BIN_S))
        flat = np.ones_like(slow)
        true = np.stack([0.2 * gain**sounding, 0.1 * gain**sounding, 0.2 * slow, 0.2 * flat], axis=1)
        roles = np.array(["train", "validation", "train", "test", "train"])
        return (
            SessionClips(
                session=session,
                subject=session,
                spectrogram=spectrogram,
                counts=generator.poisson(true).astype(np.float32),
                present=np.ones((n_clips, 2), bool),
                start_s=start_s,
                call=np.full(n_clips, -1),
                bout=np.full(n_clips, -1),
                split=roles[(np.arange(n_clips) // (n_clips // 20)) % 5],
                unit_ids=[f"{session}|units|{unit}" for unit in range(4)],
                frequency_hz=FREQUENCY_HZ,
                frame_s=FRAME_S,
                bin_s=BIN_S,
                bin_width_s=0.01,
            ),
            true,
        )

    return make
