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
    name = graph.node("Conv", *inputs, group=group, **_window(conversion, operator, weights.shape[2:]))
    conversion.put(
        operator.outputs[0],
        conversion.activate(name, options.FusedActivationFunction()),
        Layout.CHANNELS_FIRST,
    )


def _convolution(conversion: Conversion, operator: Operator) -> None:
    _convolve(conversion, operator, conversion.constant(operator.inputs[1]).transpose(0, 3, 1, 2), group=1)


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


def _relu(conversion: Conversion, operator: Operator) -> None:
    name, layout = conversion.values[operator.inputs[0]]
    conversion.put(operator.outputs[0], conversion.graph.node("Relu", name), layout)


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
    names = [conversion.name(index, Layout.PLAIN) for index in operator.inputs]
    name = conversion.graph.node("Concat", *names, axis=operator.options.Axis())
    conversion.put(operator.outputs[0], name, Layout.PLAIN)


def _whole_slice(conversion: Conversion, operator: Operator) -> None:
    """A slice that takes everything, which is all that our networks have."""
    source, target = (conversion.tensor(index).shape for index in (operator.inputs[0], operator.outputs[0]))
    if source != target or any(conversion.constant(operator.inputs[3]) != 1):
        raise EngineError(f"STRIDED_SLICE from {source} to {target} is not known to the converter")
    conversion.values[operator.outputs[0]] = conversion.values[operator.inputs[0]]


WRITERS: Mapping[str, Writer] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise_convolution,
    "MAX_POOL_2D": _max_pool,
    "RELU": _relu,
    "PRELU": _prelu,
    "ADD": _elementwise("Add"),
    "MUL": _elementwise("Mul"),
    "PAD": _pad,
    "RESHAPE": _reshape,
    "CONCATENATION": _concatenate,
    "STRIDED_SLICE": _whole_slice,
}
