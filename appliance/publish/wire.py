"""The wire format: values in, the bytes of the contract's topics out, and back for readers.

Nothing of the daemon is needed here beyond its values and channel names, so a renderer written in
Python may import this module alone.

A number that is not finite never leaves: a weight, level or angle becomes 0, a head without a finite
pose becomes the neutral pose, a latency is left out. ``is_finite`` tells that a state needed it.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from appliance.avatar.channels import BLENDSHAPES, MOODS, VISEMES
from appliance.values import AvatarState, Event, Float32, Gaze, HeadPose, TrackingState

VERSION = 1
ROOT = f"avatar/v{VERSION}"
DEVICE_LEAVES = ("availability", "info", "health", "event")
STREAM_LEAVES = ("state", "frame")
SCHEMAS = (*DEVICE_LEAVES, *STREAM_LEAVES, "command", "answer")
ONLINE, OFFLINE = b"online", b"offline"
MAX_FRAME_BYTES = 2000
"""No frame is longer. One of a real face takes 1.6 kB, of which everything but the weights' digits is 1.5 kB."""

_MOST_TURN, _MOST_M, _MOST_DEG = 1.01, 1000.0, 360.0

COORDINATES = {
    "head": "OpenGL camera convention, unmirrored: origin at the camera, +X to the right of the picture, +Y up, "
    "+Z out of the scene, a face before the camera has negative z; rotation is a quaternion x, y, z, w, identity "
    "when the face looks straight into the camera; position in metres",
    "gaze": "yaw and pitch of each eye relative to the head, in degrees, + to the right of the picture and up",
    "clock": "captured_ns is CLOCK_MONOTONIC of the device, captured_utc_ns the same moment since the Unix epoch",
}


class PayloadError(ValueError):
    """A payload that is not what the schema says: skip it, and look at who published it."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic of one device."""

    site: str
    device: str

    @property
    def root(self) -> str:
        """What every topic of the device begins with."""
        return f"{ROOT}/{self.site}/{self.device}"

    @property
    def availability(self) -> str:
        """Retained, QoS 1: ``online`` or ``offline``."""
        return f"{self.root}/availability"

    @property
    def info(self) -> str:
        """Retained, QoS 1: what the device is."""
        return f"{self.root}/info"

    @property
    def health(self) -> str:
        """Retained, QoS 1, each second: how the device is."""
        return f"{self.root}/health"

    @property
    def event(self) -> str:
        """QoS 1: what happened."""
        return f"{self.root}/event"

    @property
    def commands(self) -> str:
        """What every command's topic begins with."""
        return f"{self.root}/cmd/"

    @property
    def answers(self) -> str:
        """What every answer's topic begins with."""
        return f"{self.root}/resp/"

    def state(self, stream: str, slot: int) -> str:
        """Retained, QoS 1, on change: what is known about one person."""
        return f"{self.root}/{stream}/{slot}/state"

    def frame(self, stream: str, slot: int) -> str:
        """QoS 0: the parameters of one avatar."""
        return f"{self.root}/{stream}/{slot}/frame"

    def packed_frame(self, stream: str, slot: int) -> str:
        """QoS 0, where it is asked for: the same, packed."""
        return f"{self.frame(stream, slot)}.bin"


@dataclass(frozen=True, slots=True)
class Address:
    """A topic, taken apart."""

    site: str
    device: str
    leaf: str  # availability, info, health, event, state or frame
    stream: str = ""
    slot: int = 0


_NAME = "[A-Za-z0-9][A-Za-z0-9_-]{0,31}"
_TOPIC = re.compile(
    rf"{ROOT}/({_NAME})/({_NAME})/(?:({'|'.join(DEVICE_LEAVES)})|({_NAME})/([0-9]{{1,3}})/({'|'.join(STREAM_LEAVES)}))"
)


def parse_topic(topic: str) -> Address | None:
    """Return what a topic of the contract names; ``None`` for any other, and for names that no device may have."""
    found = _TOPIC.fullmatch(topic)
    if found is None:
        return None
    site, device, leaf, stream, slot, stream_leaf = found.groups()
    return Address(site, device, leaf) if leaf else Address(site, device, stream_leaf, stream, int(slot))


