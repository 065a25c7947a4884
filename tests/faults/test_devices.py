"""Every fault is told, stops nobody else, and is over within 3 s of the device's return."""

from itertools import pairwise

import pytest

from .conftest import LOSS, Matrix
from .matrix import CAMERAS, FPS, HEIGHT_PX, MICROPHONES, STORM_PERIOD_S, STORM_RESETS, WELL, WIDTH_PX, Fault

RETURN_LIMIT_S = 3.0

ROWS = [pytest.param("camera", row, id=f"camera-{row.name}") for row in CAMERAS]
ROWS += [pytest.param("microphone", row, id=f"microphone-{row.name}") for row in MICROPHONES]


@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_a_fault_is_an_event_and_in_health_and_ends_with_its_cause(matrix: Matrix, kind: str, row: Fault) -> None:
    course = matrix.courses[kind, row.name]

    names = [event["event"] for event in course.events]
    assert course.shown, f"health never said {row.said!r}"
    assert (f"{kind}_poor" if row.poor else LOSS[kind]) in names
    assert course.back_s <= RETURN_LIMIT_S
    assert (course.after["error"], course.after["poor"]) == (None, None)


def test_nothing_else_stops(matrix: Matrix) -> None:
    times_ns = [frame["captured_ns"] for frame in matrix.frames]
    longest_s = max(later - earlier for earlier, later in pairwise(times_ns)) / 1e9

    assert len(matrix.frames) > 0.5 * FPS * matrix.lasted_s
    assert longest_s < 1.0
    assert [event for event in matrix.events if WELL in str(event.get("camera", event.get("microphone")))] == []
    assert matrix.exit_status == 0


@pytest.mark.parametrize("name", ["unplugged", "small-after-reopen", "small-for-good", "busy", "reset-storm"])
def test_a_camera_comes_back_at_the_size_and_rate_asked_for(matrix: Matrix, name: str) -> None:
    assert matrix.cameras[name].format == ("YUYV", WIDTH_PX, HEIGHT_PX, FPS)


def test_a_dead_device_is_no_spin(matrix: Matrix) -> None:
    assert 0 < matrix.cameras["enodev-spin"].saw("refused") < 100 * matrix.lasted_s


@pytest.mark.parametrize(("kind", "name"), [("camera", "reset-storm"), ("microphone", "storm")])
def test_a_storm_of_resets_is_no_storm_of_events(matrix: Matrix, kind: str, name: str) -> None:
    storm_s = 2 * STORM_RESETS * STORM_PERIOD_S

    assert len(matrix.courses[kind, name].events) <= 4 * storm_s
