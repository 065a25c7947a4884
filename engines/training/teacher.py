"""The teacher, run by PyTorch: MediaPipe's blendshape network, from ONNX, on whatever device trains."""

from pathlib import Path

import torch
from torch import Tensor

from appliance.face.task_models import POINTS
from engines.training.graph import Graph

_SIZE = 100.0  # pixels between the eyes; the network itself removes place and size


class Teacher:
    """Gives the 52 weights of upright landmarks, in the order of ARKit's names; tongueOut, which it lacks, is 0."""

    def __init__(self, path: Path, device: str) -> None:
        self._graph = Graph(path, device)

    def __call__(self, upright: Tensor) -> Tensor:
        """n x 478 x 2 to n x 52."""
        told = self._graph(points=_SIZE * upright[:, POINTS])["blendshapes"]
        return torch.cat([told[:, 1:], torch.zeros_like(told[:, :1])], 1)  # its first is "_neutral"