def encode(state: AvatarState, utc_offset_ns: int) -> bytes:
    """Return the payload of ``<stream>/<slot>/frame``.

    ``utc_offset_ns`` is wall clock minus CLOCK_MONOTONIC, taken when the frame is sent.
    All 52 weights are always there; they have two decimals: names alone take 1.1 kB, and finer steps are not seen.
    A quaternion has three, a tenth of a degree; metres have three.
    """
    voice = state.voice
    blendshapes, visemes, mood = _weights(state)
    first = _text(
        {
            "v": VERSION,
            "seq": state.sequence,
            "session": state.session,
            "state": state.state.value,
            "confidence": _level(state.confidence),
            "captured_ns": state.captured_ns,
            "captured_utc_ns": state.captured_ns + utc_offset_ns,
            "head": _head(state.head),
            "gaze": {"left": _angles(state.gaze.left_deg), "right": _angles(state.gaze.right_deg)},
        }
    )
    heard = _text({"active": bool(voice.active), "level": _level(voice.level), "arousal": _level(voice.arousal)})
    took = {name: max(0, _number(ms, 1)) for name, ms in state.latency_ms.items() if math.isfinite(ms)}
    weights = f'"blendshapes":{blendshapes},"visemes":{visemes},"voice":{heard},"mood":{mood}'
    return f'{first[:-1]},{weights},"latency_ms":{_text(took)}}}'.encode()


def encode_state(state: AvatarState, utc_offset_ns: int) -> bytes:
    """Return the payload of ``<stream>/<slot>/state``."""
    return _json(
        {
            "state": state.state.value,
            "session": state.session,
            "since_utc_ns": state.since_ns + utc_offset_ns,
            "confidence": _level(state.confidence),
        }
    )


def encode_info(info: Mapping[str, object]) -> bytes:
    """Return the payload of ``info``: what the daemon says of itself, and what the wire format adds.

    ``info`` holds ``versions``, ``cameras``, ``microphones``, ``models`` and ``engines`` as the schema says.
    """
    wire = {
        "v": VERSION,
        "schemas": {name: {"id": schema(name)["$id"], "sha256": _digest(schema_text(name))} for name in SCHEMAS},
        "channels": {"blendshapes": BLENDSHAPES, "visemes": VISEMES, "moods": MOODS},
        "coordinates": COORDINATES,
    }
    return _json({**wire, **info})


def encode_health(health: Mapping[str, object]) -> bytes:
    """Return the payload of ``health``; a number that is not finite becomes null."""
    return _json({"v": VERSION, **_finite_or_null(health)})


def encode_event(event: Event, utc_ns: int) -> bytes:
    """Return the payload of ``event``, which happened at ``utc_ns``; a number that is not finite becomes null."""
    return _json({"event": event.name, "utc_ns": utc_ns, **_finite_or_null(event.details)})


def encode_answer(status: str, data: Mapping[str, object], error: str | None, transaction: str | None) -> bytes:
    """Return the payload of ``resp/<name>``; ``status`` is done, failed or refused."""
    return _json({"status": status, "data": _finite_or_null(data), "error": error, "transaction": transaction})


def is_finite(state: AvatarState) -> bool:
    """Return whether every number of a state can be sent as it is."""
    head, gaze, voice = state.head, state.gaze, state.voice
    numbers = (
        state.confidence,
        voice.level,
        voice.arousal,
        *head.rotation,
        *head.position_m,
        *gaze.left_deg,
        *gaze.right_deg,
        *state.latency_ms.values(),
        *state.blendshapes.tolist(),
        *state.visemes.tolist(),
        *state.mood.tolist(),
    )
    return all(map(math.isfinite, numbers))


@dataclass(frozen=True, slots=True)
class WireFrame:
    """One frame as a reader got it."""

    sequence: int
    session: str
    state: TrackingState
    confidence: float
    captured_ns: int  # CLOCK_MONOTONIC of the device
    captured_utc_ns: int
    head: HeadPose
    gaze: Gaze
    blendshapes: Float32  # 52, 0..1
    visemes: Float32  # 15
    mood: Float32  # 5
    voice_active: bool
    voice_level: float
    voice_arousal: float
    latency_ms: Mapping[str, float]


def decode(payload: bytes) -> WireFrame:
    """Return the frame of a payload; fields that a later minor version adds are passed over.

    Raises ``PayloadError`` when the payload is no frame of this version.
    """
    fields = decode_json(payload)
    if fields.get("v") != VERSION:
        raise PayloadError(f"frames of version {VERSION} are understood, got v = {fields.get('v')!r}")
    try:
        return checked(_frame(fields))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PayloadError(f"not a frame: {type(error).__name__} at {error}") from None


def checked(frame: WireFrame) -> WireFrame:
    """Return a frame whose numbers a renderer can use; ``PayloadError`` where one lies beyond all bounds.

    A publisher that is broken, or not ours, must not make a reader fail further on.
    """
    whole = (frame.sequence, frame.captured_ns, frame.captured_utc_ns)
    shares = (frame.confidence, frame.voice_level, frame.voice_arousal)
    angles = (*frame.gaze.left_deg, *frame.gaze.right_deg)
    sound = (
        all(0 <= number < 2**63 for number in whole)
        and all(0 <= share <= 1 for share in shares)
        and all(abs(part) <= _MOST_TURN for part in frame.head.rotation)
        and all(abs(part) <= _MOST_M for part in frame.head.position_m)
        and all(abs(angle) <= _MOST_DEG for angle in angles)
        and all(map(math.isfinite, frame.latency_ms.values()))
    )
    if not sound:
        raise PayloadError("a frame holds a number that is out of its range")
    return frame


