import json
from typing import Any

import numpy as np
import pytest
from brokers import ROOT, a_state

from appliance.avatar.channels import BLENDSHAPES, MOODS, VISEMES
from appliance.publish import wire
from appliance.values import Gaze, HeadPose, TrackingState

OFFSET_NS = 1_790_000_000_000_000_000
NOWHERE = float("nan")


def test_a_frame_comes_back_as_it_was_sent() -> None:
    state = a_state()

    frame = wire.decode(wire.encode(state, OFFSET_NS))

    assert (frame.sequence, frame.session, frame.state) == (1, "k3f9q2", TrackingState.TRACKING)
    assert frame.captured_ns == state.captured_ns
    assert frame.captured_utc_ns == state.captured_ns + OFFSET_NS
    assert frame.head.rotation == pytest.approx(state.head.rotation, abs=0.00051)
    assert frame.head.position_m == state.head.position_m
    assert frame.gaze == state.gaze
    assert (frame.voice_active, frame.voice_level, frame.voice_arousal) == (True, 0.31, 0.6)
    assert frame.latency_ms == dict(state.latency_ms)
    for got, sent in ((frame.blendshapes, state.blendshapes), (frame.visemes, state.visemes), (frame.mood, state.mood)):
        np.testing.assert_allclose(got, sent, atol=0.0051)


def test_every_channel_is_there_by_name_even_at_rest() -> None:
    fields = json.loads(wire.encode(a_state(blendshapes=np.zeros(52, np.float32)), OFFSET_NS))

    assert tuple(fields["blendshapes"]) == BLENDSHAPES
    assert set(fields["blendshapes"].values()) == {0}


def test_the_longest_frame_stays_within_its_limit() -> None:
    stages = ("capture", "detect", "landmarks", "expression", "lookahead", "listening", "total", "sound")
    state = a_state(
        sequence=2**32,
        session="x" * 32,
        state=TrackingState.ACQUIRING,
        confidence=0.123,
        captured_ns=10**17,
        head=HeadPose((-0.1234, -0.1234, -0.1234, -0.1234), (-10.123, -10.123, -10.123)),
        gaze=Gaze((-88.8, -88.8), (-88.8, -88.8)),
        blendshapes=np.full(52, 0.1234, np.float32),
        latency_ms=dict.fromkeys(stages, 1234.56),
    )

    assert len(wire.encode(state, OFFSET_NS)) <= wire.MAX_FRAME_BYTES


@pytest.mark.parametrize("bad", [NOWHERE, float("inf"), float("-inf")])
def test_what_is_not_finite_is_sent_as_neutral(bad: float) -> None:
    shapes = np.full(52, 0.5, np.float32)
    shapes[3] = bad
    state = a_state(
        blendshapes=shapes,
        head=HeadPose((bad, 0.0, 0.0, 1.0), (0.1, 0.1, -1.0)),
        gaze=Gaze((bad, 1.0), (2.0, bad)),
        confidence=bad,
        latency_ms={"total": bad, "detect": 1.0},
    )

    frame = wire.decode(wire.encode(state, OFFSET_NS))

    assert not wire.is_finite(state)
    assert wire.is_finite(a_state())
    assert frame.blendshapes[3] == 0
    assert frame.blendshapes[4] == 0.5
    assert frame.head == HeadPose()
    assert frame.gaze == Gaze((0.0, 1.0), (2.0, 0.0))
    assert frame.confidence == 0
    assert frame.latency_ms == {"detect": 1.0}


def test_weights_beyond_their_range_are_cut_to_it() -> None:
    shapes = np.linspace(-1, 2, 52, dtype=np.float32)

    frame = wire.decode(wire.encode(a_state(blendshapes=shapes), OFFSET_NS))

    assert frame.blendshapes.min() == 0
    assert frame.blendshapes.max() == 1


def test_too_few_channels_are_a_bug_and_no_frame() -> None:
    with pytest.raises(ValueError, match=r"has \[52, 15, 5\] channels"):
        wire.encode(a_state(blendshapes=np.zeros(51, np.float32)), OFFSET_NS)


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(wire.encode(a_state(), 0)), **fields}).encode()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"[1, 2]",
        b"[" * 100_000,
        changed(v=2),
        changed(state="asleep"),
        changed(seq="many"),
        changed(head={"rotation": [0, 0, 1], "position": [0, 0, 0]}),
        changed(gaze=None),
        changed(blendshapes={"jawOpen": 1}),
        changed(latency_ms=[1, 2]),
        changed(captured_ns=10**400),
        changed(captured_utc_ns=-1),
        changed(confidence=float("nan")),
        changed(head={"rotation": [0, 0, 0, 1], "position": [0, 0, float("inf")]}),
        changed(head={"rotation": [0, 0, 0, 1e30], "position": [0, 0, 0]}),
        changed(visemes=dict.fromkeys(VISEMES, 1.5)),
        changed(mood=dict.fromkeys(MOODS, float("nan"))),
        changed(latency_ms={"total": float("inf")}),
    ],
    ids=[
        *("empty", "not UTF-8", "a list", "deep", "v 2", "state", "seq", "rotation", "gaze", "shapes", "latency"),
        *("big clock", "early", "NaN", "far", "turned", "beyond 1", "mood", "late"),
    ],
)
def test_a_payload_that_is_no_frame_is_said_to_be_none(payload: bytes) -> None:
    with pytest.raises(wire.PayloadError):
        wire.decode(payload)


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert wire.decode(changed(pupils={"left": 0.4})).sequence == 1


@pytest.mark.parametrize(
    ("topic", "address"),
    [
        (f"{ROOT}/availability", wire.Address("lobby", "orin-07", "availability")),
        (f"{ROOT}/event", wire.Address("lobby", "orin-07", "event")),
        (f"{ROOT}/cam0/1/frame", wire.Address("lobby", "orin-07", "frame", "cam0", 1)),
        (f"{ROOT}/cam0/0/state", wire.Address("lobby", "orin-07", "state", "cam0", 0)),
        (f"{ROOT}/cam0/x/state", None),
        (f"{ROOT}/cam0/0/frame.bin", None),
        (f"{ROOT}/frame", None),
        ("avatar/v2/lobby/orin-07/info", None),
        (f"{ROOT}/cam0/1234/state", None),
        (f"{ROOT}/cam 0/0/state", None),
        ("avatar/v1/lobby/orin\x1b[31m/info", None),
        (f"avatar/v1/{'x' * 33}/orin-07/info", None),
        ("$SYS/broker/uptime", None),
        ("", None),
    ],
)
def test_topics_are_taken_apart(topic: str, address: wire.Address | None) -> None:
    assert wire.parse_topic(topic) == address
