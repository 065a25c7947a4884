import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance import settings
from appliance.capture.captured import pause_s
from appliance.capture.ring import SHARED_MEMORY
from appliance.capture.supervisor import Cameras
from appliance.values import Event, Frame

from .films import number_of, numbered
from .processes import alive, capture_processes, start_appliance, wait_until

LIMIT_S = 25.0


def collect(cameras: Cameras, enough: Callable[[list[Frame]], bool]) -> list[Frame]:
    """Take what comes until it is enough, copied: images do not keep."""
    frames: list[Frame] = []
    until = time.monotonic() + LIMIT_S
    for step in cameras.ready():
        frames += [replace(frame, image=None if frame.image is None else frame.image.copy()) for frame in step]
        if enough(frames):
            return frames
        assert time.monotonic() < until, f"not enough within {LIMIT_S} s: {cameras.status()}"
    return frames


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


def test_a_film_is_delivered_picture_by_picture_and_ends(name: str, film: Path, events: list[Event]) -> None:
    camera = settings.Camera(name=name, source=f"file:{film}", width=320, height=240)
    seen: list[tuple[int, int]] = []

    with Cameras([camera], events.append) as cameras:
        for step in cameras.ready():
            for frame in step:
                if frame.image is not None:
                    seen.append((frame.sequence, number_of(frame.image)))
                    assert 0 < frame.captured_ns <= frame.received_ns <= time.monotonic_ns()
        status = cameras.status()[name]

    assert [number for _, number in seen] == [sequence - 1 for sequence, _ in seen]
    assert seen[-1] == (30, 29)
    assert (status.pictures, status.dropped, status.restarts, status.error) == (30, 30 - len(seen), 0, "")
    assert len(seen) > 20
    assert events == []


def test_a_picture_stays_as_it_is_until_the_step_after_the_next(name: str, film: Path, events: list[Event]) -> None:
    camera = settings.Camera(name=name, source=f"file:{film}", width=320, height=240)
    last: tuple[Frame, int] | None = None

    with Cameras([camera], events.append) as cameras:
        for step in cameras.ready():
            image = step[0].image
            if last is not None and last[0].image is not None:
                assert number_of(last[0].image) == last[1]
            last = (step[0], number_of(image)) if image is not None else None


def test_a_missing_source_is_retried_while_the_other_camera_works(
    name: str, film: Path, tmp_path: Path, events: list[Event]
) -> None:
    missing = settings.Camera(name=f"{name}-x", source=f"file:{tmp_path}/later.mp4", width=320, height=240)
    good = settings.Camera(name=name, source=f"file:{film}", width=320, height=240, loop=True)

    with Cameras([missing, good], events.append) as cameras:
        seen = collect(cameras, lambda frames: frames[-1].sequence > 45)
        before = cameras.status()
        (tmp_path / "later.mp4").write_bytes(film.read_bytes())
        later = collect(cameras, lambda frames: any(f.camera == missing.name and f.image is not None for f in frames))

    assert sum(frame.camera == name and frame.image is not None for frame in seen) > 35
    quiet = [frame for frame in seen if frame.camera == missing.name]
    gaps_ns = np.diff([frame.captured_ns for frame in quiet])
    assert all(frame.image is None and frame.sequence == 0 for frame in quiet)
    assert len(quiet) >= 5
    assert gaps_ns.min() > 90_000_000
    assert not before[missing.name].live
    assert before[name].live
    assert "no film or picture at" in before[missing.name].error
    assert later[-1].camera
    of_missing = [event.name for event in events if event.details["camera"] == missing.name]
    assert of_missing == ["camera_lost", "camera_back"]
    assert all(event.details["camera"] == missing.name for event in events)


def test_a_killed_capture_process_is_started_again_and_numbers_go_on(
    name: str, film: Path, events: list[Event]
) -> None:
    camera = settings.Camera(name=name, source=f"file:{film}", width=320, height=240, loop=True)

    with Cameras([camera], events.append) as cameras:
        first = collect(cameras, lambda frames: frames[-1].sequence >= 10)
        for process in capture_processes(os.getpid()):
            os.kill(process, signal.SIGKILL)
        killed_ns = time.monotonic_ns()
        again = collect(cameras, lambda frames: "camera_back" in names(events) and frames[-1].image is not None)
        status = cameras.status()[name]

    assert names(events) == ["camera_lost", "capture_restarted", "camera_back"]
    assert events[0].details == {"camera": name, "reason": "the capture process ended with SIGKILL"}
    assert events[1].details["attempt"] == 1
    sequences = [frame.sequence for frame in first + again if frame.image is not None]
    assert sequences == sorted(set(sequences))
    assert again[-1].captured_ns > killed_ns
    assert (status.restarts, status.live) == (1, True)


def test_pauses_between_attempts_double_and_leave_three_seconds_to_come_back() -> None:
    assert [pause_s(attempt) for attempt in (1, 2, 3, 1000)] == [0.5, 1, 1, 1]


@pytest.mark.parametrize(
    ("channels", "words", "dropped"),
    [(1, "grey", False), (4, "4 channels", False), (0, "uint16", True)],
)
def test_an_odd_picture_is_an_event_once_and_never_a_crash(
    name: str, tmp_path: Path, events: list[Event], channels: int, words: str, dropped: bool
) -> None:
    still = tmp_path / "still.png"
    image = np.full((240, 320, channels or 1), 90, np.uint8 if channels else np.uint16)
    cv2.imwrite(str(still), image)
    camera = settings.Camera(name=name, source=f"file:{still}", width=320, height=240, fps=60, loop=True)

    with Cameras([camera], events.append) as cameras:
        frames = collect(cameras, lambda frames: len(frames) > 8 and bool(events))

    assert names(events) == ["picture_rejected"]
    assert words in str(events[0].details["reason"])
    assert events[0].details["dropped"] is dropped
    shapes = {frame.image.shape for frame in frames if frame.image is not None}
    assert shapes == (set() if dropped else {(240, 320, 3)})


