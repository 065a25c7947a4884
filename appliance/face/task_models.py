"""Expressions as MediaPipe's Face Landmarker reads them: the blendshape network of a task file its owner brought.

The network is the method of Grishchenko et al., "Blendshapes GHUM: Real-time Monocular Facial Blendshape Prediction"
(2023); which points it takes, and its names, are those of MediaPipe's face blendshapes graph (Apache-2.0).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from appliance.avatar.channels import BLENDSHAPES
from appliance.face.expression import ExpressionReader
from appliance.values import Expression, Float32
from engines.runners import Runner

LANDMARK_MODEL, BLENDSHAPE_MODEL = "face_landmarks_256", "face_blendshapes"

# The points that the network takes, in its order: outline, brows, lids, nose, lips and, from 468 on, both irises.
_POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80, 81,
    82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154,
    155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263,
    267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321,
    323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387,
    388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, *range(468, 478),
)  # fmt: skip
_NAMES = ("_neutral", *(name for name in BLENDSHAPES if name != "tongueOut"))
_TARGETS = np.array([BLENDSHAPES.index(name) for name in _NAMES[1:]])


@dataclass(frozen=True, slots=True)
class Look:
    """One face to be read, and what was read of it in the picture before."""

    points_px: Float32  # 478 x 3
    picture_size_px: tuple[int, int]  # width, height
    horizontal_fov_deg: float
    previous: Expression | None = None


class TaskExpressionReader:
    """Reads head pose and gaze as our own reader does, and blendshapes from the task file's network.

    ``tongueOut``, which that network does not know, stays 0.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._geometry = ExpressionReader()

    def read(
        self,
        points_px: Float32,
        picture_size_px: tuple[int, int],
        horizontal_fov_deg: float,
        previous: Expression | None,
    ) -> Expression | None:
        """Read one face, as ``ExpressionReader.read`` does."""
        return self.read_all([Look(points_px, picture_size_px, horizontal_fov_deg, previous)])[0]

    def read_all(self, looks: Sequence[Look]) -> list[Expression | None]:
        """Read every face with one call of the network; ``None`` for points that are no face."""
        if not looks:
            return []
        points = np.stack([look.points_px[_POINTS, :2] for look in looks])
        outputs = self._runner({"points": points.astype(np.float32)})["blendshapes"]
        weights = np.zeros((len(looks), len(BLENDSHAPES)), np.float32)
        weights[:, _TARGETS] = outputs[:, 1:]
        return [self._join(look, row) for look, row in zip(looks, weights, strict=True)]

    def _join(self, look: Look, weights: Float32) -> Expression | None:
        read = self._geometry.read(look.points_px, look.picture_size_px, look.horizontal_fov_deg, look.previous)
        return replace(read, blendshapes=weights) if read else None
