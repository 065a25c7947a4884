"""Who is where: seats, tracking states and their hysteresis, as tables of values."""

from dataclasses import replace

import numpy as np
import pytest

from appliance.face.bones import Bones
from appliance.face.slots import (
    Slot,
    Waiting,
    challenger,
    doubt,
    follow,
    part,
    recognise,
    replaced,
    seat,
    wait,
    wants_detection,
)
from appliance.values import Detection, Landmarks, TrackingState

MS = 1_000_000
S = 1_000_000_000


def detection(x_px: float, y_px: float = 200, width_px: float = 100) -> Detection:
    half = width_px / 2
    keypoints = np.array([[x_px - half / 2, y_px], [x_px + half / 2, y_px]] + [[x_px, y_px]] * 4, np.float32)
    return Detection(x_px - half, y_px - half, x_px + half, y_px + half, keypoints, 0.9)


def landmarks(x_px: float, presence: float = 1.0, y_px: float = 200) -> Landmarks:
    """A face of 100 pixels around a point, with level eyes."""
    points = np.zeros((478, 3), np.float32)
    points[:, 0], points[:, 1] = x_px, y_px
    points[0, :2], points[1, :2] = (x_px - 50, y_px - 50), (x_px + 50, y_px + 50)
    points[33, 0], points[263, 0] = x_px - 25, x_px + 25
    return Landmarks(points, presence)


def seated(x_px: float, index: int = 0) -> Slot:
    (slot,) = seat([Slot("cam0", 0)], [detection(x_px)], 0)
    return replace(slot, index=index)


def tracked(x_px: float, index: int = 0, since_ns: int = 0) -> Slot:
    slot = follow(seated(x_px, index), landmarks(x_px), since_ns)
    return follow(slot, landmarks(x_px), since_ns + 2 * S)


