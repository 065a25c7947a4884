"""Reads a TensorFlow Lite file into plain values: tensors with their constants, operators in order.

Only what a converter needs is kept. Half-precision weights come with a ``DEQUANTIZE`` operator each;
they are widened here, so that nothing later meets one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite
from flatbuffers import flexbuffers

from engines.errors import EngineError

Constant = npt.NDArray[Any]

_MAGIC = b"TFL3"
_TYPES: Mapping[int, type[np.generic]] = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
    tflite.TensorType.INT64: np.int64,
}
_NAMES: Mapping[int, str] = {
    code: name for name, code in vars(tflite.BuiltinOperator).items() if not name.startswith("_")
}
_OPTIONS: Mapping[str, Any] = {
    "ADD": tflite.AddOptions,
    "SUB": tflite.SubOptions,
    "MUL": tflite.MulOptions,
    "DIV": tflite.DivOptions,
    "MEAN": tflite.ReducerOptions,
    "SUM": tflite.ReducerOptions,
    "CONV_2D": tflite.Conv2DOptions,
    "DEPTHWISE_CONV_2D": tflite.DepthwiseConv2DOptions,
    "MAX_POOL_2D": tflite.Pool2DOptions,
    "CONCATENATION": tflite.ConcatenationOptions,
    "STRIDED_SLICE": tflite.StridedSliceOptions,
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file: weights if ``constant`` is there, else an activation."""

    name: str
    shape: tuple[int, ...]  # as TensorFlow Lite has it: pictures are batch, height, width, channels
    constant: Constant | None


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of the network; tensors by their number in ``Network.tensors``."""

    name: str  # the schema's name, or a custom operator's own
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any  # the schema's options object; a custom operator's table of values


@dataclass(frozen=True, slots=True)
class Network:
    """The one subgraph of a file."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_network(path: Path) -> Network:
    """Read the file's only subgraph; ``EngineError`` if it holds what this reader does not know."""
    content = path.read_bytes()
    if content[4:8] != _MAGIC:
        raise EngineError(f"{path.name} is not a TensorFlow Lite file")
    model = tflite.Model.GetRootAsModel(content, 0)
    graph = model.Subgraphs(0)
    tensors = [_tensor(model, graph.Tensors(index)) for index in range(graph.TensorsLength())]
    operators = []
    for operator in (_operator(model, graph.Operators(index)) for index in range(graph.OperatorsLength())):
        if operator.name == "DEQUANTIZE":
            _widen(tensors, operator)
        else:
            operators.append(operator)
    return Network(tuple(tensors), tuple(operators), _numbers(graph.InputsAsNumpy()), _numbers(graph.OutputsAsNumpy()))


def _numbers(array: Any) -> tuple[int, ...]:
    return tuple(int(number) for number in array)


def _tensor(model: Any, tensor: Any) -> Tensor:
    shape = _numbers(tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    buffer = model.Buffers(tensor.Buffer())
    name = tensor.Name().decode()
    if not buffer.DataLength():
        return Tensor(name, shape, None)
    if tensor.Type() not in _TYPES or tensor.Sparsity() is not None:
        raise EngineError(
            f"tensor {name!r} is sparse or of type {tensor.Type()}; only dense float and integer are read"
        )
    values = np.frombuffer(buffer.DataAsNumpy().tobytes(), _TYPES[tensor.Type()])
    return Tensor(name, shape, values.reshape(shape))


def _operator(model: Any, operator: Any) -> Operator:
    code = model.OperatorCodes(operator.OpcodeIndex())
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # old files fill only the deprecated field
    inputs, outputs = _numbers(operator.InputsAsNumpy()), _numbers(operator.OutputsAsNumpy())
    if number == tflite.BuiltinOperator.CUSTOM:
        packed = bytes(operator.CustomOptionsAsNumpy()) if operator.CustomOptionsLength() else b""
        return Operator(code.CustomCode().decode(), inputs, outputs, flexbuffers.Loads(packed) if packed else {})
    name = _NAMES[number]
    table = operator.BuiltinOptions()
    return Operator(name, inputs, outputs, _options(name, table) if table is not None else None)


def _options(name: str, table: flatbuffers.table.Table) -> Any:
    if name not in _OPTIONS:
        return None
    options = _OPTIONS[name]()
    options.Init(table.Bytes, table.Pos)
    return options


def _widen(tensors: list[Tensor], operator: Operator) -> None:
    source, target = operator.inputs[0], operator.outputs[0]
    constant = tensors[source].constant
    if constant is None or constant.dtype != np.float16:
        raise EngineError(f"DEQUANTIZE of {tensors[source].name!r}: only half-precision weights are widened")
    tensors[target] = Tensor(tensors[target].name, tensors[target].shape, constant.astype(np.float32))
