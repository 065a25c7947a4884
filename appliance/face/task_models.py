"""Expressions as MediaPipe's Face Landmarker reads them: the blendshape network of a task file its owner brought.

The network is the method of Grishchenko et al., "Blendshapes GHUM: Real-time Monocular Facial Blendshape Prediction"
(2023); which points it takes, and its names, are those of MediaPipe's face blendshapes graph (Apache-2.0).
"""

import numpy as np

from appliance.avatar.channels import BLENDSHAPES
from appliance.face.expression_network import ExpressionNetwork
from appliance.values import Float32

LANDMARK_MODEL, BLENDSHAPE_MODEL = "face_landmarks_256", "face_blendshapes"

# The points that the network takes, in its order: outline, brows, lids, nose, lips and, from 468 on, both irises.
POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80, 81,
    82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154,
    155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263,
    267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321,
    323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387,
    388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, *range(468, 478),
)  # fmt: skip
NAMES = ("_neutral", *(name for name in BLENDSHAPES if name != "tongueOut"))
"""What its outputs are called, in their order."""

_TARGETS = np.array([BLENDSHAPES.index(name) for name in NAMES[1:]])


def _seen(points_px: Float32) -> Float32:
    """The network's points about their middle, the farthest coordinate 1 away.

    The network removes place and size itself, but by squares that overflow 16 bits in pixels.
    """
    chosen = points_px[POINTS, :2].astype(np.float32)
    centred = chosen - chosen.mean(0)
    seen: Float32 = centred / np.float32(max(float(np.abs(centred).max()), 1e-6))
    return seen


TASK = ExpressionNetwork(
    given="points",
    points=len(POINTS),
    seen=_seen,
    picture=None,
    columns=np.arange(1, len(NAMES)),
    targets=_TARGETS,
    reach=np.ones(len(_TARGETS), np.float32),
)
"""The task file's network: its points in, "_neutral" and 51 weights out; ``tongueOut`` stays 0."""
