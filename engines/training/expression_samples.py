"""Faces as landmarks, sampled without end: what the expression network learns from.

A sample begins with the mesh of a filmed person (CC BY clips) or of the ICT morphable face, gets
expression offsets of the morphable face, a turn of the head and random deformations.
The teacher says which 52 weights that face has. The student sees it through the difference that
our landmark network has to the teacher's, drawn from real frames. Breadth is what matters: with
real expressions and morphable offsets alone, the student agreed with the teacher on unseen people
at 0.75; with modes and parts at 0.84, in the same number of steps.

Source of the idea to distil on synthetic inputs: Hinton, Vinyals and Dean, "Distilling the
Knowledge in a Neural Network", 2015.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from appliance.face.regions import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from engines.training.deformations import POINTS, Deformations

_RIGID = (
    168, 6, 197, 195, 122, 188, 245, 133, 351, 412, 465, 362, 5,
    8, 9, 4, 1, 33, 263, 10, 109, 338, 67, 297, 127, 356,
)  # fmt: skip


def upright(points: Tensor) -> Tensor:
    """Bring n x 478 x (2 or more) picture points, y down, to the eyes: n x 478 x 2, roll and size removed.

    The same as ``appliance.face.expression_network.upright``.
    """
    right, left = points[:, RIGHT_EYE_OUTER, :2], points[:, LEFT_EYE_OUTER, :2]
    across = left - right
    length = across.norm(dim=1, keepdim=True)
    cos, sin = (across / length).unbind(1)
    x, y = (points[..., :2] - ((left + right) / 2)[:, None]).unbind(-1)
    turned = torch.stack([x * cos[:, None] + y * sin[:, None], y * cos[:, None] - x * sin[:, None]], -1)
    return turned / length[:, None]


def to_head(points_px: Tensor, average_m: Tensor) -> Tensor:
    """Take pose and size from n x 478 x 3 landmarks: least squares on bone (Umeyama, PAMI 1991); metres, y up."""
    flipped = points_px * torch.tensor([1.0, -1.0, -1.0], device=points_px.device)
    source, target = flipped[:, list(_RIGID)], average_m[list(_RIGID)]
    mean, centre = source.mean(1, keepdim=True), target.mean(0)
    left, stretch, right = torch.linalg.svd((source - mean).transpose(1, 2) @ (target - centre))
    signs = torch.ones_like(stretch)
    signs[:, 2] = torch.sign(torch.linalg.det(left @ right))
    scale = (stretch * signs).sum(1) / ((source - mean) ** 2).sum((1, 2))
    return ((flipped - mean) @ ((left * signs[:, None]) @ right)) * scale[:, None, None] + centre


class Faces:
    """Draws samples; ``bank`` is what ``engines.training.expression_bank`` wrote."""

    def __init__(self, bank: Mapping[str, Any], device: str, seed: int = 1) -> None:
        self._device = device
        self._random = torch.Generator(device=device)
        self._random.manual_seed(seed)
        self._average_m = self._tensor(bank["average_m"])
        self._expressions_m, self._identities_m = (
            self._tensor(bank["expressions_m"]),
            self._tensor(bank["identities_m"]),
        )
        names = [str(name) for name in bank["expression_names"]]
        self._left = [names.index(name) for name in names if name.endswith("_L")]
        self._right = [names.index(name[:-1] + "R") for name in names if name.endswith("_L")]
        teacher_px, own_px = self._tensor(bank["teacher_px"]), self._tensor(bank["own_px"])
        self._filmed_m = to_head(teacher_px, self._average_m)
        self._person_gap, self._frame_gap = _gaps(upright(own_px) - upright(teacher_px), bank["clip"])
        self._deformations = Deformations(bank["average_m"], device, self._random)

    def draw(self, count: int, gap: float) -> tuple[Tensor, Tensor]:
        """``count`` faces, upright: as our network sees them, and as the teacher's does."""
        seen_by_teacher = self._deform(upright(self._pictured(count)))
        person = self._person_gap[self._choose(len(self._person_gap), count)] * self._sign(count) * self._uniform(count)
        frame = self._frame_gap[self._choose(len(self._frame_gap), count)] * self._sign(count) * self._uniform(count)
        noise = 1.5 * (person + frame) + 0.002 * self._normal(count, POINTS, 2)
        return seen_by_teacher + gap * noise, seen_by_teacher

    def _pictured(self, count: int) -> Tensor:
        """Meshes with expressions and pose, projected: n x 478 x 2, y down."""
        offsets = torch.einsum("ni,ivc->nvc", 0.7 * self._normal(count, len(self._identities_m)), self._identities_m)
        filmed = self._filmed_m[self._choose(len(self._filmed_m), count)]
        other = self._filmed_m[self._choose(len(self._filmed_m), count)]
        share = self._uniform(count) * (self._uniform(count) < 0.3)
        base = torch.where(self._uniform(count) < 0.6, filmed * (1 - share) + other * share, self._average_m + offsets)
        mesh = base + torch.einsum("ne,evc->nvc", self._weights(count), self._expressions_m)
        eyes = self._normal(count, 1, 2) * torch.tensor([0.0035, 0.002], device=self._device)
        mesh[:, 468:, :2] += eyes * (self._uniform(count) < 0.7)
        yaw, pitch, roll = (self._normal(count) * spread for spread in (0.28, 0.2, 0.05))
        mesh = torch.einsum("nij,nvj->nvi", _turn(yaw, pitch, roll), mesh)
        mesh[..., :2] -= 0.05 * self._normal(count, 1, 2)
        depth = 0.35 + 1.2 * self._uniform(count)[..., 0] - mesh[..., 2]
        return mesh[..., :2] / depth[..., None] * torch.tensor([1.0, -1.0], device=self._device)

    def _weights(self, count: int) -> Tensor:
        """Sparse expression weights; left and right mostly together."""
        size = len(self._expressions_m)
        weights = 1.1 * self._rand(count, size) ** 1.5 * (self._rand(count, size) < 0.09)
        coupled = weights[:, self._left] * (0.85 + 0.3 * self._rand(count, len(self._left)))
        together = self._rand(count, len(self._left)) < 0.75
        weights[:, self._right] = torch.where(together, coupled, weights[:, self._right])
        return weights * (self._rand(count, 1) < 0.85)

    def _deform(self, points: Tensor) -> Tensor:
        moved = points + self._deformations.draw(len(points))
        return upright(moved * (1 + 0.05 * self._normal(len(points), 1, 2)))

    def _tensor(self, values: object) -> Tensor:
        return torch.tensor(np.asarray(values, np.float32), device=self._device)

    def _rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, device=self._device, generator=self._random)

    def _uniform(self, count: int) -> Tensor:
        return self._rand(count, 1, 1)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, device=self._device, generator=self._random)

    def _sign(self, count: int) -> Tensor:
        return torch.sign(self._normal(count, 1, 1))

    def _choose(self, among: int, count: int) -> Tensor:
        return torch.randint(among, (count,), device=self._device, generator=self._random)


def _gaps(gaps: Tensor, clip: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """What the two landmark networks differ by: each person's mean about everybody's, each frame about its person's."""
    number = torch.tensor(np.unique(clip, return_inverse=True)[1], device=gaps.device)
    means = torch.stack([gaps[number == index].mean(0) for index in range(int(number.max()) + 1)])
    return means - means.mean(0), gaps - means[number]


def _turn(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Rotation matrices, n x 3 x 3, from radians."""
    none, one = torch.zeros_like(yaw), torch.ones_like(yaw)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, -1).view(-1, 3, 3)

    about_y = matrix(yaw.cos(), none, yaw.sin(), none, one, none, -yaw.sin(), none, yaw.cos())
    about_x = matrix(one, none, none, none, pitch.cos(), -pitch.sin(), none, pitch.sin(), pitch.cos())
    about_z = matrix(roll.cos(), -roll.sin(), none, roll.sin(), roll.cos(), none, none, none, one)
    return about_z @ about_x @ about_y
