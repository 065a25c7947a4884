"""Where each eye looks, from its iris and the corners of its lids."""

from dataclasses import dataclass
from functools import cache
from math import atan2, degrees, dist, hypot, sqrt

import cv2
import numpy as np
import numpy.typing as npt

from appliance.face import canonical as face
from appliance.face.canonical import Group, canonical_face
from appliance.values import Float32, Gaze

Float64 = npt.NDArray[np.float64]

# The iris's middle turns about the eye's centre at this distance: 13.5 mm from centre to cornea (Fry and Hill, 1962),
# less 3.5 mm from cornea to iris.
_IRIS_ARM_M = 0.010
# What the network does to eyes, measured on drawn eyes of known direction and on people who nod and turn while they
# look into the lens: it sets the iris low between the corners, the corners too deep in the face, and pulls an iris
# half hid by a lid toward the lids' middle, so that pitch came out at 0.4 to 0.6 of the truth; yaw needs no gain.
_IRIS_LOW_M, _CORNERS_DEEP_M = 0.0009, 0.003
_PITCH_GAIN = 1.6
_FARTHEST_OFF = 0.9  # of the arm: an iris beside its ball is drawn back to 64 degrees
_CLOSED, _OPEN = 0.08, 0.16  # gap of the lids in eye widths: below, the iris is a guess; above, it is seen
_OWN_WAY = 0.5  # how far an eye may leave what both do: by Hering's law they move together
_MOST_CONVERGED_DEG, _MOST_DIVERGED_DEG = 16.0, 2.0  # a thing 22 cm away; a squint's measure of noise
_ASIDE_DEG, _UP_DEG, _DOWN_DEG = 30.0, 25.0, 30.0  # at weight 1
_SPAN = np.array([face.EYE_OUTER_RIGHT, face.EYE_OUTER_LEFT, face.NOSE_TIP, face.CHIN])  # four points in no one plane
_GAP = np.repeat(np.array([1 / 3, -1 / 3]), 3)  # of the lids' points: the upper's mean less the lower's


@dataclass(frozen=True, slots=True)
class _Eye:
    """One eye of the average face, and the landmarks that show it."""

    seen: npt.NDArray[np.intp]  # the outer corner, the inner one, and the middle of the iris
    lids: npt.NDArray[np.intp]  # the middle of the upper one, and of the lower
    width_m: float  # from corner to corner
    centre_m: Float64  # the eye's centre from the middle of its corners, as the network sets them


@dataclass(frozen=True, slots=True)
class _Look:
    """What one eye says by itself."""

    yaw_deg: float
    pitch_deg: float
    opened: float  # 0..1: 0 where the lids hide the iris
    trust: float  # 0..1: open, and turned to the camera


@cache
def _eyes() -> tuple[_Eye, _Eye]:
    """The person's left eye, then the right."""
    average = canonical_face()

    def eye(outer: int, inner: int, iris: int, upper: Group, lower: Group, centre_m: Float32) -> _Eye:
        corners_m = average.points_m[[outer, inner]].astype(np.float64)
        width_m = float(np.linalg.norm(corners_m[0] - corners_m[1]))
        offset_m = centre_m - corners_m.mean(0) + (0, -_IRIS_LOW_M, _CORNERS_DEEP_M)
        return _Eye(np.array([outer, inner, iris]), np.array([*upper[3:6], *lower[3:6]]), width_m, offset_m)

    return (
        eye(
            face.EYE_OUTER_LEFT,
            face.EYE_INNER_LEFT,
            face.IRIS_CENTRE_LEFT,
            face.UPPER_LID_LEFT,
            face.LOWER_LID_LEFT,
            average.eye_left_m,
        ),
        eye(
            face.EYE_OUTER_RIGHT,
            face.EYE_INNER_RIGHT,
            face.IRIS_CENTRE_RIGHT,
            face.UPPER_LID_RIGHT,
            face.LOWER_LID_RIGHT,
            average.eye_right_m,
        ),
    )


def read_gaze(points_px: Float32, head_points_m: Float32, previous: Gaze | None = None) -> Gaze:
    """Read the direction of both eyes relative to the head.

    ``points_px`` are the 478 x 3 landmarks, ``head_points_m`` the same by ``headpose.head_frame``.
    The eyeball of the average face is set behind the person's own eye corners and scaled by their
    distance; the picture's ray through the iris meets the sphere on which the iris turns (the
    geometric eye model of Ishikawa et al., 2004). The eyes are then coupled: one pitch, a limited
    convergence, and a closed or hidden eye takes the other's way. With both closed the gaze stays at
    ``previous``, where there is one. Points that show no face give ``previous`` or straight ahead.
    """
    toward_camera = _toward_camera(points_px, head_points_m)
    if toward_camera is None:
        return previous or Gaze()
    left, right = (_look(eye, points_px, head_points_m, toward_camera) for eye in _eyes())
    gaze = _couple(left, right)
    seen = max(left.opened, right.opened)
    if previous is None or seen >= 1:
        return gaze
    return Gaze(
        _between(previous.left_deg, gaze.left_deg, seen),
        _between(previous.right_deg, gaze.right_deg, seen),
    )


