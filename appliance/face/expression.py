"""From 478 landmarks to 52 blendshapes, head pose and gaze: the geometric way.

Every weight is a sum of lengths between named landmarks, measured in head coordinates (pose and
scale removed), minus the same lengths on the average face, times a gain. So weights are linear
and open at both ends; ``avatar.neutral`` later subtracts the person's own rest and clips them to
0..1. Gains are per centimetre (lids: per eye width), rounded, and follow the movement ranges of
the action units that the ARKit shapes name (Ekman and Friesen, Facial Action Coding System).

``cheekPuff``, ``jawForward``, ``cheekSquint`` in part, and ``tongueOut`` cannot be told from these
points: what is 0 here stays 0 until pixels are asked. The
eyeLook shapes follow from the gaze, once that is calibrated (``avatar.compose``).
"""

from collections.abc import Sequence

import numpy as np

from appliance.avatar.channels import BLENDSHAPES
from appliance.face import canonical as face
from appliance.face.canonical import Group
from appliance.face.gaze import read_gaze
from appliance.face.headpose import head_frame, solve
from appliance.values import Expression, Float32

_X, _Y, _Z = 0, 1, 2
_CLOSED, _OPEN = 0.07, 0.23  # gap of the lids in eye widths, on faces of many people
_PER_APERTURE = 1 / (_OPEN - _CLOSED)


def _row(axis: int, plus: Sequence[int], minus: Sequence[int]) -> Float32:
    """The mean of some points' coordinate minus that of others, as a row over 478 x 3, in cm from m."""
    row = np.zeros((478, 3), np.float32)
    np.add.at(row, (list(plus), axis), 100 / len(plus))
    np.add.at(row, (list(minus), axis), -100 / len(minus))
    return row.ravel()


def _side_rows(side: str) -> dict[str, Float32]:
    """The lengths of one half of the face; outward is positive on both."""
    right = side == "Right"
    upper: Group = face.UPPER_LID_RIGHT if right else face.UPPER_LID_LEFT
    lower: Group = face.LOWER_LID_RIGHT if right else face.LOWER_LID_LEFT
    outer, inner = (33, 133) if right else (263, 362)
    brow = (face.BROW_UPPER_RIGHT + face.BROW_LOWER_RIGHT) if right else (face.BROW_UPPER_LEFT + face.BROW_LOWER_LEFT)
    brow_inner, brow_outer = (brow[3:5] + brow[8:10]), (brow[0:2] + brow[5:7])
    corner = face.MOUTH_CORNER_RIGHT if right else face.MOUTH_CORNER_LEFT
    wing = face.NOSE_WING_RIGHT if right else face.NOSE_WING_LEFT
    cheek = face.CHEEK_LOWER_RIGHT if right else face.CHEEK_LOWER_LEFT
    upper_lip = (80, 81, 82) if right else (310, 311, 312)
    lower_lip = (87, 88, 178) if right else (317, 318, 402)
    outward = -1 if right else 1
    nose = [face.NOSE_BASE]
    return {
        "lids": _row(_Y, upper[2:7], lower[2:7]),
        "eye": outward * _row(_X, [outer], [inner]),
        "lower_lid": _row(_Y, lower[3:6], [outer, inner]),
        "brow": _row(_Y, brow, [outer, inner]),
        "brow_inner": _row(_Y, brow_inner, [inner]),
        "brow_outer": _row(_Y, brow_outer, [outer]),
        "corner_out": outward * _row(_X, [corner], [0, 17]),
        "corner_up": _row(_Y, [corner], nose),
        "corner_back": -_row(_Z, [corner], [0, 17]),
        "upper_lip_up": _row(_Y, upper_lip, nose),
        "lower_lip_down": -_row(_Y, lower_lip, [face.CHIN]),
        "wing_up": _row(_Y, wing, [outer, inner]),
        "cheek_up": _row(_Y, [cheek], [outer, inner]),
    }


def _middle_rows() -> dict[str, Float32]:
    nose, chin = [face.NOSE_BASE], [face.CHIN]
    return {
        "gap": _row(_Y, [13], [14]),
        "chin_down": _row(_Y, nose, chin),
        "chin_left": _row(_X, chin, [face.EYE_INNER_LEFT, face.EYE_INNER_RIGHT]),
        "mouth_left": _row(_X, [0, 17, 13, 14, 61, 291], [face.EYE_INNER_LEFT, face.EYE_INNER_RIGHT]),
        "width": _row(_X, [face.MOUTH_CORNER_LEFT], [face.MOUTH_CORNER_RIGHT]),
        "lips_forward": _row(_Z, [0, 17, 13, 14, 37, 267, 84, 314], nose),
        "upper_lip_thick": _row(_Y, [0, 37, 267], [13, 82, 312]),
        "lower_lip_thick": _row(_Y, [14, 87, 317], [17, 84, 314]),
        "lower_lip_over_chin": _row(_Y, [17, 84, 314], chin),
        "upper_lip_rise": _row(_Y, [0, 37, 267], nose),
    }


