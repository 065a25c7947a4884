"""Random deformations of a face, as moves of its 478 landmarks: breadth that no set of filmed people has.

Smooth ones are the low modes of the face's own graph (Taubin, "A Signal Processing Approach to Fair Surface
Design", SIGGRAPH 1995); local ones move its parts: lids, brows, lips, corners, jaw, nose, cheeks, irises.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from appliance.face import canonical as face

POINTS = 478
MODES = 80
_IRIS_RIGHT, _IRIS_LEFT = tuple(range(468, 473)), tuple(range(473, 478))


@dataclass(frozen=True)
class Part:
    """Landmarks that move together: how far (in eye distances, x and y), and how softly it fades around them."""

    landmarks: Sequence[int]
    x: float
    y: float
    fade: float


def parts() -> list[Part]:
    """Every part of the face that an expression moves; the last two are the irises."""
    whole_mouth = face.LIP_UPPER_OUTER + face.LIP_LOWER_OUTER + face.LIP_UPPER_INNER + face.LIP_LOWER_INNER
    jaw_drop = face.LIP_LOWER_OUTER[2:-2] + face.LIP_LOWER_INNER[2:-2] + (face.CHIN, face.CHIN_FRONT, 200, 18)
    found = [Part(lid[1:-1], 0.006, 0.035, 0.03) for lid in (face.UPPER_LID_LEFT, face.UPPER_LID_RIGHT)]
    found += [Part(lid[1:-1], 0.006, 0.02, 0.03) for lid in (face.LOWER_LID_LEFT, face.LOWER_LID_RIGHT)]
    for upper, lower in ((face.BROW_UPPER_LEFT, face.BROW_LOWER_LEFT), (face.BROW_UPPER_RIGHT, face.BROW_LOWER_RIGHT)):
        found += [
            Part(upper + lower, 0.02, 0.06, 0.08),
            Part(upper[:2] + lower[:2], 0.02, 0.05, 0.06),
            Part(upper[3:] + lower[3:], 0.03, 0.05, 0.06),
        ]
    return found + [
        Part(face.LIP_UPPER_OUTER[2:-2] + face.LIP_UPPER_INNER[2:-2], 0.03, 0.05, 0.05),
        Part(jaw_drop, 0.03, 0.14, 0.08),
        Part(face.LIP_LOWER_OUTER[2:-2], 0.02, 0.04, 0.03),
        Part(face.LIP_UPPER_OUTER[2:-2], 0.02, 0.04, 0.03),
        Part(face.LIP_LOWER_INNER[2:-2], 0.01, 0.03, 0.02),
        Part(face.LIP_UPPER_INNER[2:-2], 0.01, 0.03, 0.02),
        Part((61, 78, 62, 76), 0.08, 0.06, 0.06),
        Part((291, 308, 292, 306), 0.08, 0.06, 0.06),
        Part(whole_mouth, 0.05, 0.05, 0.08),
        Part((*face.JAW_LEFT, *face.JAW_RIGHT, face.CHIN), 0.04, 0.08, 0.1),
        Part(face.NOSE_WING_LEFT, 0.02, 0.02, 0.04),
        Part(face.NOSE_WING_RIGHT, 0.02, 0.02, 0.04),
        Part((1, 2, 4, 5), 0.02, 0.03, 0.06),
        Part((face.CHEEK_RIGHT, face.CHEEK_LOWER_RIGHT), 0.03, 0.04, 0.1),
        Part((face.CHEEK_LEFT, face.CHEEK_LOWER_LEFT), 0.03, 0.04, 0.1),
        Part(_IRIS_RIGHT, 0.1, 0.04, 0.01),
        Part(_IRIS_LEFT, 0.1, 0.04, 0.01),
    ]


class Deformations:
    """Draws deformations; ``average_m`` is 478 x 3, the average face."""

    def __init__(self, average_m: npt.NDArray[np.floating], device: str, random: torch.Generator) -> None:
        self._device, self._random = device, random
        right, left = average_m[face.EYE_OUTER_RIGHT, :2], average_m[face.EYE_OUTER_LEFT, :2]
        units = average_m.astype(np.float64) / np.linalg.norm(left - right)
        apart = np.linalg.norm(units[:, None] - units[None], axis=2)
        self._modes, self._mode_sizes = (self._tensor(values) for values in _face_modes(apart))
        self._reach, self._moves = (self._tensor(values) for values in _part_reach(apart))

    def draw(self, count: int) -> Tensor:
        """How far each landmark moves, ``count`` x 478 x 2, in eye distances; some faces stay as they are."""
        moved = (self._rand(count, len(self._moves), 1) < 0.35) & (self._rand(count, 1, 1) < 0.8)
        local = self._normal(count, len(self._moves), 2) * self._moves * moved
        return self.draw_smooth(count) + torch.einsum("ngc,gv->nvc", local, self._reach)

    def draw_smooth(self, count: int, largest: float = 1.5) -> Tensor:
        """The same without moves of parts: another person, the same expression."""
        size = largest * self._rand(count, 1, 1) * (self._rand(count, 1, 1) < 0.7)
        smooth = self._normal(count, MODES, 2) * self._mode_sizes[:, None] * size
        return torch.einsum("nkc,kv->nvc", smooth, self._modes)

    def _rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, device=self._device, generator=self._random)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, device=self._device, generator=self._random)

    def _tensor(self, values: npt.NDArray[np.float64]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)


def _face_modes(apart: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The lowest modes of the graph of near landmarks, and how large each may be, in eye distances."""
    weights = np.zeros_like(apart)
    for index, row in enumerate(apart):
        near = np.argsort(row)[1:9]
        weights[index, near] = np.exp(-((row[near] / 0.1) ** 2)) + 1e-3
    weights = np.maximum(weights, weights.T)
    _, modes = np.linalg.eigh(np.diag(weights.sum(1)) - weights)
    return modes[:, 1 : MODES + 1].T * np.sqrt(POINTS), 0.02 / (1 + np.arange(MODES) / 6)


def _part_reach(apart: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """How much each landmark follows each part, and how far parts move."""
    found = parts()
    reach = np.stack([np.exp(-((apart[:, list(part.landmarks)].min(1) / part.fade) ** 2)) for part in found])
    reach[:, 468:] = 0
    reach[-2, list(_IRIS_RIGHT)] = reach[-1, list(_IRIS_LEFT)] = 1
    return reach, np.array([[part.x, part.y] for part in found])
