import struct
from typing import Any

import numpy as np
import pytest
from brokers import ROOT, Mosquitto, Reader, a_state, publishing, wait_until

from appliance.avatar.channels import BLENDSHAPES
from appliance.publish import packed, wire
from appliance.values import Gaze, HeadPose, TrackingState

OFFSET_NS = 1_790_000_000_000_000_000


def test_a_packed_frame_says_what_the_json_one_says() -> None:
    state = a_state()

    frame, plain = packed.decode(packed.encode(state, OFFSET_NS)), wire.decode(wire.encode(state, OFFSET_NS))

    for name in ("sequence", "session", "state", "captured_ns", "captured_utc_ns", "voice_active"):
        assert getattr(frame, name) == getattr(plain, name)
    for name in ("confidence", "voice_level", "voice_arousal"):
        assert getattr(frame, name) == pytest.approx(getattr(plain, name), abs=0.005)
    assert frame.head.rotation == pytest.approx(state.head.rotation, abs=1e-6)
    assert frame.head.position_m == pytest.approx(state.head.position_m, abs=1e-6)
    assert (*frame.gaze.left_deg, *frame.gaze.right_deg) == pytest.approx(
        (*state.gaze.left_deg, *state.gaze.right_deg), abs=1e-5
    )
    for got, sent in ((frame.blendshapes, state.blendshapes), (frame.visemes, state.visemes), (frame.mood, state.mood)):
        np.testing.assert_allclose(got, sent, atol=1e-5)
    assert frame.latency_ms["total"] == pytest.approx(4.9)


def test_every_field_lies_where_the_layout_says() -> None:
    """Read by offsets alone, as a renderer in another language does."""
    state = a_state(sequence=2**32 + 7, state=TrackingState.LOST)

    payload = packed.encode(state, OFFSET_NS)

    assert len(payload) == 256
    assert payload[:6] == b"AF\x01\x03\x01\x00"
    assert struct.unpack_from("<H", payload, 6)[0] == round(0.98 * 65535)
    assert struct.unpack_from("<I", payload, 8)[0] == 7
    assert struct.unpack_from("<f", payload, 12)[0] == pytest.approx(4.9)
    assert struct.unpack_from("<2q", payload, 16) == (state.captured_ns, state.captured_ns + OFFSET_NS)
    assert struct.unpack_from("<4f", payload, 32) == pytest.approx(state.head.rotation)
    assert struct.unpack_from("<3f", payload, 48) == pytest.approx(state.head.position_m)
    assert struct.unpack_from("<4f", payload, 60) == pytest.approx((2.1, -0.4, 1.8, -0.5))
    assert payload[76:108] == b"k3f9q2".ljust(32, b"\0")
    jaw_open = struct.unpack_from("<H", payload, 108 + 2 * BLENDSHAPES.index("jawOpen"))[0]
    assert jaw_open / 65535 == pytest.approx(float(state.blendshapes[BLENDSHAPES.index("jawOpen")]), abs=1e-5)
    assert struct.unpack_from("<H", payload, 212)[0] / 65535 == pytest.approx(float(state.visemes[0]), abs=1e-5)
    assert struct.unpack_from("<H", payload, 242)[0] / 65535 == pytest.approx(float(state.mood[0]), abs=1e-5)
    assert struct.unpack_from("<2H", payload, 252) == (round(0.31 * 65535), round(0.6 * 65535))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_packed_as_neutral(bad: float) -> None:
    shapes = np.full(52, 0.5, np.float32)
    shapes[3] = bad
    state = a_state(
        blendshapes=shapes,
        head=HeadPose((bad, 0.0, 0.0, 1.0), (0.1, 0.1, -1.0)),
        gaze=Gaze((bad, 1.0), (2.0, bad)),
        confidence=bad,
        latency_ms={"total": bad},
    )

    frame = packed.decode(packed.encode(state, OFFSET_NS))

    assert (frame.blendshapes[3], frame.confidence, frame.latency_ms["total"]) == (0, 0, 0)
    assert frame.head.rotation == HeadPose().rotation
    assert frame.gaze == Gaze((0.0, 1.0), (2.0, 0.0))


def broken(at: int, value: bytes) -> bytes:
    payload = packed.encode(a_state(), 0)
    return payload[:at] + value + payload[at + len(value) :]


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", packed.encode(a_state(), 0)[:-1], broken(0, b"XX"), broken(2, b"\x02"), broken(3, b"\x06")]
    + [broken(32, struct.pack("<f", float("nan"))), broken(12, struct.pack("<f", float("inf")))],
    ids=["empty", "JSON", "short", "magic", "layout", "state", "rotation", "latency"],
)
def test_a_payload_that_is_no_packed_frame_is_said_to_be_none(payload: bytes) -> None:
    with pytest.raises(wire.PayloadError):
        packed.decode(payload)


def test_too_few_channels_are_a_bug_and_no_frame() -> None:
    with pytest.raises(ValueError, match="52 weights"):
        packed.encode(a_state(blendshapes=np.zeros(51, np.float32)), 0)


@pytest.mark.parametrize(("settings", "leaves"), [({}, {"frame"}), ({"frame_bin": True}, {"frame", "frame.bin"})])
def test_packed_frames_are_published_where_they_are_asked_for(
    mosquitto: Mosquitto, settings: dict[str, Any], leaves: set[str]
) -> None:
    reader = Reader(mosquitto.port, topics=f"{ROOT}/cam0/0/#")
    with publishing(mosquitto.port, **settings) as made:
        made.send(a_state())
        assert wait_until(lambda: bool(reader.on("cam0/0/frame")))
    reader.close()

    heard = {message.topic.split("/")[-1]: message for message in reader.messages}
    assert heard.keys() - {"state"} == leaves
    if "frame.bin" in heard:
        packed_frame, plain = packed.decode(heard["frame.bin"].payload), wire.decode(heard["frame"].payload)
        assert (packed_frame.sequence, packed_frame.captured_ns) == (plain.sequence, plain.captured_ns)
        assert (heard["frame.bin"].qos, heard["frame.bin"].retain, heard["frame.bin"].expiry_s) == (0, False, 1)
