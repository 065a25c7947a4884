"""Head pose in metric space, and the face with the head's own movement taken away."""

from dataclasses import dataclass
from functools import cache
from math import radians, tan

import cv2
import numpy as np
import numpy.typing as npt

from appliance.face.canonical import canonical_face
from appliance.values import Float32, HeadPose

Float64 = npt.NDArray[np.float64]

# What of a face is bone. Listed by the person's right; the mirror image is added. Chosen from how far each
# point of the average face's mesh travels over 53 full expressions (mostly 1 to 3 mm here, against 5 to 20 mm
# on cheeks, brows and mouth) and how steady the network holds it as the head turns. Out on purpose: mouth, jaw,
# lids, brows and lower cheeks move; the outline before the ears (234, 93, 132) slides along the silhouette as
# the head turns. Weights: the nose's bridge and the inner eye corners move least; the outer corners and the
# nose's tip move more, but carry the width and depth that tell yaw from shift; the hairline is a guess under
# hair; the temples are seldom both seen.
_RIGID_WEIGHTS = {
    **dict.fromkeys((168, 6, 197, 195, 122, 188, 245, 133), 1.0),
    **dict.fromkeys((5, 8, 9, 193), 0.7),
    **dict.fromkeys((4, 1, 33, 151, 34, 143, 139), 0.5),
    **dict.fromkeys((10, 109, 67, 103, 54, 21, 162, 127, 227, 116, 111), 0.25),
}
_OUTLIER_PX = 0.02  # of the face's size in the picture; a point farther off is doubted (Huber)
_ITERATIONS = 4
_NEAREST_M, _FARTHEST_M = 0.05, 30.0
_SMALLEST_PX = 4.0  # a face narrower than this carries no pose


@dataclass(frozen=True, slots=True)
class _Rigid:
    """The landmarks that are bone, as arrays."""

    indices: npt.NDArray[np.intp]
    weights: Float64  # sum to 1
    points_m: Float64
    mean_m: Float64
    size_m: float  # root of the weighted mean square about the mean


@cache
def _rigid() -> _Rigid:
    face = canonical_face()
    weights = dict(_RIGID_WEIGHTS)
    weights.update({int(face.mirror[index]): weight for index, weight in _RIGID_WEIGHTS.items()})
    indices = np.array(sorted(weights), np.intp)
    share = np.array([weights[index] for index in sorted(weights)])
    share /= share.sum()
    points_m = face.points_m[indices].astype(np.float64)
    mean_m = share @ points_m
    return _Rigid(indices, share, points_m, mean_m, float(np.sqrt(share @ ((points_m - mean_m) ** 2).sum(1))))


def solve(
    points_px: Float32, picture_size_px: tuple[int, int], horizontal_fov_deg: float, previous: HeadPose | None = None
) -> HeadPose | None:
    """Find where the head is, from 478 x 3 landmarks in a picture of width x height.

    A pinhole camera with square pixels and the axis through the picture's middle. SQPnP (Terzakis and
    Lourakis, ECCV 2020) on the points of bone gives the start, weighted Gauss-Newton on the reprojection
    error with Huber's weights (Hartley and Zisserman, Multiple View Geometry, A6) the pose.

    Position: the point midway between the eyeballs' centres, in metres, for a face of average size.
    Rotation: from head axes to camera axes. It is relative to the camera's axes, not to the line of sight:
    a head that stands beside the axis and faces along it has the identity, one that turns to the lens has
    not. The quaternion's sign continues ``previous``; without one, w is not negative.
    Landmarks that show no face (not finite, in one place, wholly outside the picture) give ``previous``.
    """
    rigid = _rigid()
    pixels = np.asarray(points_px[rigid.indices, :2], np.float64)
    if not _shows_a_face(pixels, picture_size_px):
        return previous
    width_px, height_px = picture_size_px
    focal_px = width_px / 2 / tan(radians(horizontal_fov_deg) / 2)
    # Camera rays in OpenCV's axes: x right, y down, z into the scene.
    rays = (pixels - (width_px / 2, height_px / 2)) / focal_px
    found, turn, shift = cv2.solvePnP(rigid.points_m, rays, np.eye(3), None, flags=cv2.SOLVEPNP_SQPNP)
    if not found:
        return previous
    rotation, position = _refine(rays, cv2.Rodrigues(turn)[0], shift[:, 0], rigid)
    if not np.isfinite(position).all() or not _NEAREST_M < position[2] < _FARTHEST_M:
        return previous
    flip = np.array([1.0, -1.0, -1.0])  # OpenCV's camera axes to OpenGL's
    x, y, z, w = _quaternion(flip[:, None] * rotation, previous)
    right_m, up_m, out_m = (flip * position).tolist()
    return HeadPose((x, y, z, w), (right_m, up_m, out_m))


