"""Whether two looks at a face show two people: lengths between points of bone, free of pose and size.

Tells a stranger who has taken a visitor's place, no more: it names nobody, and is forgotten with the visit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import asin, atan2, degrees

import numpy as np

from appliance.face import canonical as face
from appliance.face.headpose import head_frame, rotation_matrix
from appliance.values import Float32, HeadPose

ENOUGH = 20
"""Measurements that make a comparison; fewer are noise."""

_MOST = 150  # the mean forgets older ones
_OFTEN_NS, _SELDOM_NS = 30_000_000, 200_000_000  # between measurements until there are enough, and after

_X, _Y = 0, 1
_CORNERS = (face.EYE_OUTER_RIGHT, face.EYE_INNER_RIGHT, face.EYE_INNER_LEFT, face.EYE_OUTER_LEFT)
_LENGTHS: tuple[tuple[int, Sequence[int], Sequence[int]], ...] = (
    (_X, [face.EYE_OUTER_LEFT], [face.EYE_OUTER_RIGHT]),
    (_Y, face.NOSE_BRIDGE[:2], [face.NOSE_BASE, 94]),  # the nose's length
    (_X, [face.FACE_EDGE_LEFT, 356], [face.FACE_EDGE_RIGHT, 127]),  # the face's width
    (_X, [345, 323], [116, 93]),  # and that between the cheekbones
    (_Y, [face.FOREHEAD_TOP], face.NOSE_BRIDGE[:1]),
    (_Y, _CORNERS, [face.NOSE_BASE]),  # how high the eyes are over the nose
)
# What makes the logarithms of these lengths vary alike and independently in one person, and how far apart two looks at
# one are in one of a hundred comparisons: ``engines.training.bones``, of signing people and of drawn ones, through
# expressions, turns and distances.
_WHITEN = np.array(
    [
        [50, 1, 1, -4, 2, 5],
        [0, 28, 9, 9, -6, -13],
        [0, 0, 63, -51, -2, 3],
        [0, 0, 0, 65, 3, 5],
        [0, 0, 0, 0, 33, -8],
        [0, 0, 0, 0, 0, 20],
    ],
    np.float32,
)
# Of swaps between two people in other clips, one in six stays under this where faces are large, and nearly all do where
# eyes are 40 pixels apart; a visitor who moves about is split in one of seventeen comparisons. A visit cut in two costs
# a visitor the resting face that was learnt; a missed swap costs a stranger a few seconds of another's.
_DIFFERENT = 2.5

_SURE = 0.6  # a face less sure than this is not measured,
_TURNED_DEG, _NODDED_DEG = 25.0, 20.0  # nor one seen from farther aside


@dataclass(frozen=True, slots=True)
class Bones:
    """What the bone of one face measured, on the mean."""

    lengths: Float32  # 6 logarithms
    count: int
    at_ns: int


def seen_well(head: HeadPose, confidence: float) -> bool:
    """Whether a face is clear, and seen from near enough its front, to learn from it who it is and how it rests."""
    x, y, z = _to_camera(head)[0].tolist()
    turned_deg, nodded_deg = degrees(atan2(x, z)), degrees(asin(min(max(y, -1), 1)))
    return confidence >= _SURE and abs(turned_deg) <= _TURNED_DEG and abs(nodded_deg) <= _NODDED_DEG


def due(bones: Bones | None, now_ns: int) -> bool:
    """Whether it is time for another measurement."""
    return bones is None or now_ns - bones.at_ns >= (_OFTEN_NS if bones.count < ENOUGH else _SELDOM_NS)


def measure(points_px: Float32, head: HeadPose) -> Float32:
    """Six lengths of the 478 x 3 landmarks in head coordinates, as logarithms.

    What is farther from the lens looks smaller, so a near face is narrow before the ears: the
    distance of the head takes that away.
    """
    points_m = head_frame(points_px)
    to_camera, away_m = _to_camera(head)
    nearer_m = face.canonical_face().points_m @ to_camera  # the average face's depth: that of one picture is noise
    points_m = points_m * (1 - nearer_m / max(away_m, 0.2))[:, None]
    lengths_m = [
        points_m[list(plus), axis].mean() - points_m[list(minus), axis].mean() for axis, plus, minus in _LENGTHS
    ]
    logarithms: Float32 = np.log(np.maximum(np.asarray(lengths_m, np.float32), np.float32(1e-3)))
    return logarithms


def add(bones: Bones | None, lengths: Float32, now_ns: int) -> Bones:
    """Take one more measurement into the mean."""
    if bones is None:
        return Bones(lengths, 1, now_ns)
    count = min(bones.count + 1, _MOST)
    return Bones(bones.lengths + (lengths - bones.lengths) / np.float32(count), count, now_ns)


def strangers(one: Bones, other: Bones) -> bool:
    """Whether two looks show two people; never on too few measurements."""
    return min(one.count, other.count) >= ENOUGH and apart(one, other) > _DIFFERENT


def apart(one: Bones, other: Bones) -> float:
    """How far two looks are apart, in units of what one person varies by."""
    return float(np.linalg.norm(_WHITEN @ (one.lengths - other.lengths)))


def _to_camera(head: HeadPose) -> tuple[Float32, float]:
    """From the head to the camera: the direction in the head's own axes, and the distance in metres."""
    camera_m = -np.asarray(head.position_m) @ rotation_matrix(head.rotation)
    away_m = max(float(np.linalg.norm(camera_m)), 1e-6)
    return (camera_m / away_m).astype(np.float32), away_m
