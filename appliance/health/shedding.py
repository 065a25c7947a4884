"""What load is shed, step by step, while memory is short. Pure functions of values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from appliance.health.heat import Heat
from appliance.health.pressure import Level
from appliance.values import Plan

_SECOND_NS = 1_000_000_000
_CALM_NS = 5 * _SECOND_NS  # so long a step was not needed before it is undone
_HOPELESS_NS = 60 * _SECOND_NS  # so long memory stays critical with all else shed before a restart
_LEAST_LIFE_NS = 600 * _SECOND_NS  # a start under pressure is not followed by another at once
_RARE_NS = 1_000_000_000


class Step(IntEnum):
    """The ladder: each step sheds what those before it do, and more; but ``VOICE_ONLY`` has visemes again."""

    ALL = 0
    RARE_SEARCHES = 1
    HALF_RATE = 2
    SMALL_BATCHES = 3
    NO_VISEMES = 4
    POOLS_RELEASED = 5
    VOICE_ONLY = 6
    RESTART = 7


@dataclass(frozen=True, slots=True)
class Shedding:
    """How far down the ladder it is."""

    step: Step = Step.ALL
    taken_ns: int = 0  # CLOCK_MONOTONIC, when the step was taken
    needed_ns: int = 0  # when it was last needed


_REACH: Mapping[Level, tuple[Step, Step]] = {  # taken at once, and step by step while the level lasts
    Level.NORMAL: (Step.ALL, Step.ALL),
    Level.HIGH: (Step.RARE_SEARCHES, Step.SMALL_BATCHES),
    Level.CRITICAL: (Step.POOLS_RELEASED, Step.VOICE_ONLY),
}
_CLIMB_NS = {Level.NORMAL: 0, Level.HIGH: 2 * _SECOND_NS, Level.CRITICAL: _SECOND_NS}


def first_shedding(room: bool, now_ns: int) -> Shedding:
    """Where to begin: without the face, whose networks come when there is room for them, or with everything."""
    return Shedding(Step.ALL if room else Step.VOICE_ONLY, now_ns, now_ns)


def next_shedding(before: Shedding, level: Level, room: bool, now_ns: int, began_ns: int) -> Shedding:
    """Go down the ladder while memory is short, and back up one step at a time when it has been well for a while.

    ``room``: whether there is memory to load networks in. ``began_ns``: when the program did.
    """
    if before.step is Step.RESTART:
        return before
    least, most = _REACH[level]
    held_ns = now_ns - before.taken_ns
    if before.step < least:
        return Shedding(least, now_ns, now_ns)
    if before.step < most and held_ns >= _CLIMB_NS[level]:
        return Shedding(Step(before.step + 1), now_ns, now_ns)
    if before.step > most and (room or before.step < Step.VOICE_ONLY):
        if now_ns - before.needed_ns < _CALM_NS:
            return before
        return Shedding(Step(before.step - 1), now_ns, now_ns)
    hopeless = level is Level.CRITICAL and before.step is Step.VOICE_ONLY and held_ns >= _HOPELESS_NS
    if hopeless and now_ns - began_ns >= _LEAST_LIFE_NS:
        return Shedding(Step.RESTART, now_ns, now_ns)
    return replace(before, needed_ns=now_ns)


def plan_for(step: Step, heat: Heat) -> Plan:
    """What the stages may do. Heat costs frames alone: they are the work."""
    every = max(2 if step >= Step.HALF_RATE else 1, {Heat.COOL: 1, Heat.WARM: 2, Heat.HOT: 4}[heat])
    return Plan(
        search_ns=_RARE_NS if step >= Step.RARE_SEARCHES or heat is Heat.HOT else 0,
        every=every,
        batch=1 if step >= Step.SMALL_BATCHES else None,
        visemes=step < Step.NO_VISEMES or step >= Step.VOICE_ONLY,
        faces=step < Step.VOICE_ONLY,
    )
