"""The one way from a picture to a network's input: daemon, calibration and verification call it alike."""

import cv2
import numpy as np
import numpy.typing as npt

from engines.manifest import Preprocessing

Image = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]


def sample(image: Image, square_to_picture: Matrix, preprocessing: Preprocessing, target: Float32) -> None:
    """Fill ``target``, 3 x size x size, RGB, low..high, with a square cut from a picture, 0..255, BGR.

    ``square_to_picture`` is 2 x 3 and maps pixel positions of the square to those of the picture, both
    counted from the middle of the first pixel. Between pixels it is bilinear; outside the picture, black.
    """
    size = preprocessing.size_px
    square = cv2.warpAffine(
        image,
        square_to_picture,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    scale = (preprocessing.high - preprocessing.low) / 255
    for plane, channel in enumerate((2, 1, 0)):
        np.multiply(square[:, :, channel], np.float32(scale), out=target[plane])
    if preprocessing.low:
        target += np.float32(preprocessing.low)
