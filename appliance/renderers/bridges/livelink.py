"""Live Link Face: the packets of Epic's iPhone app, which Unreal's Live Link reads (plug-in Apple ARKit, UDP 11111).

The format is what Unreal's plug-in reads: big-endian u8 6, two texts (i32 length, UTF-8): device and subject; frame
number i32 and its fraction f32, frames a second as i32 / i32; u8 61 and 61 f32: the 52 shapes in Unreal's order, then
yaw, pitch and roll of head, left and right eye in degrees / 180. Signs are the face's right-handed ones, as the plug-in
makes them of an unmirrored face: + turns to the person's left, looks down, tilts to the person's right.
"""

import struct
import uuid

from appliance.avatar.channels import BLENDSHAPES
from appliance.publish.wire import WireFrame
from appliance.renderers.bridges.pose import angles_deg, eye_angles_deg

PORT = 11111
VERSION = 6
FPS = 60
SHAPES: tuple[str, ...] = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight",
    "eyeWideRight",
    "jawForward", "jawLeft", "jawRight", "jawOpen",
    "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight",
    "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft",
    "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip

_ORDER = [BLENDSHAPES.index(name) for name in SHAPES]
_HALF_TURN_DEG = 180.0
_DAY_NS = 86_400_000_000_000


class LiveLink:
    """Says frames as the app does, as one subject."""

    def __init__(self, subject: str) -> None:
        device = str(uuid.uuid5(uuid.NAMESPACE_OID, f"avatar-appliance {subject}")).upper()
        self._head = struct.pack(">B", VERSION) + _text(device) + _text(subject)

    def datagrams(self, frame: WireFrame) -> list[bytes]:
        """Return one frame's packet; its time code is the time of day, in UTC, when it was captured."""
        number, remainder_ns = divmod(frame.captured_utc_ns % _DAY_NS * FPS, 1_000_000_000)
        time_code = struct.pack(">ifii", number, remainder_ns / 1e9, FPS, 1)
        shapes = frame.blendshapes[_ORDER].tolist()
        values = (*shapes, *_turns(*angles_deg(frame.head.rotation)))
        for gaze_deg in (frame.gaze.left_deg, frame.gaze.right_deg):
            values += _turns(*eye_angles_deg(gaze_deg), 0.0)
        return [self._head + time_code + struct.pack(f">B{len(values)}f", len(values), *values)]

    def silence(self) -> list[bytes]:
        """Return nothing: Unreal marks a subject that stops as stale."""
        return []


def _turns(pitch_deg: float, yaw_deg: float, roll_deg: float) -> tuple[float, float, float]:
    return (yaw_deg / _HALF_TURN_DEG, pitch_deg / _HALF_TURN_DEG, roll_deg / _HALF_TURN_DEG)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">i", len(raw)) + raw
