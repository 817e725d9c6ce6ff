"""Which pulse of one device is which of the other: with pulses that one of them missed or made up.

The clocks differ by an unknown offset and a drift. Pulses of a short stretch of sound vote for the offsets at which
they meet pulses of the NWB file; the offset that most stretches agree on is followed through the recording, stretch by
stretch, so that a drift that changes is followed too. Then the answer has to stand two trials, or there is none: it
must be next to impossible among pulses that have nothing to do with each other, and no other offset may fit almost as
well (of a steady train, every whole period does).
"""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import InputError
from pipeline.pulses import Pulses
from pipeline.pulses.evidence import Trial, bent, short_interval
from pipeline.pulses.stretches import follow, propose

LEAST_SHARE = 1 / 3  # of the pulses of the sparser side, where both devices listened, that must be matched
LARGEST_CHANCE = 1e-4  # expected number of offsets that do as well among unrelated pulses
LEAST_STEADY = 5  # pulses of a steady train, whose counts have to tell the offset
RIVAL_SHARE = 0.6  # of the matched pulses: an offset that matches more than this share competes
CLEAR_SHARE = 0.8  # matched by one start: others need not be followed
MEND = (
    "pulses at random intervals tell the offset; or give it roughly, as in wav:1@nwb:/PATH@12.5 (NWB time = audio time "
    "+ offset); or list the matched pulses in a CSV with the columns audio_s, nwb_s"
)


@dataclass(frozen=True, eq=False)
class Matched:
    """Pulses that both devices saw, Shape (n_matched,) each, increasing; and how many only one of them saw.

    `share`: of the pulses that both could see, of the device that saw fewer.
    """

    audio_s: np.ndarray
    nwb_s: np.ndarray
    n_audio_only: int
    n_nwb_only: int
    share: float


def match_pulses(audio: Pulses, nwb: Pulses, *, tolerance_s: float, offset_s: float | None) -> Matched:
    """Pair the pulses of two devices whose clocks differ by an offset and a drift of up to 200 ppm.

    `tolerance_s`: how far a pair may be from the common drift. `offset_s`: NWB time minus audio time at the first
    pulse, where it is roughly known: of several offsets that fit, the nearest is taken.

    Raises InputError where the pulses have nothing to do with each other or fit at several offsets.
    """
    if not (len(audio) and len(nwb)):
        raise _failed("one device saw no pulse", audio, nwb)
    if len(audio) == len(nwb) == 1:
        return Matched(audio.onset_s, nwb.onset_s, 0, 0, 1.0)
    if min(len(audio), len(nwb)) < 2:
        raise _failed("one pulse cannot be told among several", audio, nwb)
    # times from the first pulses on: clocks may count from 1970
    zero_a, zero_b = audio.onset_s[0], nwb.onset_s[0]
    a, b = audio.onset_s - zero_a, nwb.onset_s - zero_b
    spans = audio.spans_s - zero_a, nwb.spans_s - zero_b
    tolerance_s = min(tolerance_s, 0.25 * short_interval(a), 0.25 * short_interval(b))
    hint_s = None if offset_s is None else offset_s + zero_a - zero_b
    trials = []
    for start in propose(a, b, tolerance_s=tolerance_s, offset_s=hint_s):
        followed = follow(a, b, start, tolerance_s=tolerance_s)
        if len(followed) >= 2:
            trials.append(Trial(a, b, spans, bent(a, b, followed), tolerance_s=tolerance_s))
            if trials[-1].share > CLEAR_SHARE:
                break  # other offsets are tried as rivals below
    best = max(trials, key=lambda trial: (trial.n_matched, -trial.n_missed), default=None)
    if best is None or best.n_matched < 2:
        raise _failed("the pulses of sound and NWB have nothing in common", audio, nwb)
    best, rivals = _with_rivals(best, hint_s)
    enough = best.n_matched >= LEAST_STEADY if best.steady else best.chance() <= LARGEST_CHANCE
    if best.share < LEAST_SHARE or not enough:
        found = f"at best {best.n_matched} pulses go together, {best.share:.0%} of those that both could see"
        raise _failed("the pulses of sound and NWB have too little in common", audio, nwb, found)
    rival = _undecided(best, rivals, hint_s)
    if rival is not None:
        found = (
            f"{best.n_matched} pulses match at an offset of {best.shift_s + zero_b - zero_a:.6g} s, "
            f"{rival.n_matched} at {rival.shift_s + zero_b - zero_a:.6g} s"
        )
        raise _failed("the pulses fit at several offsets (are their intervals all alike?)", audio, nwb, found)
    best = best.refined()
    pairs = best.pairs
    return Matched(
        a[pairs[:, 0]] + zero_a,
        b[pairs[:, 1]] + zero_b,
        n_audio_only=len(a) - len(pairs),
        n_nwb_only=len(b) - len(pairs),
        share=best.share,
    )


def _with_rivals(best: Trial, hint_s: float | None) -> tuple[Trial, list[Trial]]:
    """The best of all offsets that share the drift, or the one nearest to what is known; and those that compete."""
    trials = [best, *(best.moved(shift_s) for shift_s in best.shifts())]
    most = max(trial.n_matched for trial in trials)
    trials = [trial for trial in trials if trial.n_matched > RIVAL_SHARE * most]
    if hint_s is None:
        trials.sort(key=lambda trial: (trial.n_missed - trial.n_matched, abs(trial.shift_s)))
    else:
        trials.sort(key=lambda trial: abs(trial.shift_s - hint_s))
    return trials[0], [trial for trial in trials[1:] if trial.differs_from(trials[0])]


def _undecided(best: Trial, rivals: list[Trial], hint_s: float | None) -> Trial | None:
    """A rival that cannot be ruled out.

    It is, where every pulse is matched at the best offset, while here one was missed by a device that listened; or
    where the known offset is at least three times as near to the best one.
    """
    if hint_s is not None:
        off_s = abs(best.shift_s - hint_s)
        return next((rival for rival in rivals if abs(rival.shift_s - hint_s) < 3 * off_s), None)
    return next((rival for rival in rivals if best.n_missed or not rival.n_absent), None)


def _failed(what: str, audio: Pulses, nwb: Pulses, found: str = "") -> InputError:
    seen = "; ".join(
        f"{side.where}: {len(side)} pulses"
        + (f" from {side.onset_s[0]:.6g} to {side.onset_s[-1]:.6g} s" if len(side) else "")
        + (f" ({side.level})" if side.level else "")
        for side in (audio, nwb)
    )
    return InputError(f"sync: {what}", where=seen, found=found or None, mend=MEND)
