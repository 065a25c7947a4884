"""How each TensorFlow Lite operator is written in ONNX.

Pictures keep the layout that ONNX runtimes are fast in: channels first. A value knows its layout, and a
transposition is written only where an operator needs the other one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from engines.errors import EngineError
from engines.onnx_graph import OnnxGraph
from engines.tflite_reader import Network, Operator, Tensor

Array = npt.NDArray[Any]


class Layout(Enum):
    """How a value lies in the ONNX graph, compared with the TensorFlow Lite file."""

    PLAIN = "as in the file"
    CHANNELS_FIRST = "batch, channels, height, width"
    AFFINE = "batch x 3 x 2: a 4 x 4 transformation's x axis, y axis and origin, for points written as rows"


@dataclass(slots=True)
class Conversion:
    """One network on its way to ONNX: what is written, and where each activation is."""

    network: Network
    graph: OnnxGraph = field(default_factory=OnnxGraph)
    values: dict[int, tuple[str, Layout]] = field(default_factory=dict)
    plain: dict[int, str] = field(default_factory=dict)

    def tensor(self, index: int) -> Tensor:
        """The file's description of a tensor."""
        return self.network.tensors[index]

    def constant(self, index: int) -> Array:
        """A tensor that must be a constant."""
        values = self.tensor(index).constant
        if values is None:
            raise EngineError(f"tensor {self.tensor(index).name!r} must be a constant")
        return values

    def put(self, index: int, name: str, layout: Layout) -> None:
        """Say which ONNX value an activation became."""
        self.values[index] = (name, layout)

    def name(self, index: int, layout: Layout) -> str:
        """The ONNX name of an activation in a layout."""
        name, present = self.values[index]
        if present is layout:
            return name
        if present is not Layout.CHANNELS_FIRST or layout is not Layout.PLAIN:
            raise EngineError(f"tensor {self.tensor(index).name!r} is {present.value}, not {layout.value}")
        if index not in self.plain:
            self.plain[index] = self.graph.node("Transpose", name, perm=[0, 2, 3, 1])
        return self.plain[index]

    def activate(self, name: str, activation: int) -> str:
        """Append the activation that TensorFlow Lite fuses into an operator."""
        if activation == tflite.ActivationFunctionType.NONE:
            return name
        if activation == tflite.ActivationFunctionType.RELU:
            return self.graph.node("Relu", name)
        raise EngineError(f"fused activation {activation} is not known to the converter")


Writer = Callable[[Conversion, Operator], None]


