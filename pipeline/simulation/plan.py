"""What a simulated session is made of, before it becomes files or counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.seeds import numpy_generator
from pipeline.simulation.neurons import Scenario, Tuning, Unit, draw_units
from pipeline.simulation.vocal_organ import Call, sing


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How sessions are simulated: the settings of the configuration's section `simulation`, which says what each is."""

    scenario: Scenario
    duration_s: float
    rate_hz: int
    habituation: float
    level_jitter_db: float
    jump_share: float
    harmonic_db: float
    noise_db: float
    second_animal_db: float | None
    tuning: Tuning
    band_width: float
    gain: float
    units_per_band: int
    n_vocal: int
    n_multiplexed: int
    n_suppressed: int
    n_movement: int
    n_unrelated: int
    movement_correlation: float
    drift_sd: float


@dataclass(frozen=True)
class Cast:
    """Who sings and who fires in a session.

    `calls`: of the recorded animal; `second_calls`: of another animal near the microphone; `heard_calls`: those that
    the units follow, which are `calls` but where they follow another session. Each list is sorted by start.
    """

    calls: list[Call]
    second_calls: list[Call]
    heard_calls: list[Call]
    units: list[Unit]

    @property
    def all_calls(self) -> list[Call]:
        """What the microphone hears, sorted by start."""
        return in_time(self.calls + self.second_calls)


def in_time(calls: Sequence[Call]) -> list[Call]:
    return sorted(calls, key=lambda call: call.start_s)


def draw_cast(name: str, *, seed: int, plan: Plan) -> Cast:
    """Draw songs and units of the session `name`; each has random draws of its own, whatever the others are."""

    def song(purpose: str) -> list[Call]:
        return sing(
            duration_s=plan.duration_s,
            habituation=plan.habituation,
            jump_share=plan.jump_share,
            level_jitter_db=plan.level_jitter_db,
            generator=numpy_generator(seed, name, purpose),
        )

    calls, second_calls = song("song"), []
    if plan.second_animal_db is not None:
        second_calls = [
            replace(call, jitter_db=call.jitter_db + plan.second_animal_db) for call in song("second animal")
        ]
    units = draw_units(
        scenario=plan.scenario,
        tuning=plan.tuning,
        band_width=plan.band_width,
        gain=plan.gain,
        units_per_band=plan.units_per_band,
        n_vocal=plan.n_vocal,
        n_multiplexed=plan.n_multiplexed,
        n_suppressed=plan.n_suppressed,
        n_movement=plan.n_movement,
        n_unrelated=plan.n_unrelated,
        seed=seed,
        name=name,
    )
    heard_calls = song("other session") if plan.scenario == "other_session" else calls
    return Cast(calls, second_calls, heard_calls, units)
