"""How long a run will take and what it needs, from sizes that headers tell.

The figures are those of one core without a GPU, fitted to the run times that the workflow itself records
(`python benchmarks/estimates.py` sets them beside those of any finished run). They hold within a factor of two or so:
enough to tell an hour from a night, and 2 GB from 200.
"""

from dataclasses import dataclass

START_S = 2.0  # a process that starts and imports
TORCH_START_S = 3.0
# seconds for each ...
SPECTROGRAM_S = 1.2e-8  # sample of the sound
CALLS_S = 1.4e-2  # second of sound
BIN_S = 1.2e-8  # cell of the counts (bins x units)
CLIPS_S = 6e-8  # number in the clips
TUNE_S = 2e-6  # cell of the counts
BASELINES_S = 1.6e-6  # number in the clips
TRAIN_S = 1.0e-7  # number in the clips, epoch and model
EVALUATE_S = 1.8e-8  # number in the clips, posterior sample and model
MAP_S = 0.02  # unit and model
REPORT_S = 12.0
# bytes for each ...
TUNE_BYTES = 12  # cell of the counts
MODEL_BYTES = 30  # number in the clips
COUNTS_BYTES = 0.3  # cell of the counts, on disk
PYTHON_BYTES, TORCH_BYTES = 0.2e9, 0.5e9


@dataclass(frozen=True)
class SessionSize:
    """What decides on the cost of a session; zeros for what it lacks."""

    n_samples: int
    sound_s: float
    n_frames: int
    n_bands: int
    n_units: int
    n_count_bins: int
    n_clips: int
    numbers_a_clip: int

    @property
    def cells(self) -> int:
        """Numbers in counts.nc."""
        return self.n_units * self.n_count_bins

    @property
    def clip_numbers(self) -> int:
        return self.n_clips * self.numbers_a_clip

    @property
    def disk_bytes(self) -> float:
        """Spectrogram (float16, with times and flags), counts with their flags (deflated), clips (2 bytes a number)."""
        return self.n_frames * (2 * self.n_bands + 9) + COUNTS_BYTES * self.cells + 2 * self.clip_numbers

    @property
    def prepare_s(self) -> dict[str, float]:
        """Seconds of each step that prepares or describes the session."""
        return {
            "spectrogram": START_S + SPECTROGRAM_S * self.n_samples,
            "calls": START_S + CALLS_S * self.sound_s,
            "bin": START_S + BIN_S * self.cells,
            "clips": START_S + CLIPS_S * self.clip_numbers,
            "tune": START_S + TUNE_S * self.cells,
        }


@dataclass(frozen=True)
class Cost:
    """Core seconds by step, the memory of its largest job, and what the prepared files take."""

    seconds: dict[str, float]
    memory_bytes: float
    disk_bytes: float

    @property
    def total_s(self) -> float:
        return sum(self.seconds.values())


def cost_of(sessions: list[SessionSize], *, n_models: int, n_epochs: int, n_samples: int) -> Cost:
    """Cost of a run over `sessions` with `n_models` trainings of at most `n_epochs`, and `n_samples` in evaluation."""
    seconds: dict[str, float] = {}
    for session in sessions:
        for step, spent_s in session.prepare_s.items():
            seconds[step] = seconds.get(step, 0.0) + spent_s
    numbers = sum(session.clip_numbers for session in sessions)
    seconds["baselines"] = START_S + BASELINES_S * numbers
    seconds["train"] = n_models * (TORCH_START_S + TRAIN_S * numbers * n_epochs)
    seconds["evaluate"] = n_models * (2 * TORCH_START_S + EVALUATE_S * numbers * n_samples)
    seconds["map"] = TORCH_START_S + MAP_S * n_models * sum(session.n_units for session in sessions)
    seconds["report"] = REPORT_S
    memory = [PYTHON_BYTES + TUNE_BYTES * session.cells for session in sessions]
    return Cost(
        seconds=seconds,
        memory_bytes=max([*memory, TORCH_BYTES + MODEL_BYTES * numbers]),
        disk_bytes=sum(session.disk_bytes for session in sessions),
    )