def _same_padding(shape: tuple[int, ...], kernel: tuple[int, int], strides: tuple[int, int]) -> list[int]:
    """TensorFlow's SAME: the output is the input over the stride, an odd pixel goes to the end."""
    before, after = [], []
    for size, reach, stride in zip(shape[1:3], kernel, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before + after


def _window(conversion: Conversion, operator: Operator, kernel: tuple[int, int]) -> dict[str, Any]:
    """The attributes that convolutions and pooling share."""
    options = operator.options
    strides = (options.StrideH(), options.StrideW())
    same = options.Padding() == tflite.Padding.SAME
    shape = conversion.tensor(operator.inputs[0]).shape
    pads = _same_padding(shape, kernel, strides) if same else [0, 0, 0, 0]
    return {"kernel_shape": kernel, "strides": strides, "pads": pads}


def _convolve(conversion: Conversion, operator: Operator, weights: Array, group: int) -> None:
    options = operator.options
    if (options.DilationHFactor(), options.DilationWFactor()) != (1, 1):
        raise EngineError("dilated convolutions are not known to the converter")
    graph = conversion.graph
    inputs = [conversion.name(operator.inputs[0], Layout.CHANNELS_FIRST), graph.constant(weights)]
    inputs += [graph.constant(conversion.constant(index)) for index in operator.inputs[2:]]
    kernel = (weights.shape[2], weights.shape[3])
    name = graph.node("Conv", *inputs, group=group, **_window(conversion, operator, kernel))
    conversion.put(
        operator.outputs[0],
        conversion.activate(name, options.FusedActivationFunction()),
        Layout.CHANNELS_FIRST,
    )


def _convolution(conversion: Conversion, operator: Operator) -> None:
    if conversion.values[operator.inputs[0]][1] is Layout.PLAIN:
        _project(conversion, operator)
        return
    _convolve(conversion, operator, conversion.constant(operator.inputs[1]).transpose(0, 3, 1, 2), group=1)


def _project(conversion: Conversion, operator: Operator) -> None:
    """A 1 x 1 convolution of what is no picture: every row of values times the weights."""
    graph, options = conversion.graph, operator.options
    weights = conversion.constant(operator.inputs[1])
    if weights.shape[1:3] != (1, 1) or (options.StrideH(), options.StrideW()) != (1, 1):
        raise EngineError(f"a convolution of kernel {weights.shape} where no picture is, is not known to the converter")
    name = graph.node("MatMul", conversion.name(operator.inputs[0], Layout.PLAIN), graph.constant(weights[:, 0, 0].T))
    for bias in operator.inputs[2:]:
        name = graph.node("Add", name, graph.constant(conversion.constant(bias)))
    conversion.put(
        operator.outputs[0],
        conversion.activate(name, options.FusedActivationFunction()),
        Layout.PLAIN,
    )


def _depthwise_convolution(conversion: Conversion, operator: Operator) -> None:
    weights = conversion.constant(operator.inputs[1]).transpose(3, 0, 1, 2)
    _convolve(conversion, operator, weights, group=conversion.tensor(operator.inputs[0]).shape[3])


def _max_pool(conversion: Conversion, operator: Operator) -> None:
    options = operator.options
    attributes = _window(conversion, operator, (options.FilterHeight(), options.FilterWidth()))
    name = conversion.graph.node("MaxPool", conversion.name(operator.inputs[0], Layout.CHANNELS_FIRST), **attributes)
    conversion.put(
        operator.outputs[0],
        conversion.activate(name, options.FusedActivationFunction()),
        Layout.CHANNELS_FIRST,
    )


def _each(*operations: str) -> Writer:
    """Operations that change each value alone, one after the other."""

    def write(conversion: Conversion, operator: Operator) -> None:
        name, layout = conversion.values[operator.inputs[0]]
        for operation in operations:
            name = conversion.graph.node(operation, name)
        conversion.put(operator.outputs[0], name, layout)

    return write


def _prelu(conversion: Conversion, operator: Operator) -> None:
    slopes = conversion.constant(operator.inputs[1]).transpose(2, 0, 1)
    name = conversion.name(operator.inputs[0], Layout.CHANNELS_FIRST)
    name = conversion.graph.node("PRelu", name, conversion.graph.constant(slopes))
    conversion.put(operator.outputs[0], name, Layout.CHANNELS_FIRST)


def _arrange(constant: Array, layout: Layout) -> Array:
    """Put a constant of the file into the layout of the value it meets."""
    if layout is Layout.CHANNELS_FIRST:
        return np.moveaxis(constant.reshape((1,) * (4 - constant.ndim) + constant.shape), 3, 1)
    if layout is Layout.AFFINE:
        return np.swapaxes(constant[:, :2][:, :, [0, 1, 3]], 1, 2)
    return constant


def _elementwise(operation: str) -> Writer:
    def write(conversion: Conversion, operator: Operator) -> None:
        layouts = {conversion.values[index][1] for index in operator.inputs if index in conversion.values}
        layout = layouts.pop() if len(layouts) == 1 else Layout.PLAIN
        names = [
            conversion.name(index, layout)
            if index in conversion.values
            else conversion.graph.constant(_arrange(conversion.constant(index), layout))
            for index in operator.inputs
        ]
        name = conversion.graph.node(operation, *names)
        if operator.options is not None:
            name = conversion.activate(name, operator.options.FusedActivationFunction())
        conversion.put(operator.outputs[0], name, layout)

    return write


def _pad(conversion: Conversion, operator: Operator) -> None:
    widths = conversion.constant(operator.inputs[1])[[0, 3, 1, 2]]  # rows: axes; columns: before, after
    name = conversion.name(operator.inputs[0], Layout.CHANNELS_FIRST)
    name = conversion.graph.node("Pad", name, conversion.graph.integers(widths.T.reshape(-1)), mode="constant")
    conversion.put(operator.outputs[0], name, Layout.CHANNELS_FIRST)


def _reshape(conversion: Conversion, operator: Operator) -> None:
    source = conversion.tensor(operator.inputs[0]).shape
    name, layout = conversion.values[operator.inputs[0]]
    if layout is not Layout.CHANNELS_FIRST or source[1:3] != (1, 1):  # a 1 x 1 picture reads the same either way
        name = conversion.name(operator.inputs[0], Layout.PLAIN)
    shape = [-1, *conversion.tensor(operator.outputs[0]).shape[1:]]
    name = conversion.graph.node("Reshape", name, conversion.graph.integers(shape))
    conversion.put(operator.outputs[0], name, Layout.PLAIN)


def _concatenate(conversion: Conversion, operator: Operator) -> None:
    if any(index not in conversion.values for index in operator.inputs):
        _frame(conversion, operator)
        return
    names = [conversion.name(index, Layout.PLAIN) for index in operator.inputs]
    name = conversion.graph.node("Concat", *names, axis=operator.options.Axis())
    conversion.put(operator.outputs[0], name, Layout.PLAIN)


def _frame(conversion: Conversion, operator: Operator) -> None:
    """Put constants before and after one activation: zeros around it, then a sum, whatever the batch."""
    active = [index for index in operator.inputs if index in conversion.values]
    if len(active) != 1:
        raise EngineError("constants are concatenated with one activation only")
    axis, graph = operator.options.Axis(), conversion.graph
    parts = [
        np.zeros(conversion.tensor(index).shape, np.float32) if index in active else conversion.constant(index)
        for index in operator.inputs
    ]
    widths = np.zeros((2, parts[0].ndim), np.int64)
    position = operator.inputs.index(active[0])
    widths[:, axis] = [sum(part.shape[axis] for part in side) for side in (parts[:position], parts[position + 1 :])]
    name = conversion.name(active[0], Layout.PLAIN)
    name = graph.node("Pad", name, graph.integers(widths.reshape(-1)), mode="constant")
    name = graph.node("Add", name, graph.constant(np.concatenate(parts, axis)))
    conversion.put(operator.outputs[0], name, Layout.PLAIN)


def _reduce(operation: str) -> Writer:
    def write(conversion: Conversion, operator: Operator) -> None:
        graph = conversion.graph
        rank = len(conversion.tensor(operator.inputs[0]).shape)
        axes = [int(axis) % rank for axis in np.ravel(conversion.constant(operator.inputs[1]))]
        if 0 in axes:
            raise EngineError(f"{operator.name} over the batch is not known to the converter")
        name, keep = conversion.name(operator.inputs[0], Layout.PLAIN), int(operator.options.KeepDims())
        if operation == "ReduceSum":  # the one reduction whose axes are an input in this version of ONNX
            name = graph.node(operation, name, graph.integers(axes), keepdims=keep)
        else:
            name = graph.node(operation, name, axes=axes, keepdims=keep)
        conversion.put(operator.outputs[0], name, Layout.PLAIN)

    return write


def _transpose(conversion: Conversion, operator: Operator) -> None:
    order = [int(axis) for axis in conversion.constant(operator.inputs[1])]
    if order[0]:
        raise EngineError(f"TRANSPOSE to {order} moves the batch, which is not known to the converter")
    name = conversion.graph.node("Transpose", conversion.name(operator.inputs[0], Layout.PLAIN), perm=order)
    conversion.put(operator.outputs[0], name, Layout.PLAIN)


def _squared_difference(conversion: Conversion, operator: Operator) -> None:
    _elementwise("Sub")(conversion, operator)
    name, layout = conversion.values[operator.outputs[0]]
    conversion.put(operator.outputs[0], conversion.graph.node("Mul", name, name), layout)


def _slice(conversion: Conversion, operator: Operator) -> None:
    """A slice in steps of one. The file's batch is one: what takes it out of the batch leaves it in ours."""
    options = operator.options
    begin, end, steps = (conversion.constant(index) for index in operator.inputs[1:])
    shape = conversion.tensor(operator.inputs[0]).shape
    unknown = options.ShrinkAxisMask() > 1 or options.EllipsisMask() or options.NewAxisMask()
    if unknown or any(steps != 1) or min(*begin, *end) < 0:
        raise EngineError(f"STRIDED_SLICE of {shape} in steps, from the end or to other axes is not known")
    cut = []
    for axis, size in enumerate(shape):
        low = 0 if options.BeginMask() >> axis & 1 else int(begin[axis])
        high = size if options.EndMask() >> axis & 1 else int(end[axis])
        if axis and (low, high) != (0, size):
            cut.append((low, high, axis))
    if not cut:
        conversion.values[operator.outputs[0]] = conversion.values[operator.inputs[0]]
        return
    bounds = [conversion.graph.integers(column) for column in zip(*cut, strict=True)]
    name = conversion.graph.node("Slice", conversion.name(operator.inputs[0], Layout.PLAIN), *bounds)
    conversion.put(operator.outputs[0], name, Layout.PLAIN)


WRITERS: Mapping[str, Writer] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise_convolution,
    "MAX_POOL_2D": _max_pool,
    "RELU": _each("Relu"),
    "PRELU": _prelu,
    "LOGISTIC": _each("Sigmoid"),
    "NEG": _each("Neg"),
    "SQRT": _each("Sqrt"),
    "RSQRT": _each("Sqrt", "Reciprocal"),
    "ADD": _elementwise("Add"),
    "SUB": _elementwise("Sub"),
    "MUL": _elementwise("Mul"),
    "DIV": _elementwise("Div"),
    "SQUARED_DIFFERENCE": _squared_difference,
    "MEAN": _reduce("ReduceMean"),
    "SUM": _reduce("ReduceSum"),
    "PAD": _pad,
    "RESHAPE": _reshape,
    "TRANSPOSE": _transpose,
    "CONCATENATION": _concatenate,
    "STRIDED_SLICE": _slice,
}
