"""Head pose in metric space, and the face with the head's own movement taken away.

Matrices here are so small that OpenCV, whose calls cost less, takes a third of numpy's time for them or less.
"""

from dataclasses import dataclass
from functools import cache
from math import radians, tan

import cv2
import numpy as np
import numpy.typing as npt

from appliance.face.canonical import canonical_face
from appliance.values import Float32, HeadPose

_UPRIGHT = np.array([1, -1, -1], np.float32)  # from the picture's axes, y down and z away, to the head's

Float64 = npt.NDArray[np.float64]

# What of a face is bone, or moves little. Listed by the person's right; the mirror image is added. Chosen from how
# far each point of the average face's mesh travels over 53 full expressions (mostly 1 to 3 mm here, against 5 to
# 20 mm on lower cheeks, brows and mouth) and from how truly the set follows known poses of 60 drawn heads. Out on
# purpose: mouth, jaw, lids and brows move; the outline before the ears (234, 93, 132) slides along the silhouette
# as the head turns. The bridge and the inner eye corners move least. The outer corners and the nose's tip move more,
# but carry the width and depth that tell yaw from shift. The nose's underside and the cheekbones do move, with
# sneer and squint, but without them nodding comes out a quarter too small: the bare skin of temples and forehead
# has nothing for the network to hold on to. The hairline is a guess under hair.
_RIGID_WEIGHTS = {
    **dict.fromkeys((168, 6, 197, 195, 122, 188, 245, 133), 1.0),
    **dict.fromkeys((5, 8, 9, 193), 0.7),
    **dict.fromkeys((4, 1, 33, 151, 34, 143, 139, 2, 94, 19, 98, 97, 64, 129), 0.5),
    **dict.fromkeys((50, 100, 101, 111, 116, 117, 118, 123), 0.3),
    **dict.fromkeys((10, 109, 67, 103, 54, 21, 162, 127, 227), 0.25),
}
# The network's depth leans: it puts foreheads nearer and chins farther than they are, by this much of their height, on
# drawn heads; so fitted, a face looks 4 degrees lower than it does. Filmed people who look into a lens at their eyes'
# height look 2 to 8 degrees low without it. The face that is fitted leans alike.
_LEAN = 0.095
_ROUNDS = 3  # of lift and fit; the size settles to a thousandth in two
_NEAREST_M, _FARTHEST_M = 0.05, 30.0
_SMALLEST_PX = 4.0  # a face smaller than this carries no pose


@dataclass(frozen=True, slots=True)
class _Rigid:
    """The landmarks that are bone, as arrays."""

    indices: npt.NDArray[np.intp]
    weights: Float64  # sum to 1
    mean_m: Float64  # of the average face, leaning as the network's depth does
    arms_m: Float64  # from the mean to each point, times its weight


@cache
def _rigid() -> _Rigid:
    face = canonical_face()
    weights = dict(_RIGID_WEIGHTS)
    weights.update({int(face.mirror[index]): weight for index, weight in _RIGID_WEIGHTS.items()})
    indices = np.array(sorted(weights), np.intp)
    share = np.array([weights[index] for index in sorted(weights)])
    share /= share.sum()
    points_m = face.points_m[indices].astype(np.float64)
    points_m[:, 2] += _LEAN * points_m[:, 1]
    mean_m = share @ points_m
    return _Rigid(indices, share, mean_m, share[:, None] * (points_m - mean_m))


