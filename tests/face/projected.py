"""The average face as the landmark network would return it from a known camera, pose and gaze."""

from math import cos, radians, sin, tan

import numpy as np
import numpy.typing as npt

from appliance.face.canonical import IRIS_LEFT, IRIS_RIGHT, canonical_face
from appliance.values import Float32

Float64 = npt.NDArray[np.float64]
PICTURE_PX = (1280, 720)
LEAN = 0.095  # of a point's height: how much nearer the network's depth puts it


def about_x(angle_deg: float) -> Float64:
    c, s = cos(radians(angle_deg)), sin(radians(angle_deg))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def turn(yaw_deg: float, pitch_deg: float, roll_deg: float = 0.0) -> Float64:
    """To the picture's right by yaw, then up by pitch, then anticlockwise as seen by roll."""
    cy, sy = cos(radians(yaw_deg)), sin(radians(yaw_deg))
    cr, sr = cos(radians(roll_deg)), sin(radians(roll_deg))
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(roll @ about_x(-pitch_deg) @ yaw)


def project(
    rotation: Float64,
    position_m: tuple[float, float, float],
    horizontal_fov_deg: float = 60.0,
    face_m: Float32 | None = None,
) -> Float32:
    """478 x 3 picture pixels: x and y in perspective, z with the network's lean and in scaled-orthographic pixels."""
    points_m = canonical_face().points_m if face_m is None else face_m
    width_px, height_px = PICTURE_PX
    focal_px = width_px / 2 / tan(radians(horizontal_fov_deg) / 2)
    seen_m = points_m @ rotation.T + np.array(position_m)
    leaning_m = (points_m + LEAN * points_m[:, 1:2] * (0, 0, 1)) @ rotation.T
    x_px = width_px / 2 + focal_px * seen_m[:, 0] / -seen_m[:, 2]
    y_px = height_px / 2 - focal_px * seen_m[:, 1] / -seen_m[:, 2]
    return np.stack([x_px, y_px, leaning_m[:, 2] * focal_px / position_m[2]], 1).astype(np.float32)


def looking(yaw_deg: float, pitch_deg: float) -> Float32:
    """The average face with both eyes turned, in metres."""
    average = canonical_face()
    points_m = np.array(average.points_m)
    for iris, centre_m in ((IRIS_LEFT, average.eye_left_m), (IRIS_RIGHT, average.eye_right_m)):
        rows = list(iris)
        points_m[rows] = (points_m[rows] - centre_m) @ turn(yaw_deg, pitch_deg).T + centre_m
    return points_m.astype(np.float32)
