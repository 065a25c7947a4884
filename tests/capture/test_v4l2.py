import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from errno import EBUSY, ENODEV
from itertools import pairwise
from typing import Any

import pytest

from appliance import settings
from appliance.capture.supervisor import Cameras
from appliance.capture.v4l2 import captured_ns, needs_mjpg
from appliance.values import Event, Frame
from tests.devices.vcam import VirtualCamera

from .processes import alive, capture_processes, start_appliance, wait_until

LIMIT_S = 25.0


@contextmanager
def capturing(name: str, vcam: VirtualCamera, events: list[Event], **asked: Any) -> Iterator[Cameras]:
    camera = replace(settings.Camera(name=name, source=f"v4l2:{vcam.device}"), **asked)
    with Cameras([camera], events.append) as cameras:
        yield cameras


def frames_until(cameras: Cameras, enough: Callable[[list[Frame]], bool]) -> list[Frame]:
    """Take pictures until it is enough, copied: images do not keep."""
    frames: list[Frame] = []
    until = time.monotonic() + LIMIT_S
    for step in cameras.ready():
        frames += [replace(frame, image=frame.image.copy()) for frame in step if frame.image is not None]
        if enough(frames):
            return frames
        assert time.monotonic() < until, f"not enough within {LIMIT_S} s: {cameras.status()}"
    return frames


def rate_of(frames: list[Frame]) -> float:
    """Return the camera's rate by its own times: two pictures in a row are enough, so a busy machine does no harm."""
    stamps = [frame.captured_ns for frame in frames]
    return 1e9 / min(later - earlier for earlier, later in pairwise(stamps))


@pytest.mark.parametrize(
    ("width", "height", "fps", "mjpg"),
    [
        (640, 480, 30, False),
        (640, 480, 60, True),
        (1280, 720, 10, False),
        (1280, 720, 30, True),
        (1280, 720, 60, True),
        (1920, 1080, 5, False),
        (1920, 1080, 30, True),
    ],
)
def test_mjpg_is_asked_for_where_raw_pictures_exceed_usb_2(width: int, height: int, fps: int, mjpg: bool) -> None:
    assert needs_mjpg(width, height, fps) is mjpg


@pytest.mark.parametrize(
    ("driver_ms", "expected_ns"),
    [
        (4990.0, 4_990_000_000),
        (5000.0, 5_000_000_000),
        (5001.0, 5_000_000_000),  # in the future
        (3999.0, 5_000_000_000),  # older than any picture can be
        (0.0, 5_000_000_000),
        (-1.0, 5_000_000_000),
        (1.7e12, 5_000_000_000),  # wall clock
    ],
)
def test_a_timestamp_is_the_drivers_if_it_can_be(driver_ms: float, expected_ns: int) -> None:
    assert captured_ns(driver_ms, 5_000_000_000) == expected_ns


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ({"fps": 60}, ("MJPG", 1280, 720, 60)),
        ({"fps": 30}, ("MJPG", 1280, 720, 30)),
        ({"width": 640, "height": 480, "fps": 30}, ("YUYV", 640, 480, 30)),
        ({"width": 640, "height": 480, "fps": 15}, ("YUYV", 640, 480, 15)),
    ],
)
def test_the_camera_is_driven_as_the_settings_say(
    name: str, vcam: VirtualCamera, events: list[Event], asked: dict[str, int], got: tuple[str, int, int, int]
) -> None:
    with capturing(name, vcam, events, **asked) as cameras:
        frames = frames_until(cameras, lambda frames: len(frames) > 12)

    assert vcam.format == got
    assert rate_of(frames) == pytest.approx(got[3], rel=0.05)
    assert frames[0].image is not None
    assert frames[0].image.shape == (got[2], got[1], 3)
    assert events == []


def test_a_camera_that_knows_raw_pictures_only_is_used_as_fast_as_it_can(
    name: str, vcam: VirtualCamera, events: list[Event]
) -> None:
    vcam.command(no_mjpg=1)

    with capturing(name, vcam, events, fps=60) as cameras:
        frames = frames_until(cameras, lambda frames: len(frames) > 6)

    assert vcam.format == ("YUYV", 1280, 720, 13)
    assert frames[0].image is not None
    assert frames[0].image.shape == (720, 1280, 3)