def head_frame(points_px: Float32) -> Float32:
    """Bring the network's 478 x 3 points into head coordinates: pose, place and size removed.

    The similarity of least squares (Umeyama, PAMI 1991) from the points of bone to the average face's;
    the result, 478 x 3 metres of ``CanonicalFace``, is what expressions are measured on: a face keeps its
    own shape but has the average's size. Landmarks that show no face give the average face.
    """
    rigid = _rigid()
    upright = points_px * np.array([1, -1, -1], np.float32)
    source = upright[rigid.indices].astype(np.float64)
    mean = rigid.weights @ source
    centred = source - mean
    size = float(np.sqrt(rigid.weights @ (centred**2).sum(1)))
    if not (np.isfinite(points_px).all() and size > _SMALLEST_PX / 2):
        return canonical_face().points_m.copy()
    left, stretch, right = np.linalg.svd((rigid.points_m - rigid.mean_m).T @ (rigid.weights[:, None] * centred))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    scaled = (left * signs @ right) * (float(stretch @ signs) / size**2)
    offset_m = (rigid.mean_m - scaled @ mean).astype(np.float32)
    return np.asarray(upright @ scaled.T.astype(np.float32) + offset_m, np.float32)


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


def _shows_a_face(pixels: Float64, picture_size_px: tuple[int, int]) -> bool:
    if not np.isfinite(pixels).all() or np.ptp(pixels, axis=0).max() < _SMALLEST_PX:
        return False
    return bool(((pixels >= 0) & (pixels <= picture_size_px)).all(1).any())


def _refine(rays: Float64, rotation: Float64, position: Float64, rigid: _Rigid) -> tuple[Float64, Float64]:
    """Least reprojection error by Gauss-Newton, turning about the camera's axes."""
    outlier = _OUTLIER_PX * float(np.ptp(rays, axis=0).max())
    jacobian = np.zeros((len(rays), 2, 6))
    for _ in range(_ITERATIONS):
        turned = rigid.points_m @ rotation.T
        x, y, z = (turned + position).T
        seen = np.stack([x / z, y / z], 1)
        error = rays - seen
        # d(seen)/d(position), then by the chain rule d(seen)/d(turn) = d(seen)/d(position) x [-turned].
        jacobian[:, 0, 3], jacobian[:, 0, 5] = 1 / z, -x / z**2
        jacobian[:, 1, 4], jacobian[:, 1, 5] = 1 / z, -y / z**2
        jacobian[:, :, :3] = np.cross(turned[:, None], jacobian[:, :, 3:])
        length = np.sqrt((error**2).sum(1))
        weights = rigid.weights * np.minimum(1, outlier / np.maximum(length, 1e-12))
        weighted = jacobian * weights[:, None, None]
        normal = np.einsum("pij,pik->jk", weighted, jacobian)
        step = np.linalg.lstsq(normal, np.einsum("pij,pi->j", weighted, error), rcond=None)[0]
        rotation = cv2.Rodrigues(step[:3])[0] @ rotation
        position = position + step[3:]
    return rotation, position


def _quaternion(matrix: Float64, previous: HeadPose | None) -> Float64:
    """Unit quaternion x, y, z, w of a rotation (Bar-Itzhack, 2000: the leading eigenvector), sign as before."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    symmetric = np.array(
        [
            [a - e - i, d + b, g + c, h - f],
            [d + b, e - a - i, h + f, c - g],
            [g + c, h + f, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    quaternion = np.linalg.eigh(symmetric)[1][:, -1]
    before = np.array(previous.rotation if previous else (0.0, 0.0, 0.0, 1.0))
    return np.asarray(-quaternion if quaternion @ before < 0 else quaternion)
