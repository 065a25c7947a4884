"""Writes a network's ranges into it: ONNX with explicit quantisation, which TensorRT 8.6 to 11 all fuse.

Symmetric, zero point 0, eight bits; one scale for an activation, one an output for weights. A convolution's
sum with a residual stays one kernel, for only the residual passes through eight bits; biases stay as they are.
Products of two activations, and what is not named here, stay in the type that they have. The scheme is the
one of NVIDIA's developer guide, "Working with Quantized Types"; ``wanted`` says which ranges it takes.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, version_converter

from engines.errors import EngineError
from engines.ranges import Range
from engines.rewrites.graph import Array, Graph, Node

STEPS = 127  # on each side of zero
SMALLEST_SCALE = 1e-7
_TYPED_SCALES = 19  # the first version of ONNX whose scales may be 16 bits wide


def wanted(model: onnx.ModelProto, keep: Collection[str] = ()) -> list[str]:
    """The activations whose ranges ``quantize`` asks for, in the order of execution."""
    graph = Graph(model)
    places = [*_layer_inputs(graph, keep), *_residuals(graph, keep)]
    named = {_measured(graph, node.inputs[place]) for node, place in places}
    return [name for name in (*graph.inputs, *(name for node in graph.nodes for name in node.outputs)) if name in named]


def quantize(model: onnx.ModelProto, ranges: Mapping[str, Range], keep: Collection[str] = ()) -> onnx.ModelProto:
    """Put ``QuantizeLinear`` and ``DequantizeLinear`` before what can be computed in eight bits.

    ``keep`` names nodes, each by its first output, that stay as they are. ``EngineError`` names an activation
    without a range, and a node to keep that is not there.
    """
    types = _types(model)
    graph = Graph(_with_typed_scales(model) if TensorProto.FLOAT16 in types.values() else model)
    missing = sorted(set(keep) - {node.output for node in graph.nodes})
    if missing:
        raise EngineError(f"what is to be kept must be a node's first output; there is none named {', '.join(missing)}")
    lacking = [name for name in wanted(model, keep) if name not in ranges]
    if lacking:
        raise EngineError(f"no range for {', '.join(lacking)}; compute them with: appliance calibrate ranges")
    layers, residuals = list(_layer_inputs(graph, keep)), list(_residuals(graph, keep))
    for node, place in layers:
        node.inputs[place] = _through_eight_bits(graph, node.inputs[place], ranges, types)
        node.inputs[1] = _weights(graph, node)
    for node, place in residuals:
        node.inputs[place] = _through_eight_bits(graph, node.inputs[place], ranges, types)
    _pool_in_eight_bits(graph)
    return graph.closed()


def _layer_inputs(graph: Graph, keep: Collection[str]) -> Iterator[tuple[Node, int]]:
    """What layers with constant weights read, as a node and which of its inputs."""
    for node in graph.nodes:
        if node.op in ("Conv", "Gemm") and node.output not in keep and node.inputs[1] in graph.constants:
            yield node, 0


def _residuals(graph: Graph, keep: Collection[str]) -> Iterator[tuple[Node, int]]:
    """What is added to the result of a layer in eight bits, where nothing else reads that result."""
    layers = {node.output for node, _ in _layer_inputs(graph, keep)}
    for node in graph.nodes:
        sums = [place for place, name in enumerate(node.inputs) if name in layers and graph.only_consumer(name) is node]
        activations = all(name not in graph.constants for name in node.inputs)
        if node.op == "Add" and sums and activations and node.output not in keep:
            yield node, 0 if sums[0] == 1 else 1


def _measured(graph: Graph, tensor: str) -> str:
    """The tensor whose range holds: before a change of type, and before pooling, which makes no new values."""
    node = graph.producer(tensor)
    while node is not None and node.op in ("Cast", "MaxPool"):
        tensor = node.inputs[0]
        node = graph.producer(tensor)
    return tensor


def _through_eight_bits(graph: Graph, tensor: str, ranges: Mapping[str, Range], types: Mapping[str, int]) -> str:
    """The tensor as eight bits hold it; every reader of a tensor shares one such copy."""
    ready = next((node for node in graph.consumers(tensor) if node.op == "QuantizeLinear"), None)
    if ready is not None:
        return graph.consumers(ready.output)[0].output
    dtype = helper.tensor_dtype_to_np_dtype(types[tensor])
    reach = max(abs(bound) for bound in ranges[_measured(graph, tensor)])
    return _pair(graph, tensor, _scale(np.asarray(reach), dtype))


def _weights(graph: Graph, node: Node) -> str:
    """A layer's weights as eight bits hold them, one scale an output, outputs first."""
    weights = graph.constants[node.inputs[1]]
    if node.op == "Gemm" and not node.attributes.get("transB", 0):
        weights = weights.T
        node.attributes["transB"] = 1
        node.inputs[1] = graph.constant(weights, f"{node.output}_weights", weights.dtype)
    reach = np.abs(weights).max(axis=tuple(range(1, weights.ndim)))
    return _pair(graph, node.inputs[1], _scale(reach, weights.dtype), axis=0)


def _scale(reach: Array, dtype: np.dtype[np.floating[Any]]) -> Array:
    smallest = max(SMALLEST_SCALE, float(np.finfo(dtype).tiny))  # below it, some processors divide by zero
    return np.maximum(reach.astype(np.float64) / STEPS, smallest).astype(dtype)


def _pair(graph: Graph, tensor: str, scale: Array, **axis: int) -> str:
    parameters = [
        graph.constant(scale, f"{tensor}_scale", scale.dtype),
        graph.constant(np.zeros(scale.shape), f"{tensor}_zero", np.int8),
    ]
    quantized = graph.append("QuantizeLinear", [tensor, *parameters], f"{tensor}_int8", **axis)
    return graph.append("DequantizeLinear", [quantized, *parameters], f"{tensor}_dequantized", **axis)


def _pool_in_eight_bits(graph: Graph) -> None:
    """Let pooling whose result goes to eight bits read eight bits: the largest of few stays the largest."""
    for node in list(graph.nodes):
        readers = graph.consumers(node.output)
        quantized = next((reader for reader in graph.consumers(node.inputs[0]) if reader.op == "QuantizeLinear"), None)
        if node.op == "MaxPool" and quantized is not None and any(reader.op == "QuantizeLinear" for reader in readers):
            node.inputs[0] = graph.consumers(quantized.output)[0].output


def _types(model: onnx.ModelProto) -> dict[str, int]:
    known = onnx.shape_inference.infer_shapes(model).graph
    items = [*known.input, *known.value_info, *known.output]
    return {item.name: int(item.type.tensor_type.elem_type) for item in items}


def _with_typed_scales(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in a version of ONNX that has scales of 16 bits."""
    if any(item.domain == "" and item.version < _TYPED_SCALES for item in model.opset_import):
        converted: onnx.ModelProto = version_converter.convert_version(model, _TYPED_SCALES)
        return converted
    return model
