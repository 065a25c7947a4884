"""Where to look for one face: a turned square, from what was found in this picture or the last.

The rules are those of MediaPipe's face landmark graphs (Apache-2.0): a square around everything found, half
as large again, upright along the line between the eyes.
"""

import math

import numpy as np
import numpy.typing as npt

from appliance.values import Detection, Float32, Landmarks, Region

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


def matrix(region: Region, size_px: int) -> npt.NDArray[np.float64]:
    """Map pixel positions of a square of ``size_px`` to the picture's; 2 x 3, pixels counted from their middle."""
    cosine, sine = (
        part * region.size_px / size_px for part in (math.cos(region.rotation_rad), math.sin(region.rotation_rad))
    )
    middle = (size_px - 1) / 2
    return np.array(
        [
            [cosine, -sine, region.x_px - 0.5 - (cosine - sine) * middle],
            [sine, cosine, region.y_px - 0.5 - (sine + cosine) * middle],
        ]
    )


def points_in_picture(points: Float32, region: Region, size_px: int) -> Float32:
    """Take n x 2 or n x 3 points of a square of ``size_px`` to the picture; a depth is scaled alike.

    These points are measured from the corner of the first pixel, as the networks give them.
    """
    scale = region.size_px / size_px
    cosine, sine = math.cos(region.rotation_rad), math.sin(region.rotation_rad)
    turn = np.array([[cosine, sine], [-sine, cosine]], np.float32) * np.float32(scale)
    result: Float32 = points * np.float32(scale)
    result[:, :2] = (points[:, :2] - np.float32(size_px / 2)) @ turn
    result[:, :2] += np.array([region.x_px, region.y_px], np.float32)
    return result


def _region(
    low: npt.NDArray[np.floating], high: npt.NDArray[np.floating], eye_line: npt.NDArray[np.floating]
) -> Region:
    middle = (low + high) / 2
    rotation = math.atan2(float(eye_line[1]), float(eye_line[0]))
    return Region(float(middle[0]), float(middle[1]), SCALE * float((high - low).max()), rotation)
