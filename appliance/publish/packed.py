"""A frame packed into 256 bytes, for renderers that would rather not parse JSON sixty times a second.

Published beside the JSON one, on ``<stream>/<slot>/frame.bin``, where ``broker.frame_bin = true``. Little-endian,
every field aligned to its size, no padding::

    offset type      field
         0 u8[2]     "AF"
         2 u8        layout, 1; another number is another layout
         3 u8        state: 0 absent, 1 acquiring, 2 tracking, 3 lost, 4 idle, 5 voice
         4 u8        flags: bit 0 somebody speaks
         5 u8        0
         6 u16       confidence, of 65535
         8 u32       seq, modulo 2**32
        12 f32       latency from capture until the state was complete, milliseconds
        16 i64       captured_ns, CLOCK_MONOTONIC of the device
        24 i64       captured_utc_ns
        32 f32[4]    head rotation, quaternion x, y, z, w
        48 f32[3]    head position, metres
        60 f32[4]    gaze in degrees: left yaw, left pitch, right yaw, right pitch
        76 u8[32]    session, UTF-8, filled up with zeros
       108 u16[52]   blendshapes, of 65535, in the order of ``info.channels.blendshapes``
       212 u16[15]   visemes, likewise
       242 u16[5]    moods, likewise
       252 u16       loudness of the voice, of 65535
       254 u16       arousal of the voice, of 65535

Conventions are those of the JSON frame; of the stages' latencies only the total is there.
"""

import math
import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from appliance.avatar.channels import BLENDSHAPES, MOODS, VISEMES
from appliance.publish.wire import PayloadError, WireFrame, checked
from appliance.values import AvatarState, Float32, Gaze, HeadPose, TrackingState

LAYOUT = 1
SIZE = 256
STATES = tuple(TrackingState)

_MAGIC = b"AF"
_FORM = struct.Struct("<2sBBBBHIfqq4f3f4f32s52H15H5HHH")
_FULL = 65535
_WEIGHTS = len(BLENDSHAPES) + len(VISEMES) + len(MOODS)


def encode(state: AvatarState, utc_offset_ns: int) -> bytes:
    """Return the payload of ``<stream>/<slot>/frame.bin``; what is not finite is sent as the JSON frame sends it."""
    head = state.head
    sound = all(map(math.isfinite, (*head.rotation, *head.position_m)))
    pose = head if sound else HeadPose()
    return _FORM.pack(
        _MAGIC,
        LAYOUT,
        STATES.index(state.state),
        int(state.voice.active),
        0,
        _share(state.confidence),
        state.sequence % 2**32,
        max(0.0, _finite(state.latency_ms.get("total", 0.0))),
        state.captured_ns,
        state.captured_ns + utc_offset_ns,
        *pose.rotation,
        *pose.position_m,
        *map(_finite, (*state.gaze.left_deg, *state.gaze.right_deg)),
        _session(state.session),
        *_shares(state.blendshapes, len(BLENDSHAPES)),
        *_shares(state.visemes, len(VISEMES)),
        *_shares(state.mood, len(MOODS)),
        _share(state.voice.level),
        _share(state.voice.arousal),
    )


def decode(payload: bytes) -> WireFrame:
    """Return the frame of a packed payload; ``PayloadError`` when it is none of this layout. The reference decoder."""
    if len(payload) != SIZE or payload[:2] != _MAGIC or payload[2] != LAYOUT:
        raise PayloadError(f"packed frames of layout {LAYOUT} have {SIZE} bytes and begin with {_MAGIC!r}")
    if payload[3] >= len(STATES):
        raise PayloadError(f"a packed state is below {len(STATES)}, got {payload[3]}")
    fields = _FORM.unpack(payload)
    rx, ry, rz, rw, px, py, pz, left_yaw, left_pitch, right_yaw, right_pitch = fields[10:21]
    weights: Float32 = np.array(fields[22 : 22 + _WEIGHTS], dtype=np.float32) / np.float32(_FULL)
    level, arousal = fields[-2] / _FULL, fields[-1] / _FULL
    blendshapes, visemes, mood = np.split(weights, (len(BLENDSHAPES), len(BLENDSHAPES) + len(VISEMES)))
    frame = WireFrame(
        sequence=fields[6],
        session=fields[21].rstrip(b"\0").decode(errors="replace"),
        state=STATES[fields[2]],
        confidence=fields[5] / _FULL,
        captured_ns=fields[8],
        captured_utc_ns=fields[9],
        head=HeadPose((rx, ry, rz, rw), (px, py, pz)),
        gaze=Gaze((left_yaw, left_pitch), (right_yaw, right_pitch)),
        blendshapes=blendshapes,
        visemes=visemes,
        mood=mood,
        voice_active=bool(fields[3] & 1),
        voice_level=level,
        voice_arousal=arousal,
        latency_ms={"total": fields[7]},
    )
    return checked(frame)


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else 0.0


def _share(value: float) -> int:
    return round(min(1.0, max(0.0, _finite(value))) * _FULL)


def _shares(values: npt.NDArray[np.float32], count: int) -> Sequence[int]:
    if len(values) != count:
        raise ValueError(f"{count} weights were expected, got {len(values)}")
    sound = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    shares: list[int] = np.rint(np.clip(sound, 0.0, 1.0) * _FULL).astype(int).tolist()
    return shares


def _session(name: str) -> bytes:
    return name.encode()[:32]
