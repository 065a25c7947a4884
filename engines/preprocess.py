"""The one way from a picture to a network's input: daemon, calibration and verification call it alike."""

import cv2
import numpy as np
import numpy.typing as npt

from engines.manifest import Preprocessing

Image = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]
Cut = tuple[Image, Matrix]
"""A picture, and a square's pixel positions to its own, 2 x 3."""


_BORDERS = {"black": cv2.BORDER_CONSTANT, "edge": cv2.BORDER_REPLICATE}


def sample(image: Image, square_to_picture: Matrix, preprocessing: Preprocessing, target: Float32) -> None:
    """Fill ``target``, 3 x size x size, RGB, low..high, with a square cut from a picture, 0..255, BGR.

    ``square_to_picture`` is 2 x 3 and maps pixel positions of the square to those of the picture. Between
    pixels it is bilinear.
    """
    size = preprocessing.size_px
    square = cv2.warpAffine(
        image,
        square_to_picture,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=_BORDERS[preprocessing.outside],
    )
    scale = np.float32((preprocessing.high - preprocessing.low) / 255)
    blue, green, red = cv2.split(square)  # whole planes are multiplied twice as fast as every third byte
    for plane, values in zip(target, (red, green, blue), strict=True):
        np.multiply(values, scale, out=plane)
    if preprocessing.low:
        target += np.float32(preprocessing.low)
