"""A network in 16 bits by its own types, for builders that take each tensor's type as it is written."""

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto

from engines.errors import EngineError
from engines.rewrites.graph import Graph, Node

_LAYERS = ("Conv", "Gemm", "ConvTranspose")
_LARGEST = float(np.finfo(np.float16).max)


def to_fp16(model: onnx.ModelProto, keep: Collection[str] = ()) -> onnx.ModelProto:
    """Give layers, and what lies between them, 16 bits; the graph's inputs and outputs stay in 32.

    The last layer before an output stays in 32 bits, and so does what is computed from inputs and such layers
    alone: 16 bits cannot tell apart two pixels' eighths at 200. So do the nodes that ``keep`` names, each by
    its first output; ``EngineError`` names one that is not there.
    """
    graph = Graph(model)
    missing = sorted(set(keep) - {node.output for node in graph.nodes})
    if missing:
        raise EngineError(f"what is to be kept must be a node's first output; there is none named {', '.join(missing)}")
    floats = _float_tensors(model)
    kept = {*keep, *_heads(graph)}
    half: set[str] = set()  # tensors of 16 bits
    for node in list(graph.nodes):  # a model's nodes are in order
        read = [name for name in node.inputs if name in floats and name not in graph.constants]
        is_layer = node.op in _LAYERS or (node.op == "MatMul" and len(read) == 1)
        if node.output not in kept and (is_layer or any(name in half for name in read)):
            half.update(name for name in node.outputs if name in floats)
            _narrow(graph, node, floats, half)
        else:
            _widen(graph, node, half)
    for name in graph.outputs:
        if name in half:
            _widen_output(graph, name)
    return graph.closed()


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    known = onnx.shape_inference.infer_shapes(model).graph
    floats = {
        item.name
        for item in [*known.input, *known.value_info, *known.output]
        if item.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    return floats | {item.name for item in known.initializer if item.data_type == TensorProto.FLOAT}


def _heads(graph: Graph) -> set[str]:
    """The layers from which a way leads to an output through no other layer."""
    heads: set[str] = set()
    waiting = list(graph.outputs)
    seen: set[str] = set()
    while waiting:
        tensor = waiting.pop()
        node = graph.producer(tensor)
        if node is None or tensor in seen:
            continue
        seen.add(tensor)
        if node.op in _LAYERS or (node.op == "MatMul" and any(name in graph.constants for name in node.inputs)):
            heads.add(node.output)
        else:
            waiting += node.inputs
    return heads


def _narrow(graph: Graph, node: Node, floats: set[str], half: set[str]) -> None:
    """Let a node read 16 bits."""
    for place, name in enumerate(node.inputs):
        if name in graph.constants and graph.constants[name].dtype == np.float32:
            values = np.clip(graph.constants[name], -_LARGEST, _LARGEST)
            node.inputs[place] = _once(graph, f"{name}_fp16", values)
        elif name in floats and name not in half and name not in graph.constants:
            node.inputs[place] = _cast(graph, name, f"{name}_fp16", TensorProto.FLOAT16)
    if node.op == "Cast" and node.attributes["to"] == TensorProto.FLOAT:
        node.attributes["to"] = TensorProto.FLOAT16


def _widen(graph: Graph, node: Node, half: set[str]) -> None:
    """Let a node read 32 bits."""
    for place, name in enumerate(node.inputs):
        if name in half:
            node.inputs[place] = _cast(graph, name, f"{name}_fp32", TensorProto.FLOAT)


def _once(graph: Graph, name: str, values: np.ndarray) -> str:
    if name in graph.constants:
        return name
    return graph.constant(values, name, np.float16)


def _cast(graph: Graph, tensor: str, name: str, to: int) -> str:
    ready = next((node for node in graph.consumers(tensor) if node.output == name and node.op == "Cast"), None)
    return name if ready is not None else graph.append("Cast", [tensor], name, to=to)


def _widen_output(graph: Graph, name: str) -> None:
    producer = graph.producer(name)
    assert producer is not None  # a tensor of 16 bits was made by a node
    narrow = graph.fresh(f"{name}_fp16")
    producer.outputs = [narrow if output == name else output for output in producer.outputs]
    for node in graph.nodes:
        node.inputs = [narrow if entry == name else entry for entry in node.inputs]
    graph.nodes.append(Node("Cast", [narrow], [name], {"to": TensorProto.FLOAT}, f"{name}_node"))
