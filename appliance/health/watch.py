"""From reading to plan: looks at the machine, judges it, and lays down what the stages may do."""

import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance import settings
from appliance.errors import ShortOfMemoryError
from appliance.health.heat import Heat, next_heat
from appliance.health.pressure import Pressure, has_room, next_pressure
from appliance.health.processes import tree
from appliance.health.readings import Reading
from appliance.health.shedding import Shedding, Step, first_shedding, next_shedding, plan_for
from appliance.health.sources import Readings
from appliance.latest import Latest
from appliance.values import Event, Plan

_TRIM_NS = 5_000_000_000  # so long after a step was taken what the stages let go is given back


@dataclass(frozen=True, slots=True)
class Judged:
    """A reading, and what was made of it."""

    reading: Reading
    pressure: Pressure = field(default_factory=Pressure)
    heat: Heat = Heat.COOL
    shedding: Shedding = field(default_factory=Shedding)


class Watch:
    """Keeps the plan on its shelf right. One thread looks at a time; the first look is made where it is built."""

    def __init__(
        self, readings: Readings, memory: settings.Memory, plan: Latest[Plan], report: Callable[[Event], None]
    ) -> None:
        self._readings = readings
        self._memory = memory
        self._plan = plan
        self._report = report
        self._began_ns = time.monotonic_ns()
        reading = readings.read()
        room = has_room(reading, memory.high_mb, memory.critical_mb)
        self.judged = Judged(reading, shedding=first_shedding(room, self._began_ns))
        if not room:
            self._tell_step(Step.ALL, self.judged)
        self._plan.put(plan_for(self.judged.shedding.step, Heat.COOL))

    def look(self) -> Judged:
        """Read, judge, put the plan on the shelf, tell what changed, and give freed memory back to the system."""
        before, reading = self.judged, self._readings.read()
        high_mb, critical_mb = self._memory.high_mb, self._memory.critical_mb
        pressure = next_pressure(reading, high_mb, critical_mb, before.pressure)
        room = has_room(reading, high_mb, critical_mb)
        heat = next_heat(reading, before.heat)
        now_ns = time.monotonic_ns()
        shedding = next_shedding(before.shedding, pressure.level, room, now_ns, self._began_ns)
        self.judged = Judged(reading, pressure, heat, shedding)
        self._plan.put(plan_for(shedding.step, heat))
        self._tell(before, self.judged)
        if shedding.step >= Step.POOLS_RELEASED and now_ns - shedding.taken_ns < _TRIM_NS:
            trim()
        return self.judged

    @property
    def hopeless(self) -> bool:
        """Whether all was shed, and only a new start is left."""
        return self.judged.shedding.step is Step.RESTART

    def complain(self) -> None:
        """Say why it ends, if it is for want of memory."""
        if self.hopeless:
            raise ShortOfMemoryError(
                f"memory stayed below memory.critical_mb = {self._memory.critical_mb} with all load shed, so this is a "
                "new start; if it comes again, end other programs, or set fewer cameras or camera.faces"
            )

    def close(self) -> None:
        """End reading."""
        self._readings.close()

    def _tell(self, before: Judged, now: Judged) -> None:
        if now.pressure.level is not before.pressure.level:
            available_mb = now.reading.available_mb
            details = {"level": now.pressure.level.value, "sign": now.pressure.sign, "available_mb": available_mb}
            self._report(Event("pressure_changed", details))
        if now.shedding.step is not before.shedding.step:
            self._tell_step(before.shedding.step, now)
        if now.heat is not before.heat or now.reading.throttled != before.reading.throttled:
            self._report(Event("heat_changed", {"heat": now.heat.value, "throttled": list(now.reading.throttled)}))

    def _tell_step(self, before: Step, now: Judged) -> None:
        step = now.shedding.step
        name = "load_shed" if step > before else "load_restored"
        resident_mb = own_resident_mb()
        details = {"step": wire_name(step), "before": wire_name(before), "resident_mb": resident_mb}
        self._report(Event(name, {**details, "available_mb": now.reading.available_mb}))


def wire_name(step: Step) -> str:
    """A step as the topics name it."""
    return step.name.lower()


def shed(step: Step) -> list[str]:
    """All steps in force."""
    return [wire_name(taken) for taken in Step if Step.ALL < taken <= step]


def own_resident_mb() -> float:
    """What all processes of this program hold; shared pages count once in each."""
    return round(sum(process.rss_mb for process in tree(os.getpid())), 1)


def trim() -> None:
    """Give what was freed back to the system: glibc keeps it otherwise."""
    ctypes.CDLL(None).malloc_trim(0)
