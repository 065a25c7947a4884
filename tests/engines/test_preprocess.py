from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engines.manifest import Preprocessing
from engines.preprocess import sample

Array = npt.NDArray[Any]
IDENTITY = np.eye(2, 3)


def sampled(image: Array, matrix: Array, preprocessing: Preprocessing) -> Array:
    target = np.full((3, preprocessing.size_px, preprocessing.size_px), np.nan, np.float32)
    sample(image, matrix, preprocessing, target)
    return target


def test_blue_green_red_bytes_become_red_green_blue_planes_of_the_range() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[1, 2] = (255, 51, 0)

    unit = sampled(image, IDENTITY, Preprocessing(4, 0.0, 1.0, "black"))
    signed = sampled(image, IDENTITY, Preprocessing(4, -1.0, 1.0, "black"))

    np.testing.assert_allclose(unit[:, 1, 2], [0, 0.2, 1], atol=1e-6)
    np.testing.assert_allclose(signed[:, 1, 2], [-1, -0.6, 1], atol=1e-6)
    np.testing.assert_allclose(signed[:, 0, 0], -1)


def test_the_matrix_maps_pixels_of_the_square_to_pixels_of_the_picture() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    quarter_turn_at_7_5 = np.array([[0.0, -1.0, 7.0], [1.0, 0.0, 5.0]])

    square = sampled(image, quarter_turn_at_7_5, Preprocessing(6, 0.0, 255.0, "black"))

    assert square[2, 3, 4] == image[5 + 4, 7 - 3, 0]


@pytest.mark.parametrize(("outside", "expected"), [("black", 0), ("edge", 200)])
def test_outside_the_picture_is_black_or_its_edge(outside: str, expected: int) -> None:
    image = np.full((8, 8, 3), 200, np.uint8)
    shifted = np.array([[1.0, 0, 20], [0, 1, 0]])

    square = sampled(image, shifted, Preprocessing(8, 0.0, 255.0, outside))

    np.testing.assert_allclose(square, expected)


def test_a_part_of_a_picture_may_be_a_view() -> None:
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    preprocessing = Preprocessing(8, 0.0, 255.0, "edge")

    view = sampled(image[3:15, 4:20], IDENTITY, preprocessing)

    np.testing.assert_array_equal(view, sampled(image[3:15, 4:20].copy(), IDENTITY, preprocessing))
