from typing import Any

import cv2
import numpy as np
import pytest

from appliance.capture.pictures import as_bgr, decode

CAPACITY = 64 * 48 * 3
COLOUR = np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)


def test_a_good_picture_is_passed_on_as_it_is() -> None:
    image, fault = as_bgr(COLOUR, CAPACITY)

    assert image is COLOUR
    assert fault == ""


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (COLOUR[:, :, 0], "grey"),
        (COLOUR[:, :, :1], "grey"),
        (np.dstack([COLOUR, COLOUR[:, :, 0]]), "4 channels"),
    ],
)
def test_a_harmless_picture_is_converted_and_reported(picture: Any, words: str) -> None:
    image, fault = as_bgr(picture, CAPACITY)

    assert image is not None
    assert image.shape == (48, 64, 3)
    np.testing.assert_array_equal(image[:, :, 0], COLOUR[:, :, 0])
    assert words in fault


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (None, "empty"),
        (np.empty(0, np.uint8), "empty"),
        (np.empty((0, 64, 3), np.uint8), "empty"),
        (COLOUR.astype(np.uint16), "uint16"),
        (COLOUR / 255.0, "float64"),
        (COLOUR[:, :, :2], "48x64x2"),
        (COLOUR[None], "1x48x64x3"),
        (COLOUR.reshape(-1), "9216"),
    ],
)
def test_a_picture_that_cannot_be_used_is_dropped_and_says_why(picture: Any, words: str) -> None:
    image, fault = as_bgr(picture, CAPACITY)

    assert image is None
    assert words in fault


@pytest.mark.parametrize(("width", "height"), [(1, 1), (63, 47), (17, 31), (48, 64)])
def test_a_picture_of_another_size_that_fits_is_kept(width: int, height: int) -> None:
    image, fault = as_bgr(np.zeros((height, width, 3), np.uint8), CAPACITY)

    assert image is not None
    assert image.shape == (height, width, 3)
    assert fault == ""


@pytest.mark.parametrize(("width", "height"), [(65, 48), (128, 96), (1921, 1081), (96, 128), (4000, 90)])
def test_a_larger_picture_is_scaled_down_and_keeps_its_shape(width: int, height: int) -> None:
    image, fault = as_bgr(np.zeros((height, width, 3), np.uint8), CAPACITY)

    assert image is not None
    assert image.size <= CAPACITY
    assert image.shape[1] / image.shape[0] == pytest.approx(width / height, rel=0.13)
    assert f"{width}x{height}" in fault


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_a_whole_still_is_decoded(kind: str) -> None:
    encoded = cv2.imencode(kind, COLOUR)[1].tobytes()

    assert decode(encoded).shape == COLOUR.shape


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_jpeg_is_empty_not_half_grey(share: float) -> None:
    encoded = cv2.imencode(".jpg", COLOUR)[1].tobytes()

    assert decode(encoded[: int(len(encoded) * share)]).size == 0


def test_noise_is_no_picture() -> None:
    assert decode(b"no picture at all").size == 0