def test_a_larger_film_is_scaled_to_the_settings(name: str, film: Path, events: list[Event]) -> None:
    camera = settings.Camera(name=name, source=f"file:{film}", width=160, height=120)

    with Cameras([camera], events.append) as cameras:
        frames = collect(cameras, lambda frames: frames[-1].image is not None)

    assert frames[-1].image is not None
    assert frames[-1].image.shape == (120, 160, 3)
    assert events[0].details["reason"] == "320x240, larger than the settings ask for; scaled down"


def test_a_password_is_neither_on_a_command_line_nor_in_an_event(name: str, events: list[Event]) -> None:
    camera = settings.Camera(name=name, source="rtsp://me:se/cr@et@127.0.0.1:9/stream")

    with Cameras([camera], events.append) as cameras:
        commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in capture_processes(os.getpid())]
        collect(cameras, lambda frames: bool(events))
        status = cameras.status()[name]

    assert len(commands) == 1
    for text in (*map(str, commands), str(events), status.error):
        assert "cr@et" not in text
    assert "rtsp://127.0.0.1:9/stream cannot be opened" in status.error


def test_gstreamer_without_it_says_which_opencv_has_it(name: str, events: list[Event]) -> None:
    if cv2.CAP_GSTREAMER in cv2.videoio_registry.getBackends():
        source, words = "gstreamer:videotestsrc num-buffers=3 ! nonsense", "GStreamer cannot run the pipeline"
    else:
        source, words = "gstreamer:videotestsrc", "use JetPack's or the distribution's python3-opencv"

    with Cameras([settings.Camera(name=name, source=source)], events.append) as cameras:
        collect(cameras, lambda frames: bool(events))

    assert words in str(events[0].details["reason"])


def test_an_appliance_killed_outright_leaves_no_process_and_a_ring_that_is_replaced(
    name: str, film: Path, events: list[Event]
) -> None:
    appliance = start_appliance(name, f"file:{film}")
    (child,) = capture_processes(appliance.pid)

    appliance.kill()
    appliance.communicate()

    assert wait_until(lambda: not alive(child), 2.0)
    assert (SHARED_MEMORY / f"avatar-{name}").exists()
    camera = settings.Camera(name=name, source=f"file:{film}", width=320, height=240)
    with Cameras([camera], events.append) as cameras:
        collect(cameras, lambda frames: frames[-1].image is not None)


def test_an_appliance_that_is_told_to_stop_stops_and_leaves_nothing(name: str, film: Path) -> None:
    appliance = start_appliance(name, f"file:{film}")
    (child,) = capture_processes(appliance.pid)

    os.kill(child, signal.SIGINT)  # as Ctrl-C in a terminal, which reaches the whole group
    time.sleep(0.2)
    still_there = alive(child)
    appliance.terminate()
    appliance.communicate(timeout=5)

    assert still_there
    assert appliance.returncode == 0
    assert not alive(child)


def test_a_capture_process_whose_ring_was_removed_says_why(name: str, film: Path) -> None:
    command = [sys.executable, "-m", "appliance.capture.process"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    order = {"ring": f"/dev/shm/avatar-{name}", "camera": {"name": name, "source": f"file:{film}"}}

    child.stdin.write(json.dumps(order).encode() + b"\n")
    child.stdin.flush()
    said = json.loads(child.stdout.readline())
    child.communicate(timeout=10)

    assert "no capture ring at" in said["failed"]
    assert "run the appliance as a system user" in said["failed"]
    assert child.returncode in (0, 1)  # 0 if it saw our end of the pipe first


def test_a_picture_that_is_truncated_is_dropped_with_an_event(name: str, tmp_path: Path, events: list[Event]) -> None:
    still = tmp_path / "still.jpg"
    still.write_bytes(cv2.imencode(".jpg", numbered(5))[1].tobytes()[:900])
    camera = settings.Camera(name=name, source=f"file:{still}", width=320, height=240)

    with Cameras([camera], events.append) as cameras:
        frames = collect(cameras, lambda frames: False)

    assert [event.details["reason"] for event in events] == ["empty or truncated"]
    assert all(frame.image is None for frame in frames)


def test_without_a_camera_steps_come_at_the_beat_until_it_is_stopped() -> None:
    came_ns: list[int] = []
    with Cameras([], lambda _: None) as cameras:
        for step in cameras.ready(beat_ns=20_000_000):
            assert step == []
            came_ns.append(time.monotonic_ns())
            if len(came_ns) == 30:
                cameras.stop()

    assert len(came_ns) == 30
    assert came_ns[-1] - came_ns[0] >= 28 * 20_000_000


def test_a_beat_comes_beside_a_quiet_camera_and_ends_with_the_last_film(
    name: str, film: Path, events: list[Event]
) -> None:
    camera = settings.Camera(name=name, source=f"file:{film}", width=320, height=240)

    with Cameras([camera], events.append) as cameras:
        steps = [len(step) for step in cameras.ready(beat_ns=10_000_000)]

    assert set(steps) == {0, 1}
    assert steps.count(0) > 30
    assert steps.count(1) > 20


def test_without_a_camera_or_a_beat_there_is_nothing_to_wait_for() -> None:
    with Cameras([], lambda _: None) as cameras:
        assert list(cameras.ready()) == []
