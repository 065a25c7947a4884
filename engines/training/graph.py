"""Runs the ONNX networks that we fetch by PyTorch, on whatever device trains: many faces at once, nothing learns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional

Attributes = Mapping[str, Any]
_TYPES = {TensorProto.FLOAT: torch.float32, TensorProto.INT64: torch.int64}


@dataclass(frozen=True)
class _Step:
    run: Callable[[Sequence[Tensor], Attributes], Tensor]
    given: tuple[str, ...]
    made: str
    attributes: Attributes
    spent: tuple[str, ...]  # what no later step asks for


class Graph:
    """One network: named tensors in and out, batch first. ``ValueError`` names an operator not known here."""

    def __init__(self, path: Path, device: str) -> None:
        graph = onnx.load(str(path)).graph
        self.given = tuple(entry.name for entry in graph.input)
        self._made = tuple(entry.name for entry in graph.output)
        self._constants = {
            constant.name: torch.tensor(numpy_helper.to_array(constant).copy(), device=device)
            for constant in graph.initializer
        }
        self._sizes = {name: value.tolist() for name, value in self._constants.items() if value.dtype == torch.int64}
        last = {name: index for index, node in enumerate(graph.node) for name in node.input}
        self._steps = [self._step(node, index, last) for index, node in enumerate(graph.node)]

    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Run it."""
        values = {**self._constants, **inputs}
        for step in self._steps:
            values[step.made] = step.run([values[name] for name in step.given], step.attributes)
            for name in step.spent:
                del values[name]
        return {name: values[name] for name in self._made}

    def _step(self, node: onnx.NodeProto, index: int, last: Mapping[str, int]) -> _Step:
        if node.op_type not in _OPERATORS:
            raise ValueError(
                f"{node.op_type} is not among the operators known here; add it to engines/training/graph.py"
            )
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        given = tuple(name for name in node.input if name)
        sizes = {f"input{place}": self._sizes[name] for place, name in enumerate(given) if name in self._sizes}
        spent = {name for name in given if last[name] == index and name not in self._constants}
        return _Step(_OPERATORS[node.op_type], given, node.output[0], attributes | sizes, tuple(spent - {*self._made}))


def _elementwise(function: Callable[..., Tensor]) -> Callable[[Sequence[Tensor], Attributes], Tensor]:
    return lambda inputs, _: function(*inputs)


def _convolve(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    image, weight, *bias = inputs
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right):
        image, top, left = functional.pad(image, (left, right, top, bottom)), 0, 0
    strides, dilations = attributes.get("strides", (1, 1)), attributes.get("dilations", (1, 1))
    return functional.conv2d(
        image,
        weight,
        bias[0] if bias else None,
        tuple(strides),
        (top, left),
        tuple(dilations),
        attributes.get("group", 1),
    )


def _dense(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    if attributes.get("transA", 0) or not attributes.get("transB", 0):
        raise ValueError("a Gemm is known here with transB alone")
    return functional.linear(*inputs)


def _pool(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    return functional.max_pool2d(inputs[0], tuple(attributes["kernel_shape"]), tuple(attributes["strides"]))


def _pad(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    sizes = attributes["input1"]
    half = len(sizes) // 2
    return functional.pad(inputs[0], [size for axis in range(half - 1, -1, -1) for size in sizes[axis::half]])


def _reshape(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    whole = inputs[0]
    return whole.reshape([whole.shape[axis] if size == 0 else size for axis, size in enumerate(attributes["input1"])])


def _slice(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    whole = inputs[0]
    starts, ends = attributes["input1"], attributes["input2"]
    for start, end, axis in zip(starts, ends, attributes.get("input3", range(len(starts))), strict=True):
        size = whole.shape[axis]
        first, stop = (min(place, size) if place >= 0 else size + place for place in (start, end))
        whole = whole.narrow(axis, first, stop - first)
    return whole


def _gather(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    whole, places, axis = inputs[0], inputs[1], attributes.get("axis", 0)
    return whole.index_select(axis, places.reshape(-1)).reshape(
        *whole.shape[:axis], *places.shape, *whole.shape[axis + 1 :]
    )


def _reduce(function: Callable[..., Tensor]) -> Callable[[Sequence[Tensor], Attributes], Tensor]:
    def run(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
        axes = [int(axis) for axis in attributes.get("axes") or attributes["input1"]]
        return function(inputs[0], dim=axes, keepdim=bool(attributes.get("keepdims", 1)))

    return run


def _sample_grid(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    return functional.grid_sample(
        inputs[0],
        inputs[1],
        attributes["mode"].decode(),
        attributes["padding_mode"].decode(),
        bool(attributes["align_corners"]),
    )


_OPERATORS: dict[str, Callable[[Sequence[Tensor], Attributes], Tensor]] = {
    "Abs": _elementwise(torch.abs),
    "Add": _elementwise(torch.add),
    "Cast": lambda inputs, attributes: inputs[0].to(_TYPES[attributes["to"]]),
    "Concat": lambda inputs, attributes: torch.cat(list(inputs), attributes["axis"]),
    "Conv": _convolve,
    "Div": _elementwise(torch.div),
    "Flatten": lambda inputs, attributes: inputs[0].flatten(attributes.get("axis", 1)),
    "Gather": _gather,
    "Gemm": _dense,
    "GridSample": _sample_grid,
    "Identity": _elementwise(torch.clone),
    "LessOrEqual": _elementwise(torch.le),
    "MatMul": _elementwise(torch.matmul),
    "MaxPool": _pool,
    "Mul": _elementwise(torch.mul),
    "Neg": _elementwise(torch.neg),
    "PRelu": _elementwise(lambda x, slope: functional.prelu(x, slope.reshape(-1))),
    "Pad": _pad,
    "Reciprocal": _elementwise(torch.reciprocal),
    "ReduceL2": _reduce(torch.linalg.vector_norm),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "Relu": _elementwise(torch.relu),
    "Reshape": _reshape,
    "Sigmoid": _elementwise(torch.sigmoid),
    "Slice": _slice,
    "Sqrt": _elementwise(torch.sqrt),
    "Sub": _elementwise(torch.sub),
    "Transpose": lambda inputs, attributes: inputs[0].permute(*attributes["perm"]),
}