def decode_json(payload: bytes) -> dict[str, Any]:
    """Return the object of any JSON payload; ``PayloadError`` when it is none."""
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise PayloadError(f"a JSON object was expected, got {type(fields).__name__}")
    return fields


def schema_text(name: str) -> str:
    """Return the JSON Schema (2020-12) of one payload, as it is checked in; ``name`` is one of ``SCHEMAS``."""
    return resources.files(__package__).joinpath("schema").joinpath(f"{name}.json").read_text(encoding="utf-8")


@cache
def schema(name: str) -> Mapping[str, Any]:
    """Return the JSON Schema of one payload, parsed."""
    parsed: dict[str, Any] = json.loads(schema_text(name))
    return parsed


def _frame(fields: Mapping[str, Any]) -> WireFrame:
    head, gaze, voice = fields["head"], fields["gaze"], fields["voice"]
    rx, ry, rz, rw = map(float, head["rotation"])
    px, py, pz = map(float, head["position"])
    left_yaw, left_pitch = map(float, gaze["left"])
    right_yaw, right_pitch = map(float, gaze["right"])
    return WireFrame(
        sequence=int(fields["seq"]),
        session=str(fields["session"]),
        state=TrackingState(fields["state"]),
        confidence=float(fields["confidence"]),
        captured_ns=int(fields["captured_ns"]),
        captured_utc_ns=int(fields["captured_utc_ns"]),
        head=HeadPose((rx, ry, rz, rw), (px, py, pz)),
        gaze=Gaze((left_yaw, left_pitch), (right_yaw, right_pitch)),
        blendshapes=_array(BLENDSHAPES, fields["blendshapes"]),
        visemes=_array(VISEMES, fields["visemes"]),
        mood=_array(MOODS, fields["mood"]),
        voice_active=bool(voice["active"]),
        voice_level=float(voice["level"]),
        voice_arousal=float(voice["arousal"]),
        latency_ms={str(name): float(ms) for name, ms in fields["latency_ms"].items()},
    )


def _array(names: Sequence[str], weights: Mapping[str, float]) -> Float32:
    values = np.array([weights[name] for name in names], dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("a weight is between 0 and 1")
    return values.astype(np.float32)


def _weights(state: AvatarState) -> list[str]:
    """The JSON of blendshapes, visemes and mood.

    Most of a frame: by templates, and without NumPy, whose functions take fifty times as long sixty times a second as
    they take in a row.
    """
    parts = (state.blendshapes, state.visemes, state.mood)
    if [len(part) for part in parts] != _CHANNELS:
        raise ValueError(f"a state has {_CHANNELS} channels, got {[len(part) for part in parts]}")
    return [
        template % tuple([_step(weight) for weight in part.tolist()])
        for template, part in zip(_TEMPLATES, parts, strict=True)
    ]


def _step(weight: float) -> str:
    """A weight with two decimals, between 0 and 1."""
    return _STEPS[round(100 * min(1.0, max(0.0, weight)))] if math.isfinite(weight) else _STEPS[0]


def _level(value: float) -> float:
    return min(1.0, max(0.0, _number(value, 2)))


def _number(value: float, digits: int) -> float:
    """Round; 0.0 and -0.0 are written as 0, which is two bytes shorter."""
    return round(float(value), digits) or 0 if math.isfinite(value) else 0


def _angles(angles_deg: Sequence[float]) -> list[float]:
    return [_number(angle, 1) for angle in angles_deg]


def _head(head: HeadPose) -> dict[str, list[float]]:
    sound = all(map(math.isfinite, (*head.rotation, *head.position_m)))
    pose = head if sound else HeadPose()
    return {
        "rotation": [_number(value, 3) for value in pose.rotation],
        "position": [_number(value, 3) for value in pose.position_m],
    }


def _finite_or_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite_or_null(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite_or_null(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


_text = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode

_STEPS = [_text(step / 100 or 0) for step in range(101)]
_CHANNELS = [len(BLENDSHAPES), len(VISEMES), len(MOODS)]
_TEMPLATES = [_text(dict.fromkeys(names, "%s")).replace('"%s"', "%s") for names in (BLENDSHAPES, VISEMES, MOODS)]


def _json(fields: Mapping[str, object]) -> bytes:
    return _text(fields).encode()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