@pytest.mark.parametrize(("wall_clock", "drivers"), [(0, True), (1, False)])
def test_pictures_carry_the_drivers_time_where_it_is_the_right_clock(
    name: str, vcam: VirtualCamera, events: list[Event], wall_clock: int, drivers: bool
) -> None:
    vcam.command(age_us=300_000, wall_clock=wall_clock)

    with capturing(name, vcam, events, width=320, height=240) as cameras:
        frames = frames_until(cameras, lambda frames: len(frames) > 12)

    youngest_ns = min(frame.received_ns - frame.captured_ns for frame in frames)
    assert (youngest_ns >= 300_000_000) is drivers
    assert youngest_ns > 0


def test_a_stalled_camera_is_noticed_within_two_seconds_and_comes_back(
    name: str, vcam: VirtualCamera, events: list[Event]
) -> None:
    with capturing(name, vcam, events, fps=60) as cameras:
        last = frames_until(cameras, lambda frames: len(frames) > 20)[-1]
        vcam.command(stalled=1)
        noticed_s = 0.0
        for step in cameras.ready():
            last = step[0] if step[0].image is not None else last
            if events:
                noticed_s = (time.monotonic_ns() - last.received_ns) / 1e9
                break
        vcam.command(stalled=0)
        again = frames_until(cameras, lambda frames: len(frames) > 30)

    assert noticed_s < 2.4
    assert [event.name for event in events] == ["camera_lost", "capture_restarted", "camera_back"]
    assert events[0].details["reason"] == f"no picture for 2 s after picture {last.sequence}"
    assert again[0].sequence > last.sequence
    assert vcam.saw("opened") == 2
    assert vcam.format == ("MJPG", 1280, 720, 60), "a reopened camera runs as fast as before"
    assert rate_of(again[5:]) == pytest.approx(60, rel=0.05)


def test_a_capture_process_that_waits_for_its_camera_ends_with_a_killed_appliance(
    name: str, vcam: VirtualCamera, events: list[Event]
) -> None:
    appliance = start_appliance(name, f"v4l2:{vcam.device}")
    (child,) = capture_processes(appliance.pid)
    vcam.command(stalled=1)

    appliance.kill()
    appliance.communicate()

    assert wait_until(lambda: not alive(child), 1.5)
    with capturing(name, vcam, events):  # takes over the ring, and removes it
        pass


def test_a_pulled_plug_is_no_spin_and_the_camera_comes_back_as_it_was(
    name: str, vcam: VirtualCamera, events: list[Event]
) -> None:
    with capturing(name, vcam, events, fps=60) as cameras:
        frames_until(cameras, lambda frames: len(frames) > 20)
        vcam.command(device_error=ENODEV)
        pulled = time.monotonic()
        frames_until(cameras, lambda _: time.monotonic() - pulled > 3)
        pulled_s = time.monotonic() - pulled
        refused = vcam.saw("refused")
        vcam.command(device_error=0)
        again = frames_until(cameras, lambda frames: len(frames) > 30)

    assert events[0].name == "camera_lost"
    assert "stopped giving pictures after picture" in str(events[0].details["reason"])
    assert events[-1].name == "camera_back"
    assert refused < 300 * pulled_s
    assert vcam.format == ("MJPG", 1280, 720, 60)
    assert rate_of(again[5:]) == pytest.approx(60, rel=0.05)


def test_a_camera_that_another_program_holds_says_how_to_find_it(
    name: str, vcam: VirtualCamera, events: list[Event]
) -> None:
    vcam.command(open_error=EBUSY)

    with capturing(name, vcam, events) as cameras:
        frames_until(cameras, lambda _: bool(events))

    assert f"{vcam.device} cannot be opened; see whether another program holds it (fuser" in str(events[0].details)


def test_truncated_pictures_are_dropped_with_one_event(name: str, vcam: VirtualCamera, events: list[Event]) -> None:
    with capturing(name, vcam, events) as cameras:
        frames_until(cameras, lambda frames: len(frames) > 10)
        vcam.command(sent_percent=70)
        fetched = vcam.saw("fetched")
        during = frames_until(cameras, lambda _: vcam.saw("fetched") > fetched + 10)
        vcam.command(sent_percent=0)
        again = frames_until(cameras, lambda frames: len(frames) > 10)

    assert [event.name for event in events] == ["picture_rejected"]
    assert events[0].details == {"camera": name, "reason": "empty or truncated", "dropped": True}
    assert len(during) < 5
    assert all(frame.image[360:].std() < 2 for frame in during + again if frame.image is not None), (
        "half a picture came"
    )
