import itertools

import pytest

from appliance.health.heat import Heat, next_heat
from appliance.health.readings import Reading

COOL, WARM, HOT = Heat.COOL, Heat.WARM, Heat.HOT


def reading(celsius: float, throttles_at_c: float | None = 99.0, throttled: tuple[str, ...] = ()) -> Reading:
    temperatures_c = {"cpu-thermal": 40.0, "tj-thermal": celsius, "iwlwifi": 120.0, "nvme": 99.0}
    return Reading(
        5000, 8000, 0, 0, 0, temperatures_c=temperatures_c, throttles_at_c=throttles_at_c, throttled=throttled
    )


@pytest.mark.parametrize(
    ("celsius", "before", "expected"),
    [
        (60, COOL, COOL),
        (89, COOL, COOL),
        (89.5, COOL, WARM),
        (95.5, COOL, HOT),
        (93, HOT, HOT),
        (91, HOT, WARM),
        (87, WARM, WARM),
        (85.9, WARM, COOL),
        (60, HOT, COOL),
    ],
)
def test_the_nearer_to_throttling_the_hotter_and_back_with_hysteresis(
    celsius: float, before: Heat, expected: Heat
) -> None:
    assert next_heat(reading(celsius), before) is expected


def test_a_board_that_does_not_say_where_it_throttles_is_taken_to_do_so_at_95() -> None:
    assert next_heat(reading(86, throttles_at_c=None), COOL) is WARM


def test_a_device_that_is_slowed_down_is_hot_whatever_its_sensors_say() -> None:
    assert next_heat(reading(50, throttled=("cpufreq-cpu0",)), COOL) is HOT


def test_a_device_without_sensors_is_cool() -> None:
    assert next_heat(Reading(5000, 8000, 0, 0, 0), HOT) is COOL


def test_a_temperature_that_hovers_changes_the_level_once() -> None:
    readings = [reading(88.5), reading(89.5)] * 20
    levels = list(itertools.accumulate(readings, lambda before, said: next_heat(said, before), initial=COOL))

    assert sum(before is not after for before, after in itertools.pairwise(levels)) == 1
