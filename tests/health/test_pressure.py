import itertools
from dataclasses import replace

import pytest

from appliance.health.pressure import Level, Pressure, has_room, next_pressure
from appliance.health.readings import Reading

NORMAL, HIGH, CRITICAL = Level.NORMAL, Level.HIGH, Level.CRITICAL


def reading(available_mb: int = 5000, total_mb: int = 8000, **rest: float) -> Reading:
    return replace(Reading(available_mb, total_mb, swap_used_mb=0, swap_total_mb=0, read_ns=0), **rest)


def judged(said: Reading, before: Level) -> Level:
    return next_pressure(said, 900, 400, Pressure(before)).level


@pytest.mark.parametrize(
    ("available_mb", "before", "expected"),
    [
        (5000, NORMAL, NORMAL),
        (900, NORMAL, NORMAL),
        (899, NORMAL, HIGH),
        (399, NORMAL, CRITICAL),
        (400, NORMAL, HIGH),
        (1000, HIGH, HIGH),  # came back, but not by 15 percent
        (1036, HIGH, NORMAL),
        (399, HIGH, CRITICAL),
        (450, CRITICAL, CRITICAL),
        (461, CRITICAL, HIGH),
        (1000, CRITICAL, HIGH),
        (2000, CRITICAL, NORMAL),
        (0, NORMAL, CRITICAL),
    ],
)
def test_pressure_rises_at_once_and_falls_with_hysteresis(available_mb: int, before: Level, expected: Level) -> None:
    assert judged(reading(available_mb), before) is expected


@pytest.mark.parametrize(
    ("signs", "before", "expected"),
    [
        ({"psi_some_avg10": 9.0}, NORMAL, NORMAL),
        ({"psi_some_avg10": 11.0}, NORMAL, HIGH),
        ({"psi_some_avg10": 6.0}, HIGH, HIGH),
        ({"psi_some_avg10": 4.0}, HIGH, NORMAL),
        ({"psi_some_avg10": 90.0, "psi_full_avg10": 9.0}, NORMAL, HIGH),  # some wait, but work goes on
        ({"psi_some_avg10": 90.0, "psi_full_avg10": 11.0}, NORMAL, CRITICAL),
        ({"psi_some_avg10": 9.0, "psi_full_avg10": 6.0}, CRITICAL, CRITICAL),
        ({"lfb_mb": 1.0}, NORMAL, NORMAL),
        ({"lfb_mb": 0.5}, NORMAL, HIGH),
        ({"lfb_mb": 0.0}, NORMAL, HIGH),
        ({"lfb_mb": 1.0}, HIGH, HIGH),
        ({"lfb_mb": 4.0}, HIGH, NORMAL),
    ],
)
def test_stalls_and_small_blocks_count_as_well(signs: dict[str, float], before: Level, expected: Level) -> None:
    assert judged(reading(1500, **signs), before) is expected


def test_small_blocks_where_most_of_memory_is_cache_mean_nothing() -> None:
    assert judged(reading(5000, lfb_mb=0.25), NORMAL) is NORMAL


def swapping(megabytes_each_second: int, available_mb: int) -> Pressure:
    pressure = Pressure()
    for second in range(30):
        said = reading(available_mb, swap_used_mb=megabytes_each_second * second, read_ns=second * 1_000_000_000)
        pressure = next_pressure(said, 900, 400, pressure)
    return pressure


@pytest.mark.parametrize(
    ("megabytes_each_second", "available_mb", "expected"),
    [(5, 1500, NORMAL), (10, 1500, HIGH), (100, 1500, HIGH), (100, 5000, NORMAL), (10, 700, HIGH), (30, 700, CRITICAL)],
)
def test_swap_that_grows_tells_of_what_comes(megabytes_each_second: int, available_mb: int, expected: Level) -> None:
    assert swapping(megabytes_each_second, available_mb).level is expected


def test_swap_that_was_used_long_ago_means_nothing() -> None:
    pressure = Pressure()
    for second in range(30):
        pressure = next_pressure(reading(swap_used_mb=3000, read_ns=second * 1_000_000_000), 900, 400, pressure)

    assert pressure.level is NORMAL
    assert len(pressure.swapped) <= 11  # what is older than ten seconds is forgotten


def test_the_sign_that_raised_the_level_is_named() -> None:
    stalled = next_pressure(reading(psi_some_avg10=50.0), 900, 400, Pressure())
    short = next_pressure(reading(300, psi_some_avg10=50.0), 900, 400, Pressure())

    assert (stalled.sign, short.sign, Pressure().sign) == ("stalls", "available", "")


def test_memory_that_hovers_about_a_limit_changes_the_level_once() -> None:
    levels = list(
        itertools.accumulate(
            [895, 905] * 20,
            lambda before, available_mb: next_pressure(reading(available_mb), 900, 400, before),
            initial=Pressure(),
        )
    )

    changes = sum(before.level is not after.level for before, after in itertools.pairwise(levels))
    assert changes == 1


def test_a_machine_that_does_not_tell_its_memory_is_not_short() -> None:
    assert judged(reading(0, total_mb=0), NORMAL) is NORMAL


@pytest.mark.parametrize(
    ("said", "room"),
    [
        (reading(5000), True),
        (reading(650), False),
        (reading(670), True),
        (reading(1500, lfb_mb=0.5), False),
        (reading(1500, lfb_mb=2.0), True),
        (reading(5000, lfb_mb=0.5), True),  # the kernel makes larger ones of its cache
        (reading(0, total_mb=0), True),
    ],
)
def test_networks_have_room_where_loading_them_leaves_memory_well_above_critical(said: Reading, room: bool) -> None:
    assert has_room(said, high_mb=900, critical_mb=400) is room
