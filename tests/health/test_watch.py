import json
from collections.abc import Iterator
from dataclasses import replace

import jsonschema
import pytest

from appliance.errors import ShortOfMemoryError
from appliance.health import watch as watching
from appliance.health.readings import Reading
from appliance.health.shedding import Shedding, Step
from appliance.health.watch import Watch, own_resident_mb, shed, wire_name
from appliance.latest import Latest
from appliance.publish import wire
from appliance.settings import Memory
from appliance.values import EVERYTHING, Event, Plan

WELL = Reading(5000, 8000, 0, 0, 0, temperatures_c={"tj": 50.0})
SHORT = replace(WELL, available_mb=300)
HOT = replace(WELL, temperatures_c={"tj": 94.0}, throttled=("cpufreq-cpu0",))


class Told:
    """Readings one after the other; the last one again and again."""

    def __init__(self, *readings: Reading) -> None:
        self._readings = list(readings)
        self.closed = False

    def read(self) -> Reading:
        return self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def plan() -> Latest[Plan]:
    return Latest(EVERYTHING)


@pytest.fixture
def events() -> list[Event]:
    return []


def watch(plan: Latest[Plan], events: list[Event], *readings: Reading) -> Watch:
    return Watch(Told(*readings), Memory(), plan, events.append)


def test_the_plan_is_on_the_shelf_before_anything_is_loaded(plan: Latest[Plan], events: list[Event]) -> None:
    watch(plan, events, SHORT)

    assert not plan.get().faces
    assert [(event.name, event.details["step"]) for event in events] == [("load_shed", "voice_only")]


def test_a_start_with_room_has_everything_and_tells_nothing(plan: Latest[Plan], events: list[Event]) -> None:
    watch(plan, events, WELL)

    assert (plan.get(), events) == (EVERYTHING, [])


def test_pressure_and_the_step_that_it_costs_are_told_once(plan: Latest[Plan], events: list[Event]) -> None:
    look = watch(plan, events, WELL, SHORT)

    judged = [look.look(), look.look()][-1]

    assert [event.name for event in events] == ["pressure_changed", "load_shed"]
    assert events[0].details == {"level": "critical", "sign": "available", "available_mb": 300}
    assert (events[1].details["step"], events[1].details["before"]) == ("pools_released", "all")
    assert judged.shedding.step is Step.POOLS_RELEASED
    assert not plan.get().visemes


def test_heat_and_what_slows_down_are_told_and_cost_frames(plan: Latest[Plan], events: list[Event]) -> None:
    look = watch(plan, events, WELL, HOT, WELL)

    look.look()
    hot = plan.get()
    look.look()

    assert hot.every == 4
    assert plan.get() == EVERYTHING
    assert [event.details["heat"] for event in events] == ["hot", "cool"]
    assert events[0].details["throttled"] == ["cpufreq-cpu0"]


def test_only_when_nothing_helps_it_complains(plan: Latest[Plan], events: list[Event]) -> None:
    look = watch(plan, events, SHORT)
    look.complain()
    look.judged = replace(look.judged, shedding=Shedding(Step.RESTART))

    assert look.hopeless
    with pytest.raises(ShortOfMemoryError, match=r"memory\.critical_mb = 400 .* new start") as raised:
        look.complain()
    assert raised.value.exit_status not in (0, 78)  # systemd starts it again


def test_every_step_is_in_the_schema_of_health() -> None:
    steps = wire.schema("health")["properties"]["load"]["properties"]["step"]["enum"]

    assert steps == [wire_name(step) for step in Step]
    assert shed(Step.ALL) == []
    assert shed(Step.SMALL_BATCHES) == ["rare_searches", "half_rate", "small_batches"]


def test_events_are_what_the_schema_says(plan: Latest[Plan], events: list[Event]) -> None:
    look = watch(plan, events, WELL, SHORT, HOT)
    look.look()
    look.look()

    for event in events:
        jsonschema.validate(json.loads(wire.encode_event(event, 1)), wire.schema("event"))
    assert len(events) >= 4


@pytest.fixture
def freed() -> Iterator[None]:
    """Half a gigabyte in small pieces, given back to the allocator, which keeps it."""
    pieces = [bytes(2000) for _ in range(250_000)]
    del pieces[::2]
    del pieces[:-1]
    yield
    del pieces


def test_what_was_freed_goes_back_to_the_system(freed: None) -> None:
    before_mb = own_resident_mb()

    watching.trim()

    assert own_resident_mb() < before_mb