def eye_look(gaze: Gaze) -> dict[str, float]:
    """The eight ``eyeLook`` weights, 0..1, that agree with a gaze.

    Weight 1 is 30 degrees in or out, 25 up, 30 down; between, they are proportional. Out is away from
    the nose: for the person's left eye to the right of an unmirrored picture.
    """
    (left_yaw, left_pitch), (right_yaw, right_pitch) = gaze.left_deg, gaze.right_deg
    return {
        "eyeLookDownLeft": _weight(-left_pitch / _DOWN_DEG),
        "eyeLookDownRight": _weight(-right_pitch / _DOWN_DEG),
        "eyeLookInLeft": _weight(-left_yaw / _ASIDE_DEG),
        "eyeLookInRight": _weight(right_yaw / _ASIDE_DEG),
        "eyeLookOutLeft": _weight(left_yaw / _ASIDE_DEG),
        "eyeLookOutRight": _weight(-right_yaw / _ASIDE_DEG),
        "eyeLookUpLeft": _weight(left_pitch / _UP_DEG),
        "eyeLookUpRight": _weight(right_pitch / _UP_DEG),
    }


def _toward_camera(points_px: Float32, head_points_m: Float32) -> Float64 | None:
    """The line of sight in head axes, from what ``head_frame`` did to the picture's axes."""
    if not np.isfinite(points_px).all():
        return None
    from_px, to_m = (points[_SPAN].astype(np.float64) for points in (points_px, head_points_m))
    edges_px, edges_m = from_px[1:] - from_px[0], to_m[1:] - to_m[0]
    if abs(cv2.determinant(edges_px)) < 1:  # cubic pixels: a face of a few pixels, or none
        return None
    away = cv2.solve(edges_px, edges_m)[1][2]
    return np.asarray(-away / hypot(*away))


def _look(eye: _Eye, points_px: Float32, head_points_m: Float32, toward_camera: Float64) -> _Look:
    outer_m, inner_m, iris_m = head_points_m[eye.seen].astype(np.float64)
    width_m = dist(outer_m, inner_m)
    size = width_m / eye.width_m
    off_m = iris_m - ((outer_m + inner_m) / 2 + size * eye.centre_m)
    off_m[1] *= _PITCH_GAIN
    # Only what lies across the line of sight is measured: the network gives the iris no depth of its own.
    across_m = off_m - (off_m @ toward_camera) * toward_camera
    across = across_m / (size * _IRIS_ARM_M + 1e-9)
    length = hypot(*across)
    if length > _FARTHEST_OFF:
        across, length = across * (_FARTHEST_OFF / length), _FARTHEST_OFF
    x, y, z = (across + sqrt(1 - length**2) * toward_camera).tolist()
    gap_m = float(head_points_m[eye.lids, 1] @ _GAP)
    opened = _weight((gap_m / (width_m + 1e-9) - _CLOSED) / (_OPEN - _CLOSED))
    # Seen from the side an eye narrows, and a pixel of error turns it farther.
    turned = abs(float(toward_camera[2]))
    seen = turned if outer_m[0] * toward_camera[0] >= 0 else turned**4
    return _Look(degrees(atan2(x, z)), degrees(atan2(y, hypot(x, z))), opened, opened * seen)


def _couple(left: _Look, right: _Look) -> Gaze:
    total = left.trust + right.trust + 2e-3
    share_left, share_right = (left.trust + 1e-3) / total, (right.trust + 1e-3) / total
    yaw_deg = share_left * left.yaw_deg + share_right * right.yaw_deg
    pitch_deg = share_left * left.pitch_deg + share_right * right.pitch_deg
    both_seen = 4 * share_left * share_right * min(1.0, left.trust + right.trust)
    converged_deg = _OWN_WAY * both_seen * (right.yaw_deg - left.yaw_deg)
    converged_deg = min(max(converged_deg, -_MOST_DIVERGED_DEG), _MOST_CONVERGED_DEG)
    # The eye that is seen better moves less from its own reading.
    return Gaze(
        (yaw_deg - share_right * converged_deg, pitch_deg),
        (yaw_deg + share_left * converged_deg, pitch_deg),
    )


def _between(start: tuple[float, float], end: tuple[float, float], share: float) -> tuple[float, float]:
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _weight(value: float) -> float:
    return min(max(value, 0.0), 1.0)
