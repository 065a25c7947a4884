"""The face stage with its real networks, on faces whose places are known."""

from collections.abc import Iterator
from dataclasses import replace
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
    return build_tracker(replace(desk, camera=cameras))


def scene(*heads: tuple[Image, float, float]) -> Image:
    """Heads with their left upper corners at x, y; what leaves the picture is cut off."""
    picture = np.full((*SIZE, 3), 120, np.uint8)
    for image, x, y in heads:
        left, top = round(x), round(y)
        right, bottom = min(left + image.shape[1], SIZE[1]), min(top + image.shape[0], SIZE[0])
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


def sized(head: Image, wide: float, high: float) -> Image:
    """The same head nearer or farther; another person's where the two differ."""
    size = (round(HEAD_PX * wide), round(HEAD_PX * high))
    return np.asarray(cv2.resize(head, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def test_another_visitor_in_the_same_place_within_two_seconds_is_a_new_session(head: Image, desk: Settings) -> None:
    tracker = tracker_for(desk, Camera("cam0", "file:x"))
    first = play(tracker, (scene((head, 400, 200)) for _ in range(45)))
    play(tracker, (scene() for _ in range(20)), start=46)

    then = play(tracker, (scene((sized(head, 0.95, 1.15), 410, 180)) for _ in range(30)), start=66)

    sessions = [faces[0].session for faces in then]
    assert sessions[0] == first[-1][0].session
    assert sessions[-1] not in ("", first[-1][0].session)
    assert len(set(sessions)) == 2
    assert then[-1][0].state is TrackingState.ACQUIRING


def test_a_visitor_who_comes_back_nearer_and_aside_keeps_the_session(head: Image, desk: Settings) -> None:
    tracker = tracker_for(desk, Camera("cam0", "file:x"))
    first = play(tracker, (scene((head, 400, 200)) for _ in range(45)))
    play(tracker, (scene() for _ in range(20)), start=46)

    then = play(tracker, (scene((sized(head, 1.4, 1.4), 340, 150)) for _ in range(30)), start=66)

    assert {faces[0].session for faces in then} == {first[-1][0].session}


def test_who_is_clearly_nearer_for_a_while_takes_the_slot_once(head: Image, desk: Settings) -> None:
    tracker = tracker_for(desk, Camera("cam0", "file:x"))
    near = sized(head, 1.5, 1.5)
    alone = play(tracker, (scene((head, 100, 150)) for _ in range(40)))

    joined = play(tracker, (scene((head, 100, 150), (near, 700, 200)) for _ in range(120)), start=41)

    places = [nose_x(faces[0]) > 0 for faces in joined]
    assert not any(places[:40])  # a second and a third
    assert all(places[75:])  # two and a half: patience and a scan
    assert len({alone[-1][0].session, *(faces[0].session for faces in joined)}) == 2


def test_who_passes_by_nearer_for_a_moment_takes_no_slot(head: Image, desk: Settings) -> None:
    tracker = tracker_for(desk, Camera("cam0", "file:x"))
    near = sized(head, 1.5, 1.5)
    play(tracker, (scene((head, 100, 150)) for _ in range(40)))

    passing = play(tracker, (scene((head, 100, 150), (near, 1200 - 20 * step, 200)) for step in range(35)), start=41)

    assert len({faces[0].session for faces in passing}) == 1
    assert all(nose_x(faces[0]) < 0 for faces in passing)


def test_three_people_before_two_slots_do_not_flicker(head: Image, desk: Settings) -> None:
    tracker = tracker_for(desk, Camera("cam0", "file:x", faces=2))
    other, near = np.ascontiguousarray(head[:, ::-1]), sized(head, 1.15, 1.15)
    rng = np.random.default_rng(1)

    def three() -> Iterator[Image]:
        for _ in range(150):
            x, y = rng.integers(0, 20, 2)
            yield scene((head, 20 + x, 100), (near, 420 + y, 150), (other, 860 + x, 200 + y))

    seen = play(tracker, three())

    assert len({face.session for faces in seen[5:] for face in faces}) == 2
    assert [face.state for face in seen[-1]] == [TrackingState.TRACKING] * 2
