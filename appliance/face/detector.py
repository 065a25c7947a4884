"""Finds every face in a whole picture.

The network is MediaPipe's short-range BlazeFace (Bazarevsky et al., 2019, arXiv:1907.05047); its anchors, its
scaling and its way of blending overlapping boxes are those of the paper and of MediaPipe's graph.
"""

import numpy as np

from appliance.face import regions
from appliance.values import Detection, Float32, Image
from engines import manifest
from engines.preprocess import sample
from engines.runners import Runner

MODEL = "face_detector"
MIN_SCORE = 0.5
MIN_OVERLAP = 0.3  # intersection over union from which two boxes are the same face
GRIDS = ((16, 2), (8, 6))  # cells along a side, anchors in each cell


class Detector:
    """The detector network and what its numbers mean."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._preprocessing = manifest.load_model(MODEL).preprocessing
        size = self._preprocessing.size_px
        self._batch = np.zeros((1, 3, size, size), np.float32)
        self._anchors_px = anchors() * size

    def find(self, image: Image) -> list[Detection]:
        """Find all faces, the surest first; a picture that is not square is seen with black margins."""
        height, width = image.shape[:2]
        region = regions.region_of_picture(height, width)
        size = self._preprocessing.size_px
        sample(image, regions.matrix(region, size), self._preprocessing, self._batch[0])
        outputs = self._runner({"image": self._batch})
        scores = _sigmoid(outputs["scores"][0, :, 0])
        sure = scores >= MIN_SCORE
        points = _decode(outputs["boxes"][0, sure], self._anchors_px[sure])
        return [
            _detection(regions.points_in_picture(blended, region, size), score)
            for blended, score in blend_overlapping(points, scores[sure])
        ]


def anchors() -> Float32:
    """The middle of each of the 896 anchors, 0..1."""
    grids = []
    for cells, count in GRIDS:
        rows, columns = np.mgrid[0:cells, 0:cells]
        middles = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) / cells
        grids.append(np.repeat(middles, count, axis=0))
    return np.concatenate(grids).astype(np.float32)


def _sigmoid(logits: Float32) -> Float32:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)


def _decode(boxes: Float32, anchors_px: Float32) -> Float32:
    """Raw boxes to n x 8 points: first corner, last corner, six keypoints."""
    values = boxes.reshape(-1, 8, 2)
    middle = values[:, 0] + anchors_px
    half = values[:, 1] / 2
    keypoints = values[:, 2:] + anchors_px[:, None]
    return np.concatenate([(middle - half)[:, None], (middle + half)[:, None], keypoints], axis=1)


def blend_overlapping(points: Float32, scores: Float32) -> list[tuple[Float32, float]]:
    """Blend boxes that are one face into their mean weighted by score, the surest face first.

    ``points`` is n x m x 2, each box's two corners before anything else.
    """
    faces = []
    left = np.argsort(-scores, kind="stable")
    while len(left):
        same = _overlap(points[left[0]], points[left]) > MIN_OVERLAP
        same[0] = True  # a box of no area overlaps not even itself
        group = left[same]
        weights = scores[group] / scores[group].sum()
        faces.append((np.tensordot(weights, points[group], axes=1), float(scores[group[0]])))
        left = left[~same]
    return faces


def _overlap(box: Float32, boxes: Float32) -> Float32:
    """Intersection over union of one box and many."""
    shared = np.minimum(box[1], boxes[:, 1]) - np.maximum(box[0], boxes[:, 0])
    intersection = np.prod(np.maximum(shared, 0), axis=1)
    union = np.prod(box[1] - box[0]) + np.prod(boxes[:, 1] - boxes[:, 0], axis=1) - intersection
    return np.asarray(intersection / np.maximum(union, np.finfo(np.float32).tiny))


def _detection(points: Float32, score: float) -> Detection:
    (left, top), (right, bottom) = points[:2].tolist()
    return Detection(left, top, right, bottom, points[2:], score)