def test_a_face_is_acquired_for_a_second_and_then_tracked() -> None:
    slot = seated(300)
    states = []
    for step in range(4):
        slot = follow(slot, landmarks(300), 10 * S + step * 400 * MS)
        states.append((slot.state, slot.since_ns // MS))

    acquiring, tracking = TrackingState.ACQUIRING, TrackingState.TRACKING
    assert states == [(acquiring, 10_000), (acquiring, 10_000), (acquiring, 10_000), (tracking, 11_200)]


def test_what_the_landmark_network_does_not_confirm_was_never_there() -> None:
    slot = follow(seated(300), landmarks(300, presence=0.5), 1 * S)

    assert (slot.state, slot.looking, slot.session) == (TrackingState.ABSENT, False, "")


@pytest.mark.parametrize(
    ("presence", "away_ms", "state"),
    [
        (0.4, 33, TrackingState.TRACKING),  # between the thresholds: still a face
        (0.1, 33, TrackingState.TRACKING),  # unclear, but only just
        (0.1, 149, TrackingState.TRACKING),
        (0.1, 151, TrackingState.LOST),
    ],
)
def test_a_held_face_is_lost_only_after_a_while(presence: float, away_ms: int, state: TrackingState) -> None:
    slot = tracked(300)

    assert follow(slot, landmarks(300, presence), slot.seen_ns + away_ms * MS).state is state


def test_a_visitor_who_went_is_lost_then_absent_then_the_avatar_idles() -> None:
    slot = tracked(300)
    gone_ns = slot.seen_ns
    seen: dict[TrackingState, float] = {}
    for second in np.arange(0, 16, 0.1):
        slot = doubt(slot, gone_ns + int(second * S))
        seen.setdefault(slot.state, round(float(second), 1))

    lost, absent, idle = TrackingState.LOST, TrackingState.ABSENT, TrackingState.IDLE
    assert seen == {TrackingState.TRACKING: 0.0, lost: 0.2, absent: 2.0, idle: 12.0}
    assert slot.session == ""


def test_a_face_that_comes_back_in_its_place_is_the_same_visitor_at_once() -> None:
    before = tracked(300)
    lost = doubt(before, before.seen_ns + S)

    (slot,) = seat([lost], [detection(340)], before.seen_ns + S)
    slot = follow(slot, landmarks(340), before.seen_ns + S + 33 * MS)

    assert (slot.state, slot.session) == (TrackingState.TRACKING, before.session)


def test_a_face_elsewhere_is_a_new_visitor() -> None:
    before = tracked(300)
    lost = doubt(before, before.seen_ns + S)

    (slot,) = seat([lost], [detection(900)], before.seen_ns + S)
    slot = follow(slot, landmarks(900), before.seen_ns + S + 33 * MS)

    assert slot.state is TrackingState.ACQUIRING
    assert slot.session not in ("", before.session)


def test_the_nearest_face_gets_the_only_slot() -> None:
    (slot,) = seat([Slot("cam0", 0)], [detection(100, width_px=60), detection(500, width_px=120)], 0)

    assert slot.region is not None
    assert slot.region.x_px == pytest.approx(500)


def test_a_detection_of_a_face_already_held_takes_no_second_slot() -> None:
    slots = seat([tracked(300), Slot("cam0", 1)], [detection(305)], 3 * S)

    assert [slot.looking for slot in slots] == [True, False]


def test_a_returning_visitor_gets_the_old_slot_though_another_is_free_before_it() -> None:
    before = replace(tracked(600), index=1)
    lost = doubt(before, before.seen_ns + S)

    slots = seat([Slot("cam0", 0), lost], [detection(610)], before.seen_ns + S)

    assert [slot.looking for slot in slots] == [False, True]


def test_the_place_of_a_visitor_who_is_hidden_for_a_moment_is_kept_from_others() -> None:
    before = tracked(300)
    lost = doubt(before, before.seen_ns + 200 * MS)

    (soon,) = seat([lost], [detection(900)], before.seen_ns + 900 * MS)
    (late,) = seat([lost], [detection(900)], before.seen_ns + 1000 * MS)

    assert (soon.looking, late.looking) == (False, True)


BONES = np.array([-2.39, -3.06, -1.95, -2.0, -2.97, -3.07], np.float32)
OTHER = BONES + np.array([0.04, 0.0, 0.05, 0.0, 0.0, 0.0], np.float32)


def back_again(before: Slot) -> Slot:
    """The visitor was away for a second, and somebody stands in the same place."""
    lost = doubt(before, before.seen_ns + S)
    (slot,) = seat([lost], [detection(310)], before.seen_ns + S)
    return follow(slot, landmarks(310), before.seen_ns + S + 33 * MS)


@pytest.mark.parametrize(("lengths", "same"), [(BONES, True), (BONES + 0.005, True), (OTHER, False)])
def test_another_visitor_in_the_same_place_is_a_new_session(lengths: np.ndarray, same: bool) -> None:
    before = replace(tracked(300), bones=Bones(BONES, 40, 0))
    slot = back_again(before)
    for _ in range(25):
        slot = recognise(slot, lengths, slot.seen_ns + S)

    assert (slot.session == before.session) is same
    assert slot.state is (TrackingState.TRACKING if same else TrackingState.ACQUIRING)
    assert slot.back is False


def test_who_is_seen_too_briefly_is_taken_for_the_same_visitor() -> None:
    before = replace(tracked(300), bones=Bones(BONES, 40, 0))
    slot = back_again(before)
    for _ in range(19):
        slot = recognise(slot, OTHER, slot.seen_ns)

    assert (slot.session, slot.back) == (before.session, True)


def test_a_visitor_who_stays_keeps_the_session_whatever_is_measured() -> None:
    slot = before = replace(tracked(300), bones=Bones(BONES, 40, 0))
    for _ in range(50):
        slot = recognise(slot, OTHER, slot.seen_ns)

    assert slot.session == before.session


def test_an_absent_visitors_bones_are_forgotten() -> None:
    slot = replace(tracked(300), bones=Bones(BONES, 40, 0))
    gone = doubt(doubt(slot, slot.seen_ns + S), slot.seen_ns + 2 * S)

    assert (gone.state, gone.bones) == (TrackingState.ABSENT, None)


def scans(slots: tuple[Slot, ...], pictures: list[list[Detection]]) -> list[Waiting | None]:
    """Who may challenge a holder after each of some scans, half a second apart."""
    waiting: tuple[Waiting, ...] = ()
    found = []
    for number, detections in enumerate(pictures):
        now_ns = 10 * S + number * 500 * MS
        slots = seat(slots, detections, now_ns)
        waiting = wait(waiting, slots, detections, now_ns)
        found.append(challenger(waiting, now_ns))
    return found


@pytest.mark.parametrize(
    ("widths_px", "challenges"),
    [
        ([125] * 8, [False] * 8),  # nearer, but not clearly
        ([135] * 5, [False, False, False, True, True]),  # 1.5 s
        ([135, 135, 125, 135, 135, 135, 135], [False] * 6 + [True]),  # clearly nearer again: from the start
        ([135, 135, 0, 135], [False, False, False, True]),  # one scan missed
        ([135, 135, 0, 0, 0, 135, 135], [False] * 7),  # went away
    ],
)
def test_a_challenger_is_clearly_nearer_for_a_while(widths_px: list[int], challenges: list[bool]) -> None:
    pictures = [[detection(300), *([detection(800, width_px=width)] if width else [])] for width in widths_px]

    found = scans((tracked(300),), pictures)

    assert [one is not None for one in found] == challenges


def test_the_nearest_of_those_who_wait_challenges_though_all_move() -> None:
    pictures = [
        [detection(300), detection(700 + 40 * step, width_px=140), detection(1100 - 30 * step, width_px=180)]
        for step in range(4)
    ]

    found = scans((tracked(300),), pictures)[-1]

    assert found is not None
    assert found.region.x_px == pytest.approx(1010)


def test_nobody_challenges_while_a_slot_is_free() -> None:
    slots = (tracked(300), Slot("cam0", 1))

    assert not any(scans(slots, [[detection(300), detection(800, width_px=200)]] * 5))


def test_the_farthest_holder_yields_and_the_other_keeps_the_slot() -> None:
    near = replace(tracked(300, 0), size_px=200)
    far = replace(tracked(600, 1), size_px=100)
    waits = Waiting(near.region or pytest.fail("no region"), 0, 9 * S, 0)

    slots: tuple[Slot, ...] = replaced((near, far), waits, landmarks(900), 9 * S)

    assert slots[0] == near
    assert slots[1].state is TrackingState.ACQUIRING
    assert slots[1].session not in ("", far.session)
    assert slots[1].region is not None
    assert slots[1].region.x_px == pytest.approx(900)


def test_a_challenger_that_is_no_face_takes_no_slot() -> None:
    holder = tracked(300)
    waits = Waiting(holder.region or pytest.fail("no region"), 0, 9 * S, 0)

    assert replaced((holder,), waits, landmarks(900, presence=0.5), 9 * S) == (holder,)


def test_a_holder_who_walks_away_unseen_by_the_detector_is_known_to_be_far() -> None:
    (slot,) = seat([tracked(300)], [detection(300)], 3 * S)
    small = landmarks(300)
    small.points_px[0, :2], small.points_px[1, :2] = (280, 180), (320, 220)

    far = follow(slot, small, 4 * S)

    assert far.size_px < 0.6 * slot.size_px


def test_two_slots_that_follow_one_face_part_and_the_older_keeps_it() -> None:
    older, younger = tracked(300, 0, since_ns=0), tracked(310, 1, since_ns=S)

    slots = part([younger, older], 9 * S)

    assert [(slot.index, slot.held, slot.looking) for slot in slots] == [(0, True, True), (1, False, False)]


def test_people_who_pass_each_other_at_a_distance_keep_their_slots() -> None:
    slots: tuple[Slot, ...] = (tracked(300, 0), tracked(700, 1))
    sessions = [slot.session for slot in slots]
    for step in range(41):  # they swap sides, one above the other as when one stands behind
        now_ns = 3 * S + step * 33 * MS
        places = ((300 + 10 * step, 160.0), (700 - 10 * step, 260.0))
        slots = part(
            [follow(slot, landmarks(x, y_px=y), now_ns) for slot, (x, y) in zip(slots, places, strict=True)], now_ns
        )

    assert [slot.session for slot in slots] == sessions
    assert [round(slot.region.x_px) for slot in slots if slot.region] == [700, 300]


@pytest.mark.parametrize(
    ("looking", "since_scan_ms", "wanted"),
    [
        ([False], 1, True),  # nobody is held: every picture
        ([True], 499, False),  # somebody is held: now and then, whether there is room for more
        ([True], 500, True),  # or somebody else may be nearer
        ([True, False], 100, False),
        ([True, False], 500, True),
    ],
)
def test_the_whole_picture_is_searched_only_when_it_pays(looking: list[bool], since_scan_ms: int, wanted: bool) -> None:
    slots = [Slot("cam0", index, looking=taken) for index, taken in enumerate(looking)]

    assert wants_detection(slots, 10 * S, 10 * S + since_scan_ms * MS) is wanted


def test_a_session_is_named_alike_in_every_replay_and_unlike_any_other() -> None:
    first, again = tracked(300, since_ns=5 * S), tracked(300, since_ns=5 * S)
    later = tracked(300, since_ns=6 * S)

    assert first.session == again.session != later.session
    assert len(first.session) == 6
