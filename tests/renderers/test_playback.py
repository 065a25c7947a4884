"""Frames as a network brings them, shown at a display's rate."""

import dataclasses
import math
import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from appliance.publish.wire import WireFrame
from appliance.renderers.playback import RELAX_NS, STALE_NS, Playback, at_rest, mix
from appliance.values import Gaze, HeadPose, TrackingState

MS = 1_000_000
JAW = 24
BOOT_NS = 5_000_000_000_000  # the device's clock has nothing to do with ours


def a_frame(captured_ns: int, jaw: float = 0.0, **changes: Any) -> WireFrame:
    shapes = np.zeros(52, np.float32)
    shapes[JAW] = jaw
    plain = WireFrame(
        sequence=1,
        session="k3f9q2",
        state=TrackingState.TRACKING,
        confidence=1.0,
        captured_ns=captured_ns,
        captured_utc_ns=captured_ns,
        head=HeadPose(),
        gaze=Gaze(),
        blendshapes=shapes,
        visemes=np.eye(1, 15, dtype=np.float32)[0],
        mood=np.eye(1, 5, dtype=np.float32)[0],
        voice_active=False,
        voice_level=0.0,
        voice_arousal=0.5,
        latency_ms={},
    )
    return dataclasses.replace(plain, **changes)


def jaws(playback: Playback, moments_ns: list[int]) -> list[float]:
    shown = [playback.at(now_ns) for now_ns in moments_ns]
    return [float(each.frame.blendshapes[JAW]) for each in shown if each]


def turned(yaw_deg: float) -> HeadPose:
    half = math.radians(yaw_deg) / 2
    return HeadPose((0.0, math.sin(half), 0.0, math.cos(half)), (0.0, 0.0, -0.6))


def test_nothing_is_shown_before_the_first_frame() -> None:
    assert Playback().at(1) is None


