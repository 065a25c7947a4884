"""The face stage with its real networks, on faces whose places are known."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.daemon import build_tracker
from appliance.face.tracker import Tracker
from appliance.settings import Camera, Settings
from appliance.values import Face, Frame, Image, TrackingState

STEP_NS = 33_000_000
SIZE = (720, 1280)
HEAD = (slice(20, 230), slice(125, 335))  # of the photograph: hair, face and chin
HEAD_PX = 330


@pytest.fixture(scope="module")
def head(photograph: Path) -> Image:
    picture = cv2.imread(str(photograph))
    return np.asarray(cv2.resize(picture[HEAD], (HEAD_PX, HEAD_PX), interpolation=cv2.INTER_CUBIC), np.uint8)


def tracker_for(desk: Settings, *cameras: Camera) -> Tracker:
    return build_tracker(cameras, desk.storage.models, desk.engines.runner)


def scene(*heads: tuple[Image, float, float]) -> Image:
    """Heads with their left upper corners at x, y; what leaves the picture is cut off."""
    picture = np.full((*SIZE, 3), 120, np.uint8)
    for image, x, y in heads:
        left, top = round(x), round(y)
        right, bottom = min(left + HEAD_PX, SIZE[1]), min(top + HEAD_PX, SIZE[0])
        if right > max(left, 0):
            picture[top:bottom, max(left, 0) : right] = image[: bottom - top, max(-left, 0) : right - left]
    return picture


def play(tracker: Tracker, pictures: Iterator[Image], start: int = 1, camera: str = "cam0") -> list[list[Face]]:
    return [
        tracker.read([Frame(camera, number, number * STEP_NS, picture)])
        for number, picture in enumerate(pictures, start=start)
    ]


def nose_x(face: Face) -> float:
    """Where the head is, metres to the right of the camera."""
    assert face.expression is not None
    return face.expression.head.position_m[0]


def test_two_people_have_a_slot_each_and_keep_it(head: Image, desk: Settings) -> None:
    tracker = tracker_for(desk, Camera("cam0", "file:x", faces=2))
    other = np.ascontiguousarray(head[:, ::-1])

    seen = play(tracker, (scene((head, 100, 150), (other, 800, 200)) for _ in range(45)))

    assert [face.state for face in seen[-1]] == [TrackingState.TRACKING] * 2
    assert len({face.session for face in seen[-1]}) == 2
    assert sorted(nose_x(face) for face in seen[-1])[0] < 0 < sorted(nose_x(face) for face in seen[-1])[1]


def test_people_who_pass_before_each_other_keep_their_slots(head: Image, desk: Settings) -> None:
    tracker = tracker_for(desk, Camera("cam0", "file:x", faces=2))
    other = np.ascontiguousarray(head[:, ::-1])
    before = play(tracker, (scene((head, 60, 20), (other, 860, 380)) for _ in range(40)))
    names = [face.session for face in before[-1]]
    sides = [nose_x(face) for face in before[-1]]

    crossing = (scene((head, 60 + 20 * step, 20), (other, 860 - 20 * step, 380)) for step in range(41))
    after = play(tracker, crossing, start=41)

    assert [face.session for face in after[-1]] == names
    assert [face.state for face in after[-1]] == [TrackingState.TRACKING] * 2
    assert all(nose_x(face) * side < 0 for face, side in zip(after[-1], sides, strict=True))


def test_who_is_hidden_for_a_moment_is_the_same_person_after(head: Image, desk: Settings) -> None:
    tracker = tracker_for(desk, Camera("cam0", "file:x"))
    first = play(tracker, (scene((head, 400, 200)) for _ in range(40)))

    hidden = play(tracker, (scene() for _ in range(20)), start=41)
    again = play(tracker, (scene((head, 430, 200)) for _ in range(5)), start=61)

    assert hidden[-1][0].state is TrackingState.LOST
    assert hidden[-1][0].expression is None
    assert again[-1][0].state is TrackingState.TRACKING
    assert again[-1][0].session == first[-1][0].session


def test_who_stays_away_is_forgotten_and_the_next_is_new(head: Image, desk: Settings) -> None:
    tracker = tracker_for(desk, Camera("cam0", "file:x"))
    first = play(tracker, (scene((head, 400, 200)) for _ in range(40)))

    away = play(tracker, (scene() for _ in range(80)), start=41)
    then = play(tracker, (scene((head, 400, 200)) for _ in range(5)), start=121)

    assert away[-1][0].state is TrackingState.ABSENT
    assert then[-1][0].state is TrackingState.ACQUIRING
    assert then[-1][0].session not in ("", first[-1][0].session)


def test_more_people_than_slots_is_no_trouble(head: Image, desk: Settings) -> None:
    tracker = tracker_for(desk, Camera("cam0", "file:x", faces=1))

    seen = play(tracker, (scene((head, 100, 150), (head, 800, 200)) for _ in range(10)))

    assert [len(faces) for faces in seen] == [1] * 10
    assert len({faces[0].session for faces in seen}) == 1


def test_cameras_are_read_together_and_a_quiet_one_lets_time_pass(head: Image, desk: Settings) -> None:
    tracker = tracker_for(desk, Camera("cam0", "file:x"), Camera("cam1", "file:x", faces=2))
    picture = scene((head, 400, 200))
    for number in range(1, 5):
        faces = tracker.read(
            [Frame("cam0", number, number * STEP_NS, picture), Frame("cam1", number, number * STEP_NS, picture)]
        )
    quiet = tracker.read([Frame("cam1", 4, 40 * STEP_NS, None)])

    assert [(face.camera, face.slot, face.expression is not None) for face in faces] == [
        ("cam0", 0, True),
        ("cam1", 0, True),
        ("cam1", 1, False),
    ]
    assert [(face.camera, face.state) for face in quiet] == [
        ("cam1", TrackingState.LOST),
        ("cam1", TrackingState.ABSENT),
    ]


def test_a_picture_of_one_pixel_and_a_black_one_hold_no_face(desk: Settings) -> None:
    tracker = tracker_for(desk, Camera("cam0", "file:x"))

    seen = play(tracker, iter([np.zeros((1, 1, 3), np.uint8), np.zeros((720, 1280, 3), np.uint8)]))

    assert [faces[0].state for faces in seen] == [TrackingState.ABSENT] * 2
