"""What other programs make of our packets: decoders written from the public formats, apart from the bridges' code."""

import dataclasses
import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from brokers import a_state

from appliance.avatar.channels import BLENDSHAPES
from appliance.publish import wire
from appliance.publish.wire import WireFrame
from appliance.values import HeadPose

Matrix = npt.NDArray[np.float64]
Message = tuple[str, list[Any]]

X, Y, Z = np.eye(3)
"""Of the face on the wire: to the person's left, up, out of the face."""


def a_frame(**changes: Any) -> WireFrame:
    """A frame in which every channel has a value of its own, as it comes off the wire; ``changes`` replace parts."""
    return dataclasses.replace(wire.decode(wire.encode(a_state(), 1_790_000_000_000_000_000)), **changes)


def weight(frame: WireFrame, name: str) -> float:
    return float(frame.blendshapes[BLENDSHAPES.index(name)])


def turn(axis: Matrix, angle_deg: float) -> tuple[float, float, float, float]:
    """A right-handed rotation about an axis, as a quaternion."""
    half = math.radians(angle_deg) / 2
    x, y, z = (math.sin(half) * axis).tolist()
    return (x, y, z, math.cos(half))


def facing(axis: Matrix, angle_deg: float) -> WireFrame:
    return a_frame(head=HeadPose(turn(axis, angle_deg), (0.1, -0.05, -0.62)))


def matrix(rotation: tuple[float, ...]) -> Matrix:
    """A quaternion's matrix, by turning each axis: v + 2w(q x v) + 2q x (q x v)."""
    q, w = np.array(rotation[:3]), rotation[3]
    columns = [v + 2 * w * np.cross(q, v) + 2 * np.cross(q, np.cross(q, v)) for v in np.eye(3)]
    return np.array(columns).T


def about(axis: int, angle_deg: float) -> Matrix:
    """A rotation matrix about axis 0, 1 or 2, right-handed."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    turned = np.eye(3)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    turned[one, one] = turned[other, other] = c
    turned[other, one], turned[one, other] = s, -s
    return turned


def read_osc(packet: bytes) -> list[Message]:
    """OSC 1.0: the messages of a packet, bundles opened; every length and padding is checked."""
    assert len(packet) % 4 == 0
    if packet.startswith(b"#bundle\0"):
        assert packet[8:16] == b"\0\0\0\0\0\0\0\x01"
        messages, at = [], 16
        while at < len(packet):
            (size,) = struct.unpack_from(">i", packet, at)
            messages += read_osc(packet[at + 4 : at + 4 + size])
            at += 4 + size
        assert at == len(packet)
        return messages
    address, at = _osc_text(packet, 0)
    tags, at = _osc_text(packet, at)
    assert tags[0] == ","
    values: list[Any] = []
    for tag in tags[1:]:
        if tag == "s":
            text, at = _osc_text(packet, at)
            values.append(text)
        else:
            values.append(struct.unpack_from({"i": ">i", "f": ">f"}[tag], packet, at)[0])
            at += 4
    assert at == len(packet)
    return [(address, values)]


def _osc_text(packet: bytes, at: int) -> tuple[str, int]:
    end = packet.index(b"\0", at)
    after = end + 4 - (end - at) % 4
    assert set(packet[end:after]) == {0}
    return packet[at:end].decode(), after


def read_ifacialmocap(line: bytes) -> tuple[dict[str, int], dict[str, list[float]]]:
    """iFacialMocap: shapes 0..100 by name, then head, rightEye and leftEye; as strict as its strictest receivers."""
    text = line.decode("ascii")
    assert text.count("=") == 1
    assert text.endswith("|")
    before, after = text.split("=")
    sign = "&" if "&" in before else "-"
    shapes = {}
    for part in before.removesuffix("|").split("|"):
        name, value = part.split(sign)
        assert value.isdecimal()
        shapes[name] = int(value)
    bones = {}
    for part in after.removesuffix("|").split("|"):
        name, numbers = part.split("#")
        bones[name] = [float(number) for number in numbers.split(",")]
    return shapes, bones


def read_livelink(packet: bytes) -> dict[str, Any]:
    """Live Link Face: in the order in which Unreal's plug-in reads it."""
    assert packet[0] == 6
    (length,) = struct.unpack_from(">i", packet, 1)
    device, at = packet[5 : 5 + length].decode(), 5 + length
    (length,) = struct.unpack_from(">i", packet, at)
    subject, at = packet[at + 4 : at + 4 + length].decode(), at + 4 + length
    frame, fraction, numerator, denominator, count = struct.unpack_from(">ifiiB", packet, at)
    values = struct.unpack_from(f">{count}f", packet, at + 17)
    assert at + 17 + 4 * count == len(packet)
    return {
        "device": device,
        "subject": subject,
        "frame": frame,
        "fraction": fraction,
        "rate": numerator / denominator,
        "values": values,
    }


# A renderer of the wire's own frames maps to Unreal's axes: x forward, y right, z up, left-handed.
_TO_UNREAL = np.array([[0, 0, -1], [1, 0, 0], [0, 1, 0]], dtype=float)


def unreal_values(rotation: tuple[float, ...]) -> tuple[float, float, float]:
    """What Unreal's plug-in makes of ARKit's rotation of an unmirrored face: yaw, pitch and roll of a FRotator,
    divided by 180, yaw and roll negated."""
    turned = _TO_UNREAL @ matrix(rotation) @ _TO_UNREAL.T
    x_axis, y_axis, z_axis = turned.T
    yaw = math.atan2(x_axis[1], x_axis[0])
    pitch = math.atan2(x_axis[2], math.hypot(x_axis[0], x_axis[1]))
    level_y = np.array([-math.sin(yaw), math.cos(yaw), 0.0])
    roll = math.atan2(z_axis @ level_y, y_axis @ level_y)
    return (-math.degrees(yaw) / 180, math.degrees(pitch) / 180, -math.degrees(roll) / 180)
