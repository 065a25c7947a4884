import math

import numpy as np
import pytest

from appliance.face.regions import (
    matrix,
    points_in_picture,
    region_from_detection,
    region_from_landmarks,
    region_of_picture,
)
from appliance.values import Detection, Float32, Landmarks, Region


def turned(points: Float32, angle_rad: float) -> Float32:
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    return np.asarray(points @ np.array([[cosine, sine], [-sine, cosine]]), np.float32)


def landmarks(angle_rad: float) -> Landmarks:
    """A cross of points 80 wide and 100 high around (300, 200), eyes level when not turned."""
    points = np.zeros((478, 3), np.float32)
    points[0, :2], points[1, :2] = (0, -50), (0, 50)
    points[33, :2], points[263, :2] = (-40, 0), (40, 0)
    points[:, :2] = turned(points[:, :2], angle_rad) + [300, 200]
    return Landmarks(points, 1.0)


def test_the_region_is_half_as_large_again_as_the_longer_side() -> None:
    region = region_from_landmarks(landmarks(0))

    assert (region.x_px, region.y_px, region.size_px, region.rotation_rad) == pytest.approx((300, 200, 150, 0))


@pytest.mark.parametrize("angle_deg", [-170, -90, -30, 10, 90, 179])
def test_the_region_turns_with_the_eyes(angle_deg: float) -> None:
    region = region_from_landmarks(landmarks(math.radians(angle_deg)))

    assert math.degrees(region.rotation_rad) == pytest.approx(angle_deg, abs=1e-3)


def test_a_detection_gives_the_square_around_its_box() -> None:
    keypoints = np.zeros((6, 2), np.float32)
    keypoints[0], keypoints[1] = (120, 140), (180, 200)
    detection = Detection(100, 120, 200, 240, keypoints, 0.9)

    region = region_from_detection(detection)

    assert (region.x_px, region.y_px, region.size_px) == (150, 180, 180)
    assert region.rotation_rad == pytest.approx(math.pi / 4)


@pytest.mark.parametrize("angle_deg", [-135, -20, 0, 45, 180])
def test_the_square_stands_in_the_picture_as_the_face_does(angle_deg: float) -> None:
    region = Region(310, 190, 96, math.radians(angle_deg))

    square_to_picture = matrix(region, 192)

    along = square_to_picture @ [192, 96, 1] - square_to_picture @ [96, 96, 1]
    np.testing.assert_allclose(square_to_picture @ [96, 96, 1], [310, 190])
    np.testing.assert_allclose(
        along, 48 * np.array([math.cos(region.rotation_rad), math.sin(region.rotation_rad)]), atol=1e-9
    )


def test_points_go_where_the_matrix_says_and_depth_is_scaled() -> None:
    region = Region(310, 190, 96, 0.7)
    points = np.random.default_rng(0).uniform(0, 192, (478, 3)).astype(np.float32)

    moved = points_in_picture(points, region, 192)

    expected = np.c_[points[:, :2], np.ones(478)] @ matrix(region, 192).T
    np.testing.assert_allclose(moved[:, :2], expected, atol=1e-3)
    np.testing.assert_allclose(moved[:, 2], points[:, 2] / 2)


def test_a_whole_picture_lies_in_the_middle_of_its_square() -> None:
    square_to_picture = matrix(region_of_picture(720, 1280), 128)

    np.testing.assert_allclose(square_to_picture @ [0, 64, 1], [0, 360])
    np.testing.assert_allclose(square_to_picture @ [128, 64, 1], [1280, 360])
