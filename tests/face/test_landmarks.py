import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from appliance.face.landmarks import LandmarkReader
from appliance.face.regions import region_from_landmarks
from appliance.values import Image, Region
from engines import manifest
from engines.fetch import asset_path, ensure, model_path
from engines.opening import open_runner

Array = npt.NDArray[Any]
DESK_MODELS = Path("~/.cache/avatar-appliance/models").expanduser()
FACE = Region(225, 124, 160, 0.06)  # in the photograph
EYES_PX = np.array([[204.0, 105.0], [248.0, 107.0]])  # by hand


@pytest.fixture(scope="module")
def reader() -> LandmarkReader:
    ensure(DESK_MODELS, manifest.names(), print)
    return LandmarkReader(open_runner(model_path(DESK_MODELS, "face_landmarks")))


@pytest.fixture(scope="module")
def photograph() -> Image:
    image = cv2.imread(str(asset_path(DESK_MODELS, "astronaut")))
    assert image is not None
    return np.asarray(image, np.uint8)


def distance_percent(first: Array, second: Array) -> float:
    """Mean distance of the points in the picture, over the distance of the irises."""
    between = np.linalg.norm(first[468, :2] - first[473, :2])
    return float(100 * np.linalg.norm(first[:, :2] - second[:, :2], axis=1).mean() / between)


def test_the_irises_are_where_the_eyes_are(reader: LandmarkReader, photograph: Image) -> None:
    (landmarks,) = reader.read([(photograph, FACE)])

    assert landmarks.points_px.shape == (478, 3)
    assert landmarks.presence > 0.9
    np.testing.assert_allclose(landmarks.points_px[[468, 473], :2], EYES_PX, atol=4)


@pytest.mark.parametrize("turn_deg", [-120, -30, 15, 90, 180])
def test_a_turned_picture_gives_the_same_face_turned(
    reader: LandmarkReader, photograph: Image, turn_deg: float
) -> None:
    turn = cv2.getRotationMatrix2D((FACE.x_px, FACE.y_px), -turn_deg, 1)
    picture = np.asarray(cv2.warpAffine(photograph, turn, (512, 512), flags=cv2.INTER_CUBIC), np.uint8)
    region = Region(FACE.x_px, FACE.y_px, FACE.size_px, FACE.rotation_rad + math.radians(turn_deg))

    (upright,), (turned,) = reader.read([(photograph, FACE)]), reader.read([(picture, region)])

    expected = upright.points_px.copy()
    expected[:, :2] = upright.points_px[:, :2] @ turn[:, :2].T + turn[:, 2]
    assert distance_percent(expected, turned.points_px) < 2.5


def test_the_region_settles_on_the_face_from_a_poor_start(reader: LandmarkReader, photograph: Image) -> None:
    region = Region(FACE.x_px + 12, FACE.y_px - 10, FACE.size_px * 1.2, FACE.rotation_rad + 0.2)

    for _ in range(4):
        (landmarks,) = reader.read([(photograph, region)])
        region = region_from_landmarks(landmarks)

    (reference,) = reader.read([(photograph, FACE)])
    assert distance_percent(reference.points_px, landmarks.points_px) < 2.5


def test_faces_of_several_pictures_are_read_in_one_call_and_stay_apart(
    reader: LandmarkReader, photograph: Image
) -> None:
    larger = np.asarray(cv2.resize(photograph, None, fx=2, fy=2), np.uint8)
    in_larger = Region(FACE.x_px * 2, FACE.y_px * 2, FACE.size_px * 2, FACE.rotation_rad)

    first, second = reader.read([(photograph, FACE), (larger, in_larger)])
    (alone,) = reader.read([(photograph, FACE)])

    np.testing.assert_array_equal(first.points_px, alone.points_px)
    assert distance_percent(second.points_px, first.points_px * 2) < 1.5
    np.testing.assert_allclose(second.points_px[:, 2], first.points_px[:, 2] * 2, atol=3)


def test_what_is_no_face_has_a_low_presence(reader: LandmarkReader, photograph: Image) -> None:
    (landmarks,) = reader.read([(photograph, Region(60, 430, 100, 0))])

    assert landmarks.presence < 0.5


def test_nobody_is_nothing_to_read(reader: LandmarkReader) -> None:
    assert reader.read([]) == []
