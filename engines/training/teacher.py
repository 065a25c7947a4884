"""The teacher, run by PyTorch: MediaPipe's blendshape network, from ONNX, on whatever device trains."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from appliance.face.task_models import POINTS

_SIZE = 100.0  # pixels between the eyes; the network itself removes place and size

_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "MatMul": lambda a, b: a @ b,
    "Neg": torch.neg,
    "Sqrt": torch.sqrt,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Identity": lambda a: a,
}


class Teacher:
    """Gives the 52 weights of upright landmarks, in the order of ARKit's names; tongueOut, which it lacks, is 0."""

    def __init__(self, path: Path, device: str) -> None:
        self._graph = onnx.load(str(path)).graph
        self._constants = {
            constant.name: torch.tensor(numpy_helper.to_array(constant).copy(), device=device)
            for constant in self._graph.initializer
        }

    def __call__(self, upright: Tensor) -> Tensor:
        """n x 478 x 2 to n x 52."""
        values = {**self._constants, self._graph.input[0].name: _SIZE * upright[:, POINTS]}
        for node in self._graph.node:
            attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
            inputs = [values[name] for name in node.input if name]
            values[node.output[0]] = _run(node.op_type, inputs, attributes)
        told = values[self._graph.output[0].name]
        return torch.cat([told[:, 1:], torch.zeros_like(told[:, :1])], 1)  # its first is "_neutral"


def _run(operator: str, inputs: Sequence[Tensor], attributes: dict[str, Any]) -> Tensor:
    first = inputs[0]
    if operator in _OPERATORS:
        return _OPERATORS[operator](*inputs)
    if operator in ("ReduceMean", "ReduceSum"):
        axes = [int(axis) for axis in (attributes.get("axes") or inputs[1].tolist())]
        reduce = torch.mean if operator == "ReduceMean" else torch.sum
        return reduce(first, dim=axes, keepdim=bool(attributes.get("keepdims", 1)))
    if operator == "Transpose":
        return first.permute(*attributes["perm"])
    if operator == "Reshape":
        return first.reshape([first.shape[axis] if size == 0 else size for axis, size in enumerate(inputs[1].tolist())])
    if operator == "Slice":
        return _slice(first, *(entry.tolist() for entry in inputs[1:]))
    if operator == "Pad":
        before, after = inputs[1].view(2, -1).tolist()
        pads = [size for pair in zip(reversed(before), reversed(after), strict=True) for size in pair]
        return torch.nn.functional.pad(first, pads)
    raise ValueError(f"the teacher has an operator that is not known here: {operator}")


def _slice(whole: Tensor, starts: list[int], ends: list[int], axes: list[int], *_: list[int]) -> Tensor:
    for start, end, axis in zip(starts, ends, axes, strict=True):
        size = whole.shape[axis]
        stop = min(end, size) if end >= 0 else size + end
        whole = whole.narrow(axis, start, stop - start)
    return whole