@pytest.mark.parametrize("display_hz", [60, 72, 90, 120, 144])
@pytest.mark.parametrize("camera_hz", [30, 60])
def test_a_steady_motion_is_steady_at_any_display_rate(display_hz: int, camera_hz: int) -> None:
    """A jaw that opens evenly: each picture of the display moves it by the same step, though frames come unevenly."""
    playback, chance = Playback(), random.Random(1)
    speed_per_s = 0.2
    arrivals = sorted(
        (n * 1_000_000_000 // camera_hz + 8 * MS + int(chance.uniform(0, 6 * MS)), n) for n in range(4 * camera_hz)
    )
    shown, next_frame = [], 0
    for tick in range(display_hz, int(3.9 * display_hz)):
        now_ns = tick * 1_000_000_000 // display_hz
        while next_frame < len(arrivals) and arrivals[next_frame][0] <= now_ns:
            arrived_ns, n = arrivals[next_frame]
            captured_ns = n * 1_000_000_000 // camera_hz
            playback.put(a_frame(BOOT_NS + captured_ns, speed_per_s * captured_ns / 1e9), arrived_ns)
            next_frame += 1
        shown += jaws(playback, [now_ns])

    steps = np.diff(shown[display_hz:])  # the first second finds out how late frames come
    assert steps.min() >= 0
    even = speed_per_s / display_hz
    assert np.mean(np.abs(steps - even) < even / 2) > 0.95
    frozen = np.mean(steps == 0)
    assert frozen < 0.02


def test_the_delay_is_one_frame_and_the_network_s_unevenness() -> None:
    steady, shaky = Playback(), Playback()
    for n in range(200):
        captured_ns = n * 20 * MS
        steady.put(a_frame(BOOT_NS + captured_ns), captured_ns + 30 * MS)
        shaky.put(a_frame(BOOT_NS + captured_ns), captured_ns + 30 * MS + (n % 5) * 3 * MS)

    assert steady.delay_ns == 20 * MS
    assert 20 * MS < shaky.delay_ns <= 32 * MS


def test_without_delay_the_newest_frame_is_shown_as_it_is() -> None:
    playback = Playback(delay_ns=0)
    playback.put(a_frame(BOOT_NS, 0.2), 1 * MS)
    playback.put(a_frame(BOOT_NS + 20 * MS, 0.4), 21 * MS)

    assert jaws(playback, [21 * MS]) == pytest.approx([0.4])


def test_what_is_shown_lies_between_two_frames() -> None:
    playback = Playback(delay_ns=20 * MS)
    for n, jaw in enumerate((0.0, 0.2, 0.6)):
        playback.put(a_frame(BOOT_NS + n * 20 * MS, jaw), n * 20 * MS)

    assert jaws(playback, [20 * MS, 30 * MS, 40 * MS, 55 * MS, 60 * MS, 90 * MS]) == pytest.approx(
        [0.0, 0.1, 0.2, 0.5, 0.6, 0.6], abs=1e-6
    )


def test_a_frame_that_comes_after_a_later_one_is_dropped() -> None:
    playback = Playback()

    assert playback.put(a_frame(BOOT_NS + 20 * MS, 0.5), 1 * MS)
    assert not playback.put(a_frame(BOOT_NS, 0.1), 2 * MS)
    assert not playback.put(a_frame(BOOT_NS + 20 * MS, 0.1), 3 * MS)
    newest = playback.newest
    assert newest is not None
    assert newest.blendshapes[JAW] == 0.5


@pytest.mark.parametrize("again_ns", [3_000_000_000, BOOT_NS + 3_600_000_000_000], ids=["earlier", "later"])
def test_a_device_that_started_again_is_followed_at_once(again_ns: int) -> None:
    playback = Playback()
    for n in range(100):
        playback.put(a_frame(BOOT_NS + n * 20 * MS, 1.0), n * 20 * MS)
    for n in range(3):
        assert playback.put(a_frame(again_ns + n * 20 * MS, 0.3), (200 + n) * 20 * MS)

    assert jaws(playback, [203 * 20 * MS]) == pytest.approx([0.3])


def test_a_stream_that_stops_is_stale_and_comes_to_rest() -> None:
    playback = Playback()
    head = turned(20)
    playback.put(a_frame(BOOT_NS, 0.8, head=head, voice_active=True), 0)

    before = playback.at(STALE_NS - MS)
    half = playback.at(STALE_NS + RELAX_NS // 2)
    done = playback.at(STALE_NS + RELAX_NS)

    assert before is not None
    assert half is not None
    assert done is not None
    assert (before.stale, half.stale, done.stale) == (False, True, True)
    assert [float(shown.frame.blendshapes[JAW]) for shown in (before, half, done)] == pytest.approx([0.8, 0.4, 0.0])
    assert done.frame.head == HeadPose(position_m=head.position_m)
    assert not done.frame.voice_active
    assert done.age_ns == STALE_NS + RELAX_NS


def test_a_stream_that_comes_back_is_shown_again() -> None:
    playback = Playback()
    playback.put(a_frame(BOOT_NS, 0.8), 0)
    playback.at(5 * STALE_NS)
    playback.put(a_frame(BOOT_NS + 5 * STALE_NS, 0.6), 5 * STALE_NS)

    shown = playback.at(5 * STALE_NS + MS)

    assert shown is not None
    assert not shown.stale


def test_time_never_runs_backwards_when_the_delay_grows() -> None:
    playback = Playback()
    moments: list[int] = []
    for n in range(120):
        late_ns = 0 if n < 60 else (n % 3) * 12 * MS
        playback.put(a_frame(BOOT_NS + n * 20 * MS, n / 120), n * 20 * MS + late_ns)
        shown = playback.at(n * 20 * MS + late_ns)
        assert shown is not None
        moments.append(shown.frame.captured_ns)

    assert all(earlier <= later for earlier, later in pairwise(moments))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_head_turns_the_short_way(sign: int) -> None:
    x, y, z, w = turned(40).rotation
    later = HeadPose((sign * x, sign * y, sign * z, sign * w), (0.2, 0.0, -0.6))

    between = mix(a_frame(0, head=turned(0)), a_frame(10, head=later), 0.5).head

    assert between.rotation == pytest.approx(turned(20).rotation, abs=1e-9)
    assert between.position_m == pytest.approx((0.1, 0.0, -0.6))


def test_two_people_are_not_mixed() -> None:
    one, other = a_frame(0, 0.0, session="a"), a_frame(10, 1.0, session="b")

    assert mix(one, other, 0.9) is one
    assert mix(one, other, 1.0) is other


def test_a_face_at_rest_says_silence_and_a_neutral_mood() -> None:
    frame = at_rest(a_frame(0, 0.7, visemes=np.full(15, 1 / 15, np.float32)), 1)

    assert frame.visemes.tolist() == [1.0, *[0.0] * 14]
    assert frame.mood.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert not frame.blendshapes.any()
