"""Move the face in one photograph: eyelids, jaw, lips, corners of the mouth, brows, a little turn and nod.

All positions are pixels of the 512 x 512 photograph, measured once. A smooth displacement field per channel carries
skin along; where one part slides over another (lid over eye, lips over teeth, jaw away from teeth) parts are layers.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Field = npt.NDArray[np.floating[Any]]
Points = tuple[tuple[float, float], ...]

ZOOM = 2.4  # texture pixels for each pixel of the photograph
FACE_X, FACE_Y, FACE_WIDTH, FACE_HEIGHT = 152, 60, 144, 184  # all that ever moves
COARSE = 4  # texture pixels between the samples of the smooth fields

INNER_UPPER_LIP: Points = (
    (203.6, 139.9), (206.2, 140.4), (209.3, 141.0), (212.9, 141.9), (217.7, 143.0), (223.5, 143.7),
    (229.5, 143.4), (234.4, 142.7), (238.2, 142.0), (241.4, 141.6), (243.9, 141.4),
)  # fmt: skip
INNER_LOWER_LIP: Points = (
    (203.6, 139.9), (206.8, 143.0), (209.3, 145.3), (212.9, 147.6), (217.4, 149.4), (223.0, 150.3),
    (228.7, 149.9), (233.5, 148.5), (237.4, 146.5), (240.2, 144.3), (243.9, 141.4),
)  # fmt: skip
RIGHT_EYE_UPPER: Points = (
    (193.5, 101.0), (194.7, 100.4), (196.8, 99.0), (199.1, 98.0), (202.7, 97.4), (206.3, 98.0), (209.8, 99.9),
    (212.3, 102.2), (214.0, 103.8),
)  # fmt: skip
RIGHT_EYE_LOWER: Points = (
    (193.5, 101.0), (195.9, 101.8), (197.3, 102.7), (199.4, 103.5), (202.9, 104.2), (206.5, 104.2), (209.9, 104.0),
    (212.3, 103.9), (214.0, 103.8),
)  # fmt: skip
LEFT_EYE_UPPER: Points = (
    (236.0, 104.8), (237.9, 103.4), (240.9, 101.4), (244.7, 99.9), (248.5, 99.7), (252.0, 100.6), (254.1, 102.0),
    (255.8, 103.9), (257.0, 104.6),
)  # fmt: skip
LEFT_EYE_LOWER: Points = (
    (236.0, 104.8), (239.8, 105.3), (243.2, 106.0), (246.7, 106.5), (250.3, 106.5), (252.7, 106.0), (254.3, 105.4),
    (255.8, 104.8), (257.0, 104.6),
)  # fmt: skip

MOUTH_X, MOUTH_LEFT_X = 223.7, 243.9
CHIN_Y, NECK_END_Y = 178.0, 226.0
JAW_DROP = 16.0
LIPS_AT_REST = 0.42  # how far the photographed smile's lips come together when the smile goes
LID_REACH = 7.0  # how much skin above the eye stretches when the lid comes down


def column(points: Points, x: Field) -> Field:
    """Return the height of a line at each x; level beyond its ends."""
    xs, ys = zip(*points, strict=True)
    heights: Field = np.interp(x, xs, ys).astype(np.float32)
    return heights


def bump(x: Field, y: Field, centre: tuple[float, float], reach: tuple[float, float]) -> Field:
    """Return a Gaussian of height 1."""
    height: Field = np.exp(-(((x - centre[0]) / reach[0]) ** 2) - ((y - centre[1]) / reach[1]) ** 2).astype(np.float32)
    return height


def rise(value: Field, low: float, high: float) -> Field:
    """Return the smooth step from 0 at ``low`` to 1 at ``high``."""
    t: Field = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def coarse_positions(width: int, height: int, step: int) -> tuple[Field, Field]:
    """Return x and y of a coarse grid over a picture, one cell wider than it on each side; see ``refine``."""
    columns = (np.arange(-1, -(-width // step) + 1, dtype=np.float32) + 0.5) * step - 0.5
    rows = (np.arange(-1, -(-height // step) + 1, dtype=np.float32) + 0.5) * step - 0.5
    x, y = np.meshgrid(columns, rows)
    return x, y


def refine(coarse: Field, width: int, height: int, step: int) -> Field:
    """Return a field given on ``coarse_positions`` at every pixel, linear between them."""
    fine: Field = cv2.resize(coarse, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
    return fine[step : step + height, step : step + width]


class FaceWarp:
    """Warps the face of one texture; everything that does not depend on the channels is computed once.

    ``texture`` is the photograph enlarged by ``ZOOM``, height x width x 3, BGR; it is not written to.
    """

    def __init__(self, texture: Picture) -> None:
        self._left, self._top = round(FACE_X * ZOOM), round(FACE_Y * ZOOM)
        self._width, self._height = round(FACE_WIDTH * ZOOM), round(FACE_HEIGHT * ZOOM)
        self.box = (slice(self._top, self._top + self._height), slice(self._left, self._left + self._width))
        self._face = texture[self.box].copy()
        px, py = coarse_positions(self._width, self._height, COARSE)
        self._coarse = np.dstack([px, py])
        x, y = (px + self._left) / ZOOM, (py + self._top) / ZOOM
        self._fields = {name: field * ZOOM for name, field in smooth_fields(x, y).items()}
        self._eyes = {
            "eyeBlinkRight": Eyelid(RIGHT_EYE_UPPER, RIGHT_EYE_LOWER),
            "eyeBlinkLeft": Eyelid(LEFT_EYE_UPPER, LEFT_EYE_LOWER),
        }
        self._band = slice(round((124 - FACE_Y) * ZOOM), round((176 - FACE_Y) * ZOOM))
        self._from_middle = np.arange(self._width, dtype=np.float32) + self._left - MOUTH_X * ZOOM
        self._lips = self._lip_distances()

    def __call__(self, channels: Mapping[str, float]) -> Picture:
        """Return the warped face, the size of ``box``."""
        face = self._face
        for name, lid in self._eyes.items():
            if channels[name] > 0.001:
                face = lid.close(face, channels[name], (self._left, self._top))
        smile, jaw = channels["mouthSmile"], channels["jawOpen"]
        closing = 1 - (1 - LIPS_AT_REST * (1 - smile)) * (1 - channels["close"])
        carried = {"unsmile": 1 - smile, "narrow": jaw, "brow": channels["browUp"]}
        common = self._sum(carried | {name: channels[name] for name in ("round", "turn", "nod")})
        still = self._map(common)
        upper = self._map(common + closing * self._fields["lip_down"])
        lower = self._map(common + closing * self._fields["lip_up"] + jaw * self._fields["jaw"])
        return self._layers(face, still, upper, lower)

    def _sum(self, weights: Mapping[str, float]) -> Field:
        total = np.zeros_like(self._coarse)
        for name, weight in weights.items():
            if abs(weight) > 0.001:
                total += np.float32(weight) * self._fields[name]
        return total

    def _map(self, displacement: Field) -> Field:
        """Return where each pixel comes from, by fixed-point iteration of source = pixel - displacement(source)."""
        source = self._coarse
        for _ in range(4):
            at = (source - self._coarse[0, 0]) / COARSE
            source = self._coarse - cv2.remap(displacement, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return refine(source, self._width, self._height, COARSE)

    def _layers(self, face: Picture, still: Field, upper: Field, lower: Field) -> Picture:
        band = self._band
        out: Picture = cv2.remap(face, upper, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        jaw = cv2.remap(face, lower, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        out[band.stop :] = jaw[band.stop :]
        teeth = cv2.remap(face, still[band], None, cv2.INTER_LINEAR)
        below_upper = cv2.remap(self._lips, upper[band], None, cv2.INTER_LINEAR)[..., 0]
        below_lower = cv2.remap(self._lips, lower[band], None, cv2.INTER_LINEAR)[..., 1]
        past_teeth = cv2.remap(self._lips, still[band], None, cv2.INTER_LINEAR)[..., 1]
        inside = mix(
            teeth, mouth_interior(past_teeth, below_lower, self._from_middle), np.clip((past_teeth - 0.3) / 1.6, 0, 1)
        )
        open_mouth = mix(out[band], inside, np.clip(below_upper + 0.5, 0, 1))
        out[band] = mix(open_mouth, jaw[band], np.clip(below_lower + 1.0, 0, 1))
        return out

    def _lip_distances(self) -> Field:
        """Return, in texture pixels, how far each pixel lies below the upper lip's and the lower lip's inner line."""
        x = (np.arange(self._width, dtype=np.float32) + self._left) / ZOOM
        y = (np.arange(self._height, dtype=np.float32)[:, None] + self._top) / ZOOM
        return np.dstack([(y - column(line, x)) * ZOOM for line in (INNER_UPPER_LIP, INNER_LOWER_LIP)])


def mix(under: Picture, over: Picture, alpha: Field) -> Picture:
    """Return ``over`` laid on ``under``."""
    mixed: Picture = cv2.blendLinear(np.ascontiguousarray(over), np.ascontiguousarray(under), alpha, 1 - alpha)
    return mixed


def mouth_interior(past_teeth: Field, below_lower: Field, from_middle: Field) -> Picture:
    """Return the inside of a mouth: dark under the teeth, a tongue that shows as the lower lip goes; texture pixels."""
    tongue = rise(past_teeth, 8, 20) * np.exp(-((from_middle / 26) ** 2) - np.clip(-below_lower - 6, 0, None) / 12)
    dark, pink = np.array([20, 14, 36], np.float32), np.array([70, 62, 128], np.float32)
    colour: Picture = (dark + (pink - dark) * tongue[..., None]).astype(np.uint8)
    return colour


def smooth_fields(x: Field, y: Field) -> dict[str, Field]:
    """Return for each channel the displacement (x, y) of each point of the photograph at full deflection."""
    none = np.zeros_like(x)
    corner_right, corner_left = bump(x, y, (202.5, 140), (11, 11)), bump(x, y, (245, 141.5), (11, 11))
    cheek_right, cheek_left = bump(x, y, (199, 123), (13, 13)), bump(x, y, (251, 125), (13, 13))
    brows = bump(x, y, (202, 88), (17, 7)) + bump(x, y, (250, 90), (17, 7))
    lips = np.clip(1 - ((x - MOUTH_X) / (MOUTH_LEFT_X - MOUTH_X)) ** 2, 0, 1) ** 0.7
    upper_line, lower_line = column(INNER_UPPER_LIP, x), column(INNER_LOWER_LIP, x)
    gap = lower_line - upper_line
    below_cheek = rise(np.abs(x - MOUTH_X), 25, 36) * rise(y, 150, 170)  # the neck's outline stays where it is
    chinward = rise((y - lower_line) / (CHIN_Y - 8 - lower_line), 0, 1)
    jaw_width = np.exp(-((np.abs(x - MOUTH_X) / 36) ** 3))
    jaw = (lips + (jaw_width - lips) * chinward) * (1 - rise(y, CHIN_Y + 2, NECK_END_Y)) * (1 - below_cheek)
    dome = bump(x, y, (224, 128), (46, 56))
    return {
        "unsmile": np.dstack(
            [
                4.6 * corner_right - 4.6 * corner_left,
                3.4 * (corner_right + corner_left)
                + 1.6 * (cheek_right + cheek_left)
                - 0.8 * bump(x, y, (223, 154), (12, 8)),
            ]
        ),
        "round": np.dstack([2.2 * corner_right - 2.2 * corner_left, none]),
        "narrow": np.dstack([1.2 * corner_right - 1.2 * corner_left, 1.2 * (corner_right + corner_left)]),
        "brow": np.dstack([none, -3.6 * brows]),
        "turn": np.dstack([5.0 * dome, none]),
        "nod": np.dstack([none, 4.0 * dome]),
        "lip_down": np.dstack([none, 0.45 * gap * np.exp(-((np.clip(upper_line - y, 0, None) / 7.5) ** 2))]),
        "lip_up": np.dstack([none, -0.55 * gap * np.exp(-((np.clip(y - lower_line, 0, None) / 12) ** 2))]),
        "jaw": np.dstack([none, JAW_DROP * jaw]),
    }


class Eyelid:
    """One upper eyelid that slides down over its eye."""

    def __init__(self, upper: Points, lower: Points) -> None:
        self._left, self._right = upper[0][0] - 2, upper[-1][0] + 2
        self._top, self._bottom = min(y for _, y in upper) - LID_REACH - 2, max(y for _, y in lower) + 3
        self._upper, self._lower = upper, lower

    def close(self, face: Picture, amount: float, origin: tuple[int, int]) -> Picture:
        """Return the face with this lid lowered by ``amount``; ``origin`` is the face's place in the texture."""
        x0, x1 = (round(x * ZOOM) - origin[0] for x in (self._left, self._right))
        y0, y1 = (round(y * ZOOM) - origin[1] for y in (self._top, self._bottom))
        x = (np.arange(x0, x1, dtype=np.float32) + origin[0]) / ZOOM
        y = (np.arange(y0, y1, dtype=np.float32)[:, None] + origin[1]) / ZOOM
        upper, lower = column(self._upper, x), column(self._lower, x)
        drop = amount * (lower - upper) * 0.97
        margin = upper + drop
        source_y = y - drop * rise((y - upper + LID_REACH) / (drop + LID_REACH), 0, 1)
        from_x = np.broadcast_to(x * ZOOM - origin[0], source_y.shape).astype(np.float32)
        lid = cv2.remap(face, from_x, (source_y * ZOOM - origin[1]).astype(np.float32), cv2.INTER_LINEAR)
        along = (x - self._left) / (self._right - self._left)
        fade = rise(along, 0, 0.16) * (1 - rise(along, 0.84, 1))
        lashes = 0.6 * amount * fade * np.exp(-(((y - margin) / 0.75) ** 2))
        lid = (lid * (1 - lashes[..., None])).astype(np.uint8)
        over = np.clip((margin + 0.5 - y) * ZOOM / 1.5 + 0.5, 0, 1).astype(np.float32)
        closed: Picture = face.copy()
        closed[y0:y1, x0:x1] = mix(face[y0:y1, x0:x1], lid, over)
        return closed