def solve(
    points_px: Float32, picture_size_px: tuple[int, int], horizontal_fov_deg: float, previous: HeadPose | None = None
) -> HeadPose | None:
    """Find where the head is, from 478 x 3 landmarks in a picture of width x height.

    A pinhole camera with square pixels and the axis through the picture's middle. The network's points
    are lifted from scaled-orthographic depth to perspective and fitted to the average face's bone by the
    similarity of least squares (Umeyama, PAMI 1991), which gives a truer lift, as in POSIT (DeMenthon and
    Davis, IJCV 1995). The network's own depth takes part: by the pixels alone (PnP on the average face)
    nodding came out a quarter too small, for the network's points are flatter than the face.

    Position: the point midway between the eyeballs' centres, in metres, for a face of average size.
    Rotation: from head axes to camera axes. It is relative to the camera's axes, not to the line of sight:
    a head that stands beside the axis and faces along it has the identity, one that turns to the lens has
    not. The quaternion's sign continues ``previous``; without one, w is not negative.
    Landmarks that show no face (not finite, in one place, wholly outside the picture) give ``previous``.
    """
    rigid = _rigid()
    points = np.asarray(points_px[rigid.indices], np.float64) * _UPRIGHT
    if not _shows_a_face(points, picture_size_px):
        return previous
    width_px, height_px = picture_size_px
    focal_px = width_px / 2 / tan(radians(horizontal_fov_deg) / 2)
    points -= np.array([width_px / 2, -height_px / 2, rigid.weights @ points[:, 2]])
    _, metres_per_px, _ = _fit(points, rigid)
    away_m = focal_px * metres_per_px
    for _ in range(_ROUNDS):
        depth_m = away_m - metres_per_px * points[:, 2:]
        lifted_m = np.concatenate([points[:, :2] * depth_m / focal_px, -depth_m], axis=1)
        rotation, scale, middle = _fit(lifted_m, rigid)
        away_m, metres_per_px = away_m * scale, metres_per_px * scale
    position = scale * middle - rotation @ rigid.mean_m
    if not (np.isfinite(position).all() and _NEAREST_M < -position[2] < _FARTHEST_M):
        return previous
    x, y, z, w = _quaternion(rotation, previous).tolist()
    right_m, up_m, out_m = position.tolist()
    return HeadPose((x, y, z, w), (right_m, up_m, out_m))


def head_frame(points_px: Float32) -> Float32:
    """Bring the network's 478 x 3 points into head coordinates: pose, place and size removed.

    The similarity of least squares (Umeyama, PAMI 1991) from the points of bone to the average face's;
    the result, 478 x 3 metres in the axes of ``CanonicalFace``, is what expressions are measured on: a face
    keeps its own shape but has the average's size. Landmarks that show no face give the average face.
    """
    rigid = _rigid()
    upright = points_px * _UPRIGHT
    bone = upright[rigid.indices].astype(np.float64)
    if not (np.isfinite(points_px).all() and np.ptp(bone[:, :2], axis=0).max() > _SMALLEST_PX):
        return np.array(canonical_face().points_m)
    rotation, scale, middle = _fit(bone, rigid)
    turned = scale * rotation.T
    offset_m = rigid.mean_m - turned @ middle
    placed: Float32 = upright @ turned.T.astype(np.float32) + offset_m.astype(np.float32)
    placed[:, 2] -= _LEAN * placed[:, 1]
    return placed


def rotation_matrix(rotation: tuple[float, float, float, float]) -> Float64:
    """The 3 x 3 matrix of a quaternion x, y, z, w."""
    x, y, z, w = rotation
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _shows_a_face(points: Float64, picture_size_px: tuple[int, int]) -> bool:
    pixels = points[:, :2] * (1, -1)
    if not np.isfinite(points).all() or np.ptp(pixels, axis=0).max() < _SMALLEST_PX:
        return False
    return bool(((pixels >= 0) & (pixels <= picture_size_px)).all(1).any())


def _fit(points: Float64, rigid: _Rigid) -> tuple[Float64, float, Float64]:
    """Similarity between the average face's bone and ``points``: rotation from the face's axes to theirs,
    metres of the face per unit of ``points``, and the weighted mean of ``points``.
    """
    middle = rigid.weights @ points
    centred = points - middle
    stretch, left, right = cv2.SVDecomp(centred.T @ rigid.arms_m)
    rotation = left @ right
    if cv2.determinant(rotation) < 0:  # a mirror image fits best: take the best that is none
        left[:, 2] *= -1
        stretch[2] *= -1
        rotation = left @ right
    spread = rigid.weights @ np.einsum("ij,ij->i", centred, centred)
    return rotation, float(cv2.sumElems(stretch)[0] / spread), middle


def _quaternion(matrix: Float64, previous: HeadPose | None) -> Float64:
    """Unit quaternion x, y, z, w of a rotation (Bar-Itzhack, 2000: the leading eigenvector), sign as before."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    symmetric = np.array(
        [
            [a - e - i, d + b, g + c, h - f],
            [d + b, e - a - i, h + f, c - g],
            [g + c, h + f, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    quaternion = cv2.eigen(symmetric)[2][0]
    before = np.array(previous.rotation if previous else (0.0, 0.0, 0.0, 1.0))
    return np.asarray(-quaternion if quaternion @ before < 0 else quaternion)
