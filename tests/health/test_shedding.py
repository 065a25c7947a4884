import itertools
from collections.abc import Iterable

import pytest

from appliance.health.heat import Heat
from appliance.health.pressure import Level
from appliance.health.shedding import Shedding, Step, first_shedding, next_shedding, plan_for
from appliance.values import Plan

NORMAL, HIGH, CRITICAL = Level.NORMAL, Level.HIGH, Level.CRITICAL
SECOND_NS = 1_000_000_000
BEGAN_NS = 5 * SECOND_NS


def course(spans: Iterable[tuple[Level, float]], room: bool = True, start: Step = Step.ALL) -> list[tuple[float, Step]]:
    """The steps taken, each with its second, while each level lasts for so many seconds; a look each half second."""
    shedding, now_ns = Shedding(start, BEGAN_NS, BEGAN_NS), BEGAN_NS
    taken: list[tuple[float, Step]] = []
    for level, seconds in spans:
        for _ in range(round(seconds * 2)):
            following = next_shedding(shedding, level, room, now_ns, BEGAN_NS)
            if following.step is not shedding.step:
                taken.append(((now_ns - BEGAN_NS) / SECOND_NS, following.step))
            shedding, now_ns = following, now_ns + SECOND_NS // 2
    return taken


def test_nothing_is_shed_while_memory_is_there() -> None:
    assert course([(NORMAL, 60)]) == []


def test_high_pressure_sheds_at_once_and_more_as_long_as_it_lasts_but_no_network() -> None:
    taken = course([(HIGH, 60)])

    assert taken == [(0, Step.RARE_SEARCHES), (2, Step.HALF_RATE), (4, Step.SMALL_BATCHES)]


def test_critical_pressure_releases_pools_at_once_and_the_face_a_second_later() -> None:
    assert course([(CRITICAL, 20)]) == [(0, Step.POOLS_RELEASED), (1, Step.VOICE_ONLY)]


def test_steps_are_undone_one_by_one_each_after_five_calm_seconds() -> None:
    taken = course([(CRITICAL, 2), (NORMAL, 60)])

    assert [step for _, step in taken[2:]] == [Step(number) for number in range(5, -1, -1)]
    seconds = [second for second, _ in taken[1:]]
    assert all(later - earlier >= 5 for earlier, later in itertools.pairwise(seconds))


def test_pressure_that_comes_and_goes_undoes_nothing() -> None:
    taken = course([(HIGH, 5), *[(NORMAL, 3), (HIGH, 1)] * 20])

    assert [step for _, step in taken] == [Step.RARE_SEARCHES, Step.HALF_RATE, Step.SMALL_BATCHES]


def test_the_face_comes_back_under_high_pressure_only_where_there_is_room_for_its_networks() -> None:
    assert course([(HIGH, 60)], room=False, start=Step.VOICE_ONLY) == []
    assert course([(HIGH, 60)], room=True, start=Step.VOICE_ONLY)[-1][1] is Step.SMALL_BATCHES


def test_without_room_the_face_stays_away_though_memory_is_normal() -> None:
    assert course([(NORMAL, 60)], room=False, start=Step.VOICE_ONLY) == []
    assert course([(NORMAL, 60)], room=False, start=Step.POOLS_RELEASED)[-1][1] is Step.ALL


def test_after_a_minute_without_help_it_starts_anew_but_not_within_ten_minutes_of_its_start() -> None:
    taken = course([(CRITICAL, 700)])

    assert taken[-1] == (600, Step.RESTART)
    assert course([(CRITICAL, 599)])[-1][1] is Step.VOICE_ONLY
    assert course([(NORMAL, 700), (CRITICAL, 50)])[-1][1] is Step.VOICE_ONLY
    assert course([(NORMAL, 700), (CRITICAL, 62)])[-1][1] is Step.RESTART


def test_a_start_without_room_begins_with_the_voice_alone() -> None:
    assert first_shedding(room=False, now_ns=7).step is Step.VOICE_ONLY
    assert first_shedding(room=True, now_ns=7).step is Step.ALL


@pytest.mark.parametrize(
    ("step", "heat", "plan"),
    [
        (Step.ALL, Heat.COOL, Plan()),
        (Step.ALL, Heat.WARM, Plan(every=2)),
        (Step.ALL, Heat.HOT, Plan(every=4, search_ns=SECOND_NS)),
        (Step.RARE_SEARCHES, Heat.COOL, Plan(search_ns=SECOND_NS)),
        (Step.HALF_RATE, Heat.COOL, Plan(search_ns=SECOND_NS, every=2)),
        (Step.HALF_RATE, Heat.HOT, Plan(search_ns=SECOND_NS, every=4)),
        (Step.SMALL_BATCHES, Heat.COOL, Plan(search_ns=SECOND_NS, every=2, batch=1)),
        (Step.NO_VISEMES, Heat.COOL, Plan(search_ns=SECOND_NS, every=2, batch=1, visemes=False)),
        (Step.POOLS_RELEASED, Heat.COOL, Plan(search_ns=SECOND_NS, every=2, batch=1, visemes=False)),
        (Step.VOICE_ONLY, Heat.COOL, Plan(search_ns=SECOND_NS, every=2, batch=1, faces=False)),
    ],
)
def test_each_step_and_each_heat_has_its_plan(step: Step, heat: Heat, plan: Plan) -> None:
    assert plan_for(step, heat) == plan
