"""Faces in a mirror: as landmarks, as pictures, and as weights."""

from torch import Tensor

from appliance.avatar.channels import OTHER_SIDE as _SHAPES
from appliance.face.canonical import canonical_face

OTHER_SIDE: list[int] = list(_SHAPES)
"""Of each of 52 shapes the one that it is in a mirror."""
OTHER_POINT: list[int] = canonical_face().mirror.tolist()
"""Of each of 478 landmarks the one that stands in its place in a mirror."""


def turned_landmarks(landmarks: Tensor) -> Tensor:
    """Upright landmarks, n x 478 x 2."""
    return landmarks[:, OTHER_POINT] * landmarks.new_tensor([-1.0, 1.0])


def turned_pictures(pictures: Tensor) -> Tensor:
    """Pictures of upright faces, n x 3 x height x width."""
    return pictures.flip(3)


def other_side(weights: Tensor) -> Tensor:
    """Weights, or their logits, n x 52."""
    return weights[:, OTHER_SIDE]
