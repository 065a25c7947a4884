import pytest

from appliance.health.pressure import Pressure, next_pressure
from appliance.health.readings import Reading

NORMAL, HIGH, CRITICAL = Pressure.NORMAL, Pressure.HIGH, Pressure.CRITICAL


def reading(available_mb: int, total_mb: int = 8000) -> Reading:
    return Reading(available_mb, total_mb, swap_used_mb=0, swap_total_mb=0, read_ns=0)


@pytest.mark.parametrize(
    ("available_mb", "previous", "expected"),
    [
        (5000, NORMAL, NORMAL),
        (900, NORMAL, NORMAL),
        (899, NORMAL, HIGH),
        (399, NORMAL, CRITICAL),
        (400, NORMAL, HIGH),
        (1000, HIGH, HIGH),  # came back, but not by 15 percent
        (1035, HIGH, NORMAL),
        (399, HIGH, CRITICAL),
        (450, CRITICAL, CRITICAL),
        (460, CRITICAL, HIGH),
        (1000, CRITICAL, HIGH),
        (2000, CRITICAL, NORMAL),
    ],
)
def test_pressure_rises_at_once_and_falls_with_hysteresis(
    available_mb: int, previous: Pressure, expected: Pressure
) -> None:
    assert next_pressure(reading(available_mb), 900, 400, previous) is expected


def test_memory_that_hovers_about_a_limit_changes_the_level_once() -> None:
    level, changes = NORMAL, 0
    for available_mb in [895, 905] * 20:
        following = next_pressure(reading(available_mb), 900, 400, level)
        changes += following is not level
        level = following

    assert changes == 1


def test_a_machine_that_does_not_tell_its_memory_is_not_short() -> None:
    assert next_pressure(reading(0, total_mb=0), 900, 400, NORMAL) is NORMAL
