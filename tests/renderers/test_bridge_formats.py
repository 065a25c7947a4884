"""Each bridge's packets, byte for byte, by decoders of their own and by real receivers."""

import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from brokers import a_state
from hypothesis import given, settings
from hypothesis import strategies as st
from pylivelinkface import FaceBlendShape, PyLiveLinkFace
from pythonosc.osc_packet import OscPacket

from appliance.avatar.channels import BLENDSHAPES
from appliance.publish import wire
from appliance.publish.wire import WireFrame
from appliance.renderers.bridges import osc
from appliance.renderers.bridges.ifacialmocap import IFacialMocap
from appliance.renderers.bridges.livelink import SHAPES, LiveLink
from appliance.renderers.bridges.pose import angles_deg, eye_rotation, mirrored
from appliance.renderers.bridges.vmc import PACKET_BYTES, Vmc
from appliance.renderers.bridges.vtubestudio import custom_name, parameters
from appliance.values import Gaze, HeadPose, TrackingState

from .receivers import (
    Message,
    X,
    Y,
    Z,
    a_frame,
    about,
    facing,
    matrix,
    read_ifacialmocap,
    read_livelink,
    read_osc,
    turn,
    unreal_values,
    weight,
)

# What each sign says, in the words of the person before the camera.
MOVES = {
    "turns to their left": (Y, 30.0),
    "turns to their right": (Y, -30.0),
    "looks down": (X, 20.0),
    "looks up": (X, -20.0),
    "tilts to their right": (Z, 15.0),
    "tilts to their left": (Z, -15.0),
}


def vmc_messages(frame: WireFrame, **options: str) -> list[Message]:
    return [message for packet in Vmc(**options).datagrams(frame) for message in read_osc(packet)]


