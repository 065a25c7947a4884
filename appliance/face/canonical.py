"""The 478 landmarks: their groups by the person's own left and right, and an average face in metric space.

The landmark network's order, checked on a photograph and on renders: in an unmirrored picture the
person's right eye is on the picture's left, and there lie the indices 33, 133 and the iris 468..472;
the person's left eye is 263, 362 and 473..477. Paired groups run in step: entry i of a LEFT group is
the mirror of entry i of its RIGHT group.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from appliance.values import Float32

Group = tuple[int, ...]

# Lids: from the outer corner to the inner one, corners included.
UPPER_LID_RIGHT: Group = (33, 246, 161, 160, 159, 158, 157, 173, 133)
UPPER_LID_LEFT: Group = (263, 466, 388, 387, 386, 385, 384, 398, 362)
LOWER_LID_RIGHT: Group = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LOWER_LID_LEFT: Group = (263, 249, 390, 373, 374, 380, 381, 382, 362)
EYE_OUTER_RIGHT, EYE_OUTER_LEFT = 33, 263
EYE_INNER_RIGHT, EYE_INNER_LEFT = 133, 362

# Irises: the centre, then the edge to the picture's right, top, picture's left, bottom in an upright picture.
IRIS_RIGHT: Group = (468, 469, 470, 471, 472)
IRIS_LEFT: Group = (473, 474, 475, 476, 477)
IRIS_CENTRE_RIGHT, IRIS_CENTRE_LEFT = 468, 473

# Brows: from the outer end (the temple) to the inner one (the nose).
BROW_UPPER_RIGHT: Group = (70, 63, 105, 66, 107)
BROW_UPPER_LEFT: Group = (300, 293, 334, 296, 336)
BROW_LOWER_RIGHT: Group = (46, 53, 52, 65, 55)
BROW_LOWER_LEFT: Group = (276, 283, 282, 295, 285)

# Lips: from the corner of the person's right to that of the left, corners included.
LIP_UPPER_OUTER: Group = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LIP_LOWER_OUTER: Group = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIP_UPPER_INNER: Group = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIP_LOWER_INNER: Group = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
MOUTH_CORNER_RIGHT, MOUTH_CORNER_LEFT = 61, 291
MOUTH_INNER_CORNER_RIGHT, MOUTH_INNER_CORNER_LEFT = 78, 308

# Nose: the wing's side, its base, its lower edge; the bridge from the root down to the tip.
NOSE_WING_RIGHT: Group = (129, 64, 98)
NOSE_WING_LEFT: Group = (358, 294, 327)
NOSE_BRIDGE: Group = (168, 6, 197, 195, 5, 4)
NOSE_TIP, NOSE_BASE = 1, 2

CHIN, CHIN_FRONT = 152, 199
FOREHEAD_TOP = 10
CHEEK_RIGHT, CHEEK_LEFT = 50, 280  # over the cheekbone
CHEEK_LOWER_RIGHT, CHEEK_LOWER_LEFT = 205, 425  # beside the nose and mouth, where a smile gathers
JAW_RIGHT: Group = (132, 58, 172, 136, 150, 149, 176, 148)  # from below the ear to beside the chin
JAW_LEFT: Group = (361, 288, 397, 365, 379, 378, 400, 377)
FACE_EDGE_RIGHT, FACE_EDGE_LEFT = 234, 454  # before the ears

_FILE = Path(__file__).parent / "canonical.npz"  # made by engines.training.canonical_geometry


@dataclass(frozen=True, slots=True)
class CanonicalFace:
    """A neutral average adult face that looks straight ahead, lips closed, 63 mm from pupil to pupil.

    Head coordinates: metres, origin midway between the centres of the two eyeballs, +X to the
    person's left (the right of an unmirrored picture), +Y up, +Z out of the face.
    """

    points_m: Float32  # 478 x 3
    mirror: npt.NDArray[np.int16]  # 478: each landmark's mirror image; itself on the midline
    eye_right_m: Float32  # 3: the point about which the person's right eye turns
    eye_left_m: Float32


@cache
def canonical_face() -> CanonicalFace:
    """Read the average face; the arrays are shared and read-only."""
    with np.load(_FILE) as file:
        arrays = [file["points_m"], file["mirror"], *file["eyes_m"]]
    for array in arrays:
        array.flags.writeable = False
    return CanonicalFace(*arrays)
