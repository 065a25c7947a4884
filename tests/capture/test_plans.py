"""Cameras under load plans: fewer pictures, or none and no process."""

import os
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import pytest
from devices.vcam import VirtualCamera

from appliance import settings
from appliance.capture.supervisor import Cameras
from appliance.health.processes import tree
from appliance.latest import Latest
from appliance.values import EVERYTHING, Event, Frame, Plan

LIMIT_S = 20.0


@pytest.fixture
def plan() -> Latest[Plan]:
    return Latest(EVERYTHING)


@pytest.fixture
def cameras(name: str, film: Path, events: list[Event], plan: Latest[Plan]) -> Iterator[Cameras]:
    camera = settings.Camera(name=name, source=f"file:{film}", width=320, height=240, loop=True)
    with Cameras([camera], events.append, plan) as cameras:
        yield cameras


def frames_of(cameras: Cameras) -> Iterator[Frame]:
    until_s = time.monotonic() + LIMIT_S
    for step in cameras.ready():
        assert time.monotonic() < until_s, cameras.status()
        yield from step


def pictures_of(cameras: Cameras) -> Iterator[Frame]:
    return (frame for frame in frames_of(cameras) if frame.image is not None)


def captures() -> int:
    """How many processes of ours hold memory."""
    return sum(use.rss_mb > 0 for use in tree(os.getpid())[1:])


def test_each_third_picture_is_given_and_none_of_the_others_is_missed(
    cameras: Cameras, plan: Latest[Plan], name: str
) -> None:
    list(islice(pictures_of(cameras), 10))
    missed = cameras.status()[name].dropped

    plan.put(Plan(every=3))
    thirds = list(islice(frames_of(cameras), 20))[2:]

    assert all(frame.image is not None for frame in thirds)  # it is not taken to be quiet
    steps = sorted(later.sequence - earlier.sequence for earlier, later in pairwise(thirds))
    assert steps[len(steps) // 2] == 3
    assert cameras.status()[name].dropped - missed <= sum(steps) - 3 * len(steps)


def worked_s() -> float:
    return sum(use.cpu_s for use in tree(os.getpid())[1:])


def test_a_camera_device_is_spared_the_decoding_of_pictures_that_nobody_wants(
    name: str, vcam: VirtualCamera, events: list[Event], plan: Latest[Plan]
) -> None:
    camera = settings.Camera(name=name, source=f"v4l2:{vcam.device}", width=1280, height=720, fps=30)
    with Cameras([camera], events.append, plan) as cameras:
        list(islice(pictures_of(cameras), 15))
        began_s = worked_s()
        list(islice(pictures_of(cameras), 60))  # two seconds
        all_s = worked_s() - began_s
        plan.put(Plan(every=3))
        list(islice(pictures_of(cameras), 3))
        began_s = worked_s()
        thirds = list(islice(pictures_of(cameras), 30))  # three seconds
        thirds_s = (worked_s() - began_s) / 1.5

    steps = sorted(later.sequence - earlier.sequence for earlier, later in pairwise(thirds))
    assert steps[len(steps) // 2] == 3
    assert thirds_s < all_s / 1.5
    assert events == []  # least of all that it is slow


def test_no_plan_makes_a_slow_camera_seem_to_have_stalled(name: str, film: Path, events: list[Event]) -> None:
    camera = settings.Camera(name=name, source=f"file:{film}", width=320, height=240, fps=8)
    with Cameras([camera], events.append, Latest(Plan(every=4))) as cameras:
        few = list(islice(pictures_of(cameras), 5))

    assert [later.sequence - earlier.sequence for earlier, later in pairwise(few)] == [1, 1, 1, 1]


def test_while_faces_are_not_planned_there_is_no_process_and_time_passes(
    cameras: Cameras, plan: Latest[Plan], name: str, events: list[Event]
) -> None:
    first = next(pictures_of(cameras))
    running = captures()

    plan.put(Plan(faces=False))
    resting = list(islice(frames_of(cameras), 30))[5:]
    status, rests = cameras.status()[name], captures()
    plan.put(EVERYTHING)
    again = next(pictures_of(cameras))

    assert (running, rests) == (1, 0)
    assert all(frame.image is None for frame in resting)
    gaps_ms = sorted((later.captured_ns - earlier.captured_ns) / 1e6 for earlier, later in pairwise(resting))
    assert 30 <= gaps_ms[len(gaps_ms) // 2] < 60
    assert (status.live, status.error) == (False, "it rests while memory is short")
    assert again.sequence > first.sequence
    assert (cameras.status()[name].restarts, cameras.status()[name].error, events) == (0, "", [])


def test_a_camera_that_was_lost_before_it_rested_is_looked_for_again(
    name: str, film: Path, tmp_path: Path, events: list[Event], plan: Latest[Plan]
) -> None:
    path = tmp_path / "later.mp4"
    camera = settings.Camera(name=name, source=f"file:{path}", width=320, height=240, loop=True)
    with Cameras([camera], events.append, plan) as cameras:
        for _ in frames_of(cameras):
            if events:
                break
        plan.put(Plan(faces=False))
        list(islice(frames_of(cameras), 10))
        path.write_bytes(film.read_bytes())
        plan.put(EVERYTHING)
        next(pictures_of(cameras))

    assert (events[0].name, events[-1].name) == ("camera_lost", "camera_back")
