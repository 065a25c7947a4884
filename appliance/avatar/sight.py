"""How one face was seen in one picture, and what that says of its mouth. Pure functions of values."""

from dataclasses import dataclass
from math import asin, atan2, degrees

import numpy as np

from appliance.face.headpose import rotation_matrix
from appliance.values import HeadPose, TrackingState

# A face turned so far is seen well, and one so much farther no mouth can be read from, degrees.
_TURNED_DEG, _AWAY_DEG = 30.0, 50.0
_NODDED_DEG, _DOWN_DEG = 25.0, 40.0
_CLEAR, _UNCLEAR = 0.8, 0.4  # the landmark network's presence

_STAY_NS = 2_000_000_000  # nobody is seen any more, but the voice goes on: pauses within speech are shorter


@dataclass(frozen=True, slots=True)
class Sight:
    """How one face was seen in one picture."""

    state: TrackingState
    at_ns: int
    confidence: float = 0.0
    head: HeadPose | None = None  # None where no face was
    jaw: float = 0.0  # how far it was open, as it was read


def trusted(sight: Sight) -> float:
    """How well a mouth can be seen, 0..1: by how sure the face is and how far it is turned from the camera."""
    if sight.head is None:
        return 0.0
    turned_deg, nodded_deg = _turned_deg(sight.head)
    return min(
        fading(turned_deg, _TURNED_DEG, _AWAY_DEG),
        fading(nodded_deg, _NODDED_DEG, _DOWN_DEG),
        fading(-sight.confidence, -_CLEAR, -_UNCLEAR),
    )


def may_speak(sight: Sight, there_ns: int | None) -> bool:
    """Whether a voice may be this avatar's: somebody is seen, was a moment ago, or has not stopped speaking since.

    ``there_ns`` is when somebody was last seen here or, after being seen, heard. A voice in an empty booth is
    nobody's here. A microphone without a camera is always its own.
    """
    if sight.state is TrackingState.VOICE or sight.head is not None:
        return True
    return there_ns is not None and sight.at_ns - there_ns <= _STAY_NS


def fading(value: float, whole: float, none: float) -> float:
    """1 up to ``whole``, 0 from ``none`` on, even between."""
    return min(max((none - value) / (none - whole), 0.0), 1.0)


def _turned_deg(head: HeadPose) -> tuple[float, float]:
    """How far a face is turned and nodded away from the camera, each at least 0."""
    x, y, z = (-np.asarray(head.position_m) @ rotation_matrix(head.rotation)).tolist()
    away_m = max((x * x + y * y + z * z) ** 0.5, 1e-6)
    return abs(degrees(atan2(x, z))), abs(degrees(asin(min(max(y / away_m, -1), 1))))
