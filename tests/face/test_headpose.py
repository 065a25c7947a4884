from itertools import product

import numpy as np
import pytest
from projected import PICTURE_PX, Float64, project, turn

from appliance.face.canonical import BROW_LOWER_LEFT, BROW_UPPER_LEFT, JAW_LEFT, JAW_RIGHT, canonical_face
from appliance.face.headpose import head_frame, rotation_matrix, solve
from appliance.values import HeadPose

UPRIGHT = (0.0, 0.0, 0.0, 1.0)


def angle_deg(pose: HeadPose | None, rotation: Float64) -> float:
    assert pose is not None
    cosine = (np.trace(rotation_matrix(pose.rotation).T @ rotation) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


@pytest.mark.parametrize(("yaw_deg", "pitch_deg", "roll_deg"), list(product((-40, 0, 40), (-30, 0, 30), (-40, 0, 40))))
@pytest.mark.parametrize(("distance_m", "fov_deg"), [(0.3, 90), (0.6, 60), (2.0, 40)])
def test_a_known_pose_is_recovered_through_noise(
    yaw_deg: float, pitch_deg: float, roll_deg: float, distance_m: float, fov_deg: float
) -> None:
    rotation = turn(yaw_deg, pitch_deg, roll_deg)
    position_m = (0.1 * distance_m, -0.05 * distance_m, -distance_m)
    points_px = project(rotation, position_m, fov_deg)
    noise_px = 0.005 * np.ptp(points_px[:, 0])
    points_px += np.random.default_rng(1).normal(0, noise_px, points_px.shape).astype(np.float32)

    pose = solve(points_px, PICTURE_PX, fov_deg)

    assert angle_deg(pose, rotation) < 3.0
    assert pose is not None
    assert np.linalg.norm(np.subtract(pose.position_m, position_m)) < 0.03 * distance_m


def test_a_face_that_looks_straight_into_the_camera_is_the_identity() -> None:
    pose = solve(project(np.eye(3), (0.0, 0.0, -0.6)), PICTURE_PX, 60.0)

    assert pose is not None
    assert np.allclose(pose.rotation, UPRIGHT, atol=0.01)
    assert np.allclose(pose.position_m, (0, 0, -0.6), atol=0.01)


def test_rotation_is_relative_to_the_cameras_axes_wherever_the_head_is() -> None:
    beside = solve(project(np.eye(3), (0.25, 0.1, -0.8)), PICTURE_PX, 60.0)

    assert angle_deg(beside, np.eye(3)) < 1.5


@pytest.mark.parametrize(
    ("rotation", "axis"),
    [(turn(20, 0), (0, 1, 0)), (turn(0, 20), (-1, 0, 0)), (turn(0, 0, 20), (0, 0, 1))],
    ids=["to the picture's right", "up", "anticlockwise as seen"],
)
def test_each_turn_is_about_its_opengl_axis(rotation: Float64, axis: tuple[int, int, int]) -> None:
    pose = solve(project(rotation, (0.0, 0.0, -0.6)), PICTURE_PX, 60.0)

    assert pose is not None
    assert np.allclose(pose.rotation[:3], np.sin(np.radians(10)) * np.array(axis), atol=0.015)


def test_an_open_mouth_and_raised_brows_move_the_pose_little() -> None:
    face_m = np.array(canonical_face().points_m)
    lower_lip = [14, 17, 84, 314, 87, 317, 178, 402, 181, 405]
    face_m[[*JAW_LEFT[3:], *JAW_RIGHT[3:], 152, 199, 175, 200, *lower_lip]] -= (0, 0.03, 0.01)
    brows = [*BROW_UPPER_LEFT, *BROW_LOWER_LEFT]
    face_m[[*brows, *canonical_face().mirror[brows]]] += (0, 0.01, 0)

    pose = solve(project(np.eye(3), (0.0, 0.0, -0.6), face_m=face_m.astype(np.float32)), PICTURE_PX, 60.0)

    assert angle_deg(pose, np.eye(3)) < 1.0


@pytest.mark.parametrize("previous", [None, HeadPose()])
@pytest.mark.parametrize(
    "points_px",
    [
        np.zeros((478, 3), np.float32),
        np.full((478, 3), 300.0, np.float32),
        np.full((478, 3), np.nan, np.float32),
        np.full((478, 3), np.inf, np.float32),
        project(np.eye(3), (0.0, 0.0, -0.6)) + np.float32(5000),
        np.zeros((478, 3), np.float32) + np.linspace(0, 1e30, 478, dtype=np.float32)[:, None],
    ],
    ids=["zero", "one place", "nan", "infinite", "outside", "huge"],
)
def test_points_that_show_no_face_give_the_previous_pose(
    points_px: np.ndarray[tuple[int, int], np.dtype[np.float32]], previous: HeadPose | None
) -> None:
    assert solve(points_px, PICTURE_PX, 60.0, previous) == previous
    assert np.isfinite(head_frame(points_px)).all()


def test_a_face_on_one_line_or_one_plane_raises_nothing() -> None:
    flat_px = project(np.eye(3), (0.0, 0.0, -0.6))
    flat_px[:, 2] = 0
    line_px = np.array(flat_px)
    line_px[:, 1] = 300

    for points_px in (flat_px, line_px):
        solve(points_px, PICTURE_PX, 60.0)
        assert np.isfinite(head_frame(points_px)).all()


def test_the_quaternions_sign_continues_the_previous_one() -> None:
    points_px = project(turn(10, 5), (0.0, 0.0, -0.6))
    first = solve(points_px, PICTURE_PX, 60.0)
    assert first is not None
    x, y, z, w = first.rotation

    again = solve(points_px, PICTURE_PX, 60.0, HeadPose((-x, -y, -z, -w)))

    assert w > 0
    assert again is not None
    assert np.allclose(again.rotation, (-x, -y, -z, -w))


@pytest.mark.parametrize("rotation", [turn(0, 0), turn(30, 0), turn(0, 20), turn(-20, -15, 30)])
def test_head_frame_takes_pose_place_and_size_away(rotation: Float64) -> None:
    far_px = project(rotation, (0.2, 0.1, -2.0), 40.0)

    points_m = head_frame(far_px)

    # What is left is the network's lean (depth only) and the perspective of two metres.
    assert np.abs(points_m - canonical_face().points_m)[:, :2].max() < 0.009
    assert np.median(np.linalg.norm(points_m - canonical_face().points_m, axis=1)) < 0.003


def test_head_frame_is_the_same_for_the_same_face_near_and_far() -> None:
    near_m = head_frame(project(turn(10, 5), (0.0, 0.0, -0.8)))
    far_m = head_frame(project(turn(10, 5), (0.0, 0.0, -1.6)))

    assert np.median(np.linalg.norm(near_m - far_m, axis=1)) < 0.001