def bone(frame: WireFrame, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    (values,) = (
        values for address, values in vmc_messages(frame) if address.endswith("/Bone/Pos") and values[0] == name
    )
    return tuple(values[1:4]), tuple(values[4:])


def test_an_osc_message_is_as_the_specification_s_example() -> None:
    """The second example of OSC 1.0's page of examples: /foo with 1000, -1, "hello", 1.234, 5.678."""
    expected = bytes.fromhex(
        "2f666f6f00000000 2c69697366660000 000003e8 ffffffff 68656c6c6f000000 3f9df3b6 40b5b22d".replace(" ", "")
    )

    assert osc.message("/foo", 1000, -1, "hello", 1.234, 5.678) == expected


def test_bundles_keep_order_and_size() -> None:
    messages = [osc.message("/n", n) for n in range(500)]

    packets = list(osc.bundles(messages, 200))

    assert all(len(packet) <= 200 for packet in packets)
    assert [values[0] for packet in packets for _, values in read_osc(packet)] == list(range(500))


def test_a_vmc_frame_says_everything_in_order() -> None:
    frame = a_frame()

    messages = vmc_messages(frame)

    addresses = [address for address, _ in messages]
    assert addresses == [
        *("/VMC/Ext/OK", "/VMC/Ext/T", "/VMC/Ext/Root/Pos"),
        *["/VMC/Ext/Bone/Pos"] * 3,
        *["/VMC/Ext/Blend/Val"] * 52,
        "/VMC/Ext/Blend/Apply",
    ]
    assert messages[0][1] == [1, 3, 0, 1]
    assert messages[1][1] == [0.0]
    assert messages[2][1] == ["root", 0, 0, 0, 0, 0, 0, 1]
    assert [values[0] for address, values in messages if address == "/VMC/Ext/Bone/Pos"] == [
        *("Head", "LeftEye", "RightEye")
    ]
    sent = {values[0]: values[1] for address, values in messages if address == "/VMC/Ext/Blend/Val"}
    assert sent == pytest.approx({name[0].upper() + name[1:]: weight(frame, name) for name in BLENDSHAPES})
    assert messages[-1][1] == []


def test_vmc_packets_fit_into_one_of_the_network_s_and_python_osc_reads_them() -> None:
    frame = a_frame()
    packets = Vmc("arkit").datagrams(frame)

    assert all(len(packet) <= PACKET_BYTES for packet in packets)
    heard = [timed.message for packet in packets for timed in OscPacket(packet).messages]
    blends = {message.params[0]: message.params[1] for message in heard if message.address == "/VMC/Ext/Blend/Val"}
    assert blends == pytest.approx({name: weight(frame, name) for name in BLENDSHAPES})
    assert heard[-1].address == "/VMC/Ext/Blend/Apply"


def test_vmc_time_goes_on_from_the_first_frame() -> None:
    vmc, frame = Vmc(), a_frame()
    vmc.datagrams(frame)

    later = a_frame(captured_ns=frame.captured_ns + 1_500_000_000)

    assert read_osc(vmc.datagrams(later)[0])[1] == ("/VMC/Ext/T", [1.5])


@pytest.mark.parametrize(
    ("state", "ok"),
    [
        (TrackingState.ACQUIRING, [1, 2, 0, 1]),
        (TrackingState.TRACKING, [1, 3, 0, 1]),
        (TrackingState.VOICE, [1, 3, 0, 1]),
        (TrackingState.LOST, [1, 3, 0, 0]),
        (TrackingState.IDLE, [1, 3, 0, 0]),
        (TrackingState.ABSENT, [1, 3, 0, 0]),
    ],
)
def test_vmc_says_whether_somebody_is_tracked(state: TrackingState, ok: list[int]) -> None:
    assert vmc_messages(a_frame(state=state))[0] == ("/VMC/Ext/OK", ok)


def test_vmc_says_that_nothing_is_sent() -> None:
    assert [read_osc(packet) for packet in Vmc().silence()] == [[("/VMC/Ext/OK", [0, 0, 0, 0])]]


def test_an_avatar_with_vrm_s_presets_gets_them() -> None:
    shapes = np.zeros(52, np.float32)
    for name, value in (("jawOpen", 0.6), ("eyeBlinkLeft", 1.0), ("mouthPucker", 0.5)):
        shapes[BLENDSHAPES.index(name)] = value
    frame = a_frame(blendshapes=shapes, mood=np.array([0, 0.7, 0, 0, 0], np.float32))

    sent = {
        values[0]: values[1] for address, values in vmc_messages(frame, names="vrm") if address == "/VMC/Ext/Blend/Val"
    }

    mouth = {"A": 0.3, "I": 0, "U": 0.2, "E": 0, "O": 0.3}
    rest = {"Blink_L": 1, "Blink_R": 0, "Joy": 0.7, "Angry": 0, "Sorrow": 0}
    assert sent == pytest.approx(mouth | rest, abs=1e-6)


@pytest.mark.parametrize(
    ("move", "axis", "sign"),
    [
        ("turns to their left", Z, -X),
        ("turns to their right", Z, X),
        ("looks down", Z, -Y),
        ("looks up", Z, Y),
        ("tilts to their right", Y, X),
        ("tilts to their left", Y, -X),
    ],
)
def test_vmc_s_head_moves_as_the_person_does_in_unity_s_axes(move: str, axis: np.ndarray, sign: np.ndarray) -> None:
    """In Unity an avatar that looks along +Z has +X to its own right; a quaternion turns by the same formula."""
    _, rotation = bone(facing(*MOVES[move]), "Head")

    assert matrix(rotation) @ axis @ sign == pytest.approx(math.sin(math.radians(abs(MOVES[move][1]))), abs=1e-3)


@pytest.mark.parametrize(("gaze", "sign"), [((20.0, 0.0), -X), ((-20.0, 0.0), X), ((0.0, 20.0), Y), ((0.0, -20.0), -Y)])
def test_vmc_s_eyes_look_where_the_person_looks(gaze: tuple[float, float], sign: np.ndarray) -> None:
    frame = a_frame(gaze=Gaze(gaze, gaze))

    for name in ("LeftEye", "RightEye"):
        position, rotation = bone(frame, name)
        assert matrix(rotation) @ Z @ sign == pytest.approx(math.sin(math.radians(20)), abs=1e-6)
        assert position == (0, 0, 0)


def test_an_ifacialmocap_line_is_byte_for_byte_the_app_s() -> None:
    frame = a_frame(
        blendshapes=np.array([0.01 * n for n in range(52)], np.float32),
        head=HeadPose(turn(Y, 30.0), (0.01, -0.02, -0.62)),
        gaze=Gaze((2.1, -0.4), (1.8, -0.5)),
    )

    (line,) = IFacialMocap().datagrams(frame)

    assert line.startswith(b"browDown_L-0|browDown_R-1|browInnerUp-2|browOuterUp_L-3|browOuterUp_R-4|cheekPuff-5|")
    assert b"|jawForward-22|jawLeft-23|jawOpen-24|jawRight-25|mouthClose-26|" in line
    assert b"|mouthFunnel-31|mouthLeft-32|mouthLowerDown_L-33|" in line
    assert line.endswith(
        b"tongueOut-51|=head#0.0000,30.0000,0.0000,0.0100,-0.0200,-0.6200|"
        b"rightEye#0.5000,1.8000,0.0000|leftEye#0.4000,2.1000,0.0000|"
    )


@pytest.mark.parametrize("version", [1, 2])
def test_ifacialmocap_s_receivers_find_every_shape(version: int) -> None:
    frame = a_frame()

    shapes, bones = read_ifacialmocap(IFacialMocap(version).datagrams(frame)[0])

    assert len(shapes) == 52
    assert shapes["eyeBlink_L"] == round(100 * weight(frame, "eyeBlinkLeft"))
    assert shapes["mouthRight"] == round(100 * weight(frame, "mouthRight"))
    assert set(bones) == {"head", "rightEye", "leftEye"}
    assert bones["head"][3:] == pytest.approx(frame.head.position_m)


def test_ifacialmocap_s_eyes_have_the_signs_of_its_own_example() -> None:
    """There both eyes look down by 6 degrees (X) and each towards the nose: right eye Y +2.4, left eye Y -1.7."""
    cross_eyed = a_frame(gaze=Gaze((-1.67, -6.03), (2.44, -6.03)))

    _, bones = read_ifacialmocap(IFacialMocap().datagrams(cross_eyed)[0])

    assert bones["rightEye"][:2] == pytest.approx([6.03, 2.44])
    assert bones["leftEye"][:2] == pytest.approx([6.03, -1.67])


@pytest.mark.parametrize("seed", range(20))
def test_angles_are_those_of_unity_and_unreal(seed: int) -> None:
    """Yaw about Y, then pitch about X, then roll about Z, each about the axes that the one before has turned."""
    chance = np.random.default_rng(seed)
    pitch_deg, yaw_deg, roll_deg = chance.uniform((-85, -180, -180), (85, 180, 180))
    axis = chance.normal(size=3)
    rotation = turn(axis / np.linalg.norm(axis), float(chance.uniform(-170, 170)))

    turned = matrix(rotation)
    found_pitch, found_yaw, found_roll = angles_deg(rotation)

    assert about(1, found_yaw) @ about(0, found_pitch) @ about(2, found_roll) == pytest.approx(turned, abs=1e-9)
    made = about(1, yaw_deg) @ about(0, pitch_deg) @ about(2, roll_deg)
    w = math.sqrt(max(0.0, 1 + np.trace(made))) / 2
    if w > 0.1:
        x, y, z = (
            np.array([made[2, 1] - made[1, 2], made[0, 2] - made[2, 0], made[1, 0] - made[0, 1]]) / (4 * w)
        ).tolist()
        assert angles_deg((x, y, z, w)) == pytest.approx((pitch_deg, yaw_deg, roll_deg), abs=1e-6)


def test_an_eye_s_rotation_is_its_angles() -> None:
    assert angles_deg(eye_rotation((25.0, -10.0))) == pytest.approx((10.0, 25.0, 0.0))


def test_a_live_link_packet_is_byte_for_byte_the_app_s() -> None:
    frame = a_frame(
        blendshapes=np.zeros(52, np.float32), head=HeadPose(), gaze=Gaze(), captured_utc_ns=3_600_500_000_000
    )

    (packet,) = LiveLink("Visitor").datagrams(frame)

    assert len(packet) == 1 + 4 + 36 + 4 + 7 + 16 + 1 + 61 * 4
    assert packet[:5] == b"\x06\x00\x00\x00$"  # as u32 little-endian 6 and a "$", it is also what others describe
    assert packet[41:52] == b"\0\0\0\x07Visitor"
    assert packet[52:69] == struct.pack(">ifii", 3600 * 60 + 30, 0.0, 60, 1) + b"="
    assert packet[69:] == bytes(61 * 4)


@pytest.mark.parametrize("seed", range(8))
def test_unreal_reads_what_its_own_plug_in_would_have_sent(seed: int) -> None:
    chance = np.random.default_rng(seed)
    axis = chance.normal(size=3)
    frame = a_frame(head=HeadPose(turn(axis / np.linalg.norm(axis), float(chance.uniform(-80, 80)))))

    heard = read_livelink(LiveLink("Visitor").datagrams(frame)[0])

    assert heard["subject"] == "Visitor"
    assert (heard["rate"], len(heard["values"]), len(heard["device"])) == (60, 61, 36)
    assert heard["values"][52:55] == pytest.approx(unreal_values(frame.head.rotation), abs=1e-6)
    assert heard["values"][55:61] == pytest.approx([angle / 180 for angle in (2.1, 0.4, 0.0, 1.8, 0.5, 0.0)], abs=1e-6)


def test_live_link_s_shapes_are_where_a_real_receiver_looks_for_them() -> None:
    frame = a_frame()

    found, heard = PyLiveLinkFace.decode(LiveLink("Visitor").datagrams(frame)[0])

    assert found
    assert heard.name == "Visitor"
    for name in SHAPES:
        place = FaceBlendShape[name[0].upper() + name[1:]]
        assert heard.get_blendshape(place) == pytest.approx(weight(frame, name)), name
    assert sorted(SHAPES) == sorted(BLENDSHAPES)


def test_live_link_s_time_code_is_the_time_of_day() -> None:
    frame = a_frame(captured_utc_ns=1_790_000_000_025_000_000)

    heard = read_livelink(LiveLink("Visitor").datagrams(frame)[0])

    seconds = (1_790_000_000 % 86400) + 0.025
    assert (heard["frame"] + heard["fraction"]) / 60 == pytest.approx(seconds, abs=1e-4)


@pytest.mark.parametrize(
    ("move", "name", "value"),
    [
        ("turns to their left", "FaceAngleX", 30),
        ("turns to their right", "FaceAngleX", -30),
        ("looks up", "FaceAngleY", 20),
        ("looks down", "FaceAngleY", -20),
        ("tilts to their left", "FaceAngleZ", 15),
        ("tilts to their right", "FaceAngleZ", -15),
    ],
)
def test_vtube_studio_s_angles_are_those_of_the_screen(move: str, name: str, value: float) -> None:
    """Live2D's + is the right of the screen, where the avatar's own left is."""
    values = parameters(facing(*MOVES[move]))

    assert values[name] == pytest.approx(value, abs=1e-6)
    assert (values["FacePositionX"], values["FacePositionY"], values["FacePositionZ"]) == pytest.approx((10, -5, -2))


def test_vtube_studio_gets_all_shapes_within_its_limits() -> None:
    frame = a_frame()

    values = parameters(frame)

    ours = {custom_name(name) for name in BLENDSHAPES}
    assert len(ours) == 52
    assert all(name.isalnum() and 4 <= len(name) <= 32 for name in ours)
    assert values["ArkitJawOpen"] == pytest.approx(weight(frame, "jawOpen"))
    assert set(values) - ours == {
        *("FaceAngleX", "FaceAngleY", "FaceAngleZ", "FacePositionX", "FacePositionY", "FacePositionZ"),
        *("MouthOpen", "MouthSmile", "MouthX", "Brows", "BrowLeftY", "BrowRightY", "EyeOpenLeft", "EyeOpenRight"),
        *("EyeLeftX", "EyeLeftY", "EyeRightX", "EyeRightY", "CheekPuff", "TongueOut"),
    }


def test_vtube_studio_s_face_at_rest_is_in_the_middle() -> None:
    values = parameters(a_frame(blendshapes=np.zeros(52, np.float32), head=HeadPose(), gaze=Gaze()))

    assert {values[name] for name in ("MouthSmile", "Brows", "BrowLeftY", "BrowRightY")} == {0.5}
    assert {values[name] for name in ("MouthOpen", "MouthX", "EyeLeftX", "FaceAngleX", "FacePositionZ")} == {0.0}
    assert values["EyeOpenLeft"] == values["EyeOpenRight"] == 1.0


NUMBERS = st.one_of(
    st.floats(), st.integers(), st.sampled_from([0, 1, -1, 10**400, 2**63, 2**63 - 1, 1e308, -0.0, "1", None, [], True])
)
NAMES = ["seq", "session", "confidence", "captured_ns", "captured_utc_ns", "state", "voice", "latency_ms"]


@settings(max_examples=300, deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from(NAMES), NUMBERS),
    shape=st.tuples(st.sampled_from(BLENDSHAPES), NUMBERS),
    rotation=st.lists(NUMBERS, min_size=4, max_size=4),
    angles=st.lists(NUMBERS, min_size=2, max_size=2),
)
def test_whatever_a_broken_publisher_sends_is_refused_or_can_be_said(
    changes: dict[str, Any], shape: tuple[str, Any], rotation: list[Any], angles: list[Any]
) -> None:
    """A frame is passed over whole, or every protocol can say it: nobody's payload ends a bridge."""
    fields = json.loads(wire.encode(a_state(), 0))
    fields["blendshapes"][shape[0]] = shape[1]
    fields["head"]["rotation"], fields["gaze"]["left"] = rotation, angles
    try:
        frame = wire.decode(json.dumps({**fields, **changes}).encode())
    except wire.PayloadError:
        return

    for speaker in (Vmc(), Vmc("vrm"), IFacialMocap(), LiveLink("Visitor")):
        assert all(speaker.datagrams(each) for each in (frame, mirrored(frame)))
    assert all(abs(value) <= 1_000_000 for value in parameters(frame).values())


def test_a_mirror_changes_left_and_right_and_nothing_else() -> None:
    frame = a_frame(head=HeadPose(turn(Y, 30.0), (0.1, -0.05, -0.62)), gaze=Gaze((5.0, 2.0), (7.0, 3.0)))

    seen = mirrored(frame)

    for name in BLENDSHAPES:
        other = name.replace("Left", "#").replace("Right", "Left").replace("#", "Right")
        assert weight(seen, name) == weight(frame, other)
    assert angles_deg(seen.head.rotation) == pytest.approx((0.0, -30.0, 0.0))
    assert seen.head.position_m == (-0.1, -0.05, -0.62)
    assert seen.gaze == Gaze((-7.0, 3.0), (-5.0, 2.0))
    again = mirrored(seen)
    assert again.head == frame.head
    assert again.gaze == frame.gaze
    assert (again.blendshapes == frame.blendshapes).all()
