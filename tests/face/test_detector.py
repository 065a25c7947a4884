from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.face.detector import Detector, anchors, blend_overlapping
from appliance.values import Float32, Image
from engines import manifest
from engines.fetch import asset_path, ensure, model_path
from engines.opening import open_runner
from engines.runners import Tensors

DESK_MODELS = Path("~/.cache/avatar-appliance/models").expanduser()
EYES_PX = np.array([[204.0, 105.0], [248.0, 107.0]])  # in the photograph, by hand
SCALE = 3  # the photograph's face is small for a short-range detector


@pytest.fixture(scope="module")
def detector() -> Detector:
    ensure(DESK_MODELS, manifest.names(), print)
    return Detector(open_runner(model_path(DESK_MODELS, "face_detector")))


@pytest.fixture(scope="module")
def face() -> Image:
    """360 x 360 around the face of the photograph, enlarged; the eyes are at SCALE * (EYES_PX - (160, 50))."""
    photograph = cv2.imread(str(asset_path(DESK_MODELS, "astronaut")))
    assert photograph is not None
    part = photograph[50:210, 160:320]
    return np.asarray(cv2.resize(part, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC), np.uint8)


def placed(face: Image, height: int, width: int, *corners: tuple[int, int]) -> Image:
    picture = np.full((height, width, 3), 90, np.uint8)
    for left, top in corners:
        picture[top : top + face.shape[0], left : left + face.shape[1]] = face
    return picture


def test_a_face_is_found_where_it_is(detector: Detector, face: Image) -> None:
    picture = placed(face, 720, 1280, (500, 100))

    (found,) = detector.find(picture)

    expected = SCALE * (EYES_PX - (160, 50)) + (500, 100)
    np.testing.assert_allclose(found.keypoints_px[:2], expected, atol=15)
    assert found.left_px < expected[0, 0] < expected[1, 0] < found.right_px
    assert found.top_px < expected[0, 1] < found.bottom_px
    assert 0.5 <= found.score <= 1


@pytest.mark.parametrize(("height", "width"), [(481, 641), (900, 500), (601, 601)])
def test_odd_and_upright_pictures_are_seen_without_distortion(
    detector: Detector, face: Image, height: int, width: int
) -> None:
    (found,) = detector.find(placed(face, height, width, (10, 0)))

    expected = SCALE * (EYES_PX - (160, 50)) + (10, 0)
    np.testing.assert_allclose(found.keypoints_px[:2], expected, atol=15)
    assert (found.right_px - found.left_px) == pytest.approx(found.bottom_px - found.top_px, rel=0.05)


def test_two_faces_are_two_detections_the_surest_first(detector: Detector, face: Image) -> None:
    found = detector.find(placed(face, 480, 1000, (0, 0), (520, 0)))

    assert len(found) == 2
    assert abs(found[0].left_px - found[1].left_px) == pytest.approx(520, abs=20)
    assert found[0].score >= found[1].score


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_picture_holds_nobody(detector: Detector, level: int) -> None:
    assert detector.find(np.full((720, 1280, 3), level, np.uint8)) == []


def test_the_anchors_lie_in_the_middle_of_their_cells() -> None:
    places = anchors()

    assert places.shape == (896, 2)
    np.testing.assert_allclose(places[[0, 1, 2, 511, 512, 517, 518, 895]] * 32, [
        [1, 1], [1, 1], [3, 1], [31, 31], [2, 2], [2, 2], [6, 2], [30, 30],
    ])  # fmt: skip


def boxes(*corners: tuple[float, float, float, float]) -> Float32:
    return np.array(corners, np.float32).reshape(-1, 2, 2)


def test_overlapping_boxes_blend_by_their_scores() -> None:
    points = boxes((0, 0, 10, 10), (50, 50, 60, 60), (2, 0, 12, 10))

    blended = blend_overlapping(points, np.array([0.6, 0.9, 0.8], np.float32))

    assert [score for _, score in blended] == pytest.approx([0.9, 0.8])
    np.testing.assert_allclose(blended[0][0], [[50, 50], [60, 60]])
    np.testing.assert_allclose(blended[1][0], [[2 * 0.8 / 1.4, 0], [10 + 2 * 0.8 / 1.4, 10]], rtol=1e-5)


def test_boxes_that_hardly_overlap_stay_apart_and_empty_ones_end() -> None:
    points = boxes((0, 0, 10, 10), (7, 0, 17, 10), (3, 3, 3, 3))

    assert len(blend_overlapping(points, np.array([0.9, 0.8, 0.7], np.float32))) == 3


def test_a_score_of_half_is_a_face_and_less_is_not() -> None:
    scores = np.full((1, 896, 1), -1e-3, np.float32)
    raw = np.zeros((1, 896, 16), np.float32)
    raw[..., 2:4] = 20

    def run(inputs: Tensors) -> Tensors:
        return {"boxes": raw, "scores": scores}

    assert Detector(run).find(np.zeros((128, 128, 3), np.uint8)) == []
    scores[0, 700] = 0
    assert [found.score for found in Detector(run).find(np.zeros((128, 128, 3), np.uint8))] == [0.5]