# What each shape is made of: {length: gain}. "Side" stands for the shape's own side.
_SIDED: dict[str, dict[str, float]] = {
    "eyeBlink": {"aperture": -_PER_APERTURE},
    "eyeWide": {"aperture": 4.0, "lower_lid": -0.3},
    "eyeSquint": {"lower_lid": 1.3, "cheek_up": 0.3},
    "browDown": {"brow": -0.7, "lower_lid": 0.5},
    "browOuterUp": {"brow_outer": 0.85},
    "cheekSquint": {"cheek_up": 0.6, "lower_lid": 0.4},
    "noseSneer": {"wing_up": 0.6, "upper_lip_up": 0.2},
    "mouthSmile": {"corner_up": 0.5, "corner_out": 0.35, "cheek_up": 0.3, "upper_lip_up": 0.15},
    "mouthFrown": {"corner_up": -0.4},
    "mouthDimple": {"corner_out": 0.2, "corner_back": 0.2, "upper_lip_up": -0.2},
    "mouthStretch": {"corner_out": 0.3, "corner_up": -0.25},
    "mouthUpperUp": {"upper_lip_up": 0.7, "corner_up": -0.15},
    "mouthLowerDown": {"gap": 0.25, "chin_down": -0.18},
    "mouthPress": {"upper_lip_thick": -0.5, "lower_lip_thick": -0.5, "gap": -0.2, "corner_up": 0.1},
}
_MIDDLE: dict[str, dict[str, float]] = {
    "browInnerUp": {"brow_innerLeft": 0.35, "brow_innerRight": 0.35},
    "jawOpen": {"gap": 0.15, "chin_down": 0.18},
    "jawLeft": {"chin_left": 0.5, "mouth_left": 0.1},
    "jawRight": {"chin_left": -0.5, "mouth_left": -0.1},
    "mouthLeft": {"mouth_left": 0.7, "chin_left": -0.1},
    "mouthRight": {"mouth_left": -0.7, "chin_left": 0.1},
    "mouthClose": {"chin_down": 0.2, "gap": -0.3},
    "mouthFunnel": {"width": -0.15, "lips_forward": 0.2, "gap": 0.15},
    "mouthPucker": {"width": -0.3, "lips_forward": 0.3, "gap": -0.1},
    "mouthRollUpper": {"upper_lip_thick": -0.9, "upper_lip_rise": -0.4},
    "mouthRollLower": {"lower_lip_thick": -0.8, "gap": -0.1},
    "mouthShrugLower": {"lower_lip_over_chin": 0.4, "gap": -0.2, "chin_down": -0.2},
    "mouthShrugUpper": {"upper_lip_rise": 0.5, "gap": -0.4, "lips_forward": 0.2},
}


class ExpressionReader:
    """Reads faces; all lengths are rows of one matrix, all gains of another, made once."""

    def __init__(self) -> None:
        rows = _middle_rows()
        for side in ("Left", "Right"):
            rows |= {f"{name}{side}": row for name, row in _side_rows(side).items()}
        self._rows = np.stack(list(rows.values()))
        self._names = [*rows, "apertureLeft", "apertureRight"]
        self._lids = [self._names.index(f"{name}{side}") for name in ("lids", "eye") for side in ("Left", "Right")]
        self._gains = self._table()
        self._average = self._lengths(face.canonical_face().points_m)

    def read(
        self,
        points_px: Float32,
        picture_size_px: tuple[int, int],
        horizontal_fov_deg: float,
        previous: Expression | None,
    ) -> Expression | None:
        """Read one face: 478 x 3 landmarks of a picture of the given width and height.

        ``previous`` is what was read in the picture before, where there was one. ``None`` when the
        points are no face that a pose can be found for.
        """
        head = solve(points_px, picture_size_px, horizontal_fov_deg, previous.head if previous else None)
        if head is None:
            return None
        head_points_m = head_frame(points_px)
        gaze = read_gaze(points_px, head_points_m, previous.gaze if previous else None)
        weights = self._gains @ (self._lengths(head_points_m) - self._average)
        return Expression(weights, head, gaze)

    def _lengths(self, points_m: Float32) -> Float32:
        lengths = self._rows @ points_m.ravel()
        lids_left, lids_right, eye_left, eye_right = lengths[self._lids]
        apertures = [lids_left / max(eye_left, 0.1), lids_right / max(eye_right, 0.1)]
        return np.concatenate([lengths, np.asarray(apertures, np.float32)])

    def _table(self) -> Float32:
        gains = np.zeros((len(BLENDSHAPES), len(self._names)), np.float32)
        sided = {(f"{shape}{side}", side): parts for shape, parts in _SIDED.items() for side in ("Left", "Right")}
        for (shape, side), parts in {**sided, **{(name, ""): parts for name, parts in _MIDDLE.items()}}.items():
            for length, gain in parts.items():
                column = length if length in self._names else f"{length}{side}"
                gains[BLENDSHAPES.index(shape), self._names.index(column)] += gain
        return gains
