"""Where to look for one face: a turned square, from what was found in this picture or the last.

The rules are those of MediaPipe's face landmark graphs (Apache-2.0): a square around everything found, half
as large again, upright along the line between the eyes.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance.values import Detection, Float32, Landmarks, Region

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]

SCALE = 1.5  # of the square to what was found, so that a moving face stays inside
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263  # the person's own right and left, in the 468-point mesh


def region_from_detection(detection: Detection) -> Region:
    """The square for a face that the detector found."""
    right_eye, left_eye = detection.keypoints_px[0], detection.keypoints_px[1]
    low = np.array([detection.left_px, detection.top_px])
    high = np.array([detection.right_px, detection.bottom_px])
    return _region(low, high, left_eye - right_eye)


def region_from_landmarks(landmarks: Landmarks) -> Region:
    """The square for a face whose landmarks are known from the picture before."""
    points = landmarks.points_px[:, :2]
    return _region(points.min(axis=0), points.max(axis=0), points[LEFT_EYE_OUTER] - points[RIGHT_EYE_OUTER])


def region_of_picture(height_px: int, width_px: int) -> Region:
    """The smallest upright square around a whole picture."""
    return Region(width_px / 2, height_px / 2, max(height_px, width_px), 0.0)


def matrix(region: Region, size_px: int) -> Float64:
    """Map positions in a square of ``size_px`` to positions in the picture; 2 x 3.

    As in MediaPipe, the first pixel of either is at 0 and the square's middle at half its size, whether it
    is pixels or points that are mapped. Half a pixel more would be truer and costs 1 % of accuracy: the
    network was trained so.
    """
    scale = region.size_px / size_px
    cosine, sine = math.cos(region.rotation_rad) * scale, math.sin(region.rotation_rad) * scale
    middle = size_px / 2
    return np.array(
        [
            [cosine, -sine, region.x_px - (cosine - sine) * middle],
            [sine, cosine, region.y_px - (sine + cosine) * middle],
        ]
    )


def points_in_picture(points: Float32, region: Region, size_px: int) -> Float32:
    """Take n x 2 or n x 3 points of a square of ``size_px`` to the picture; a depth is scaled alike."""
    square_to_picture = matrix(region, size_px).astype(np.float32)
    result: Float32 = points * np.float32(region.size_px / size_px)
    result[:, :2] = points[:, :2] @ square_to_picture[:, :2].T + square_to_picture[:, 2]
    return result


def _region(low: Floats, high: Floats, eye_line: Floats) -> Region:
    middle = (low + high) / 2
    rotation = math.atan2(float(eye_line[1]), float(eye_line[0]))
    return Region(float(middle[0]), float(middle[1]), SCALE * float((high - low).max()), rotation)
