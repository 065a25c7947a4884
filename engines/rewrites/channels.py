"""Channels of zeros that a convolution can write, so that nobody has to put them beside its own."""

from dataclasses import replace

import numpy as np
import onnx

from engines.rewrites import convolution
from engines.rewrites.graph import Graph, Node
from engines.rewrites.residual import added_channels

_BY_CHANNEL = ("Relu", "PRelu", "LeakyRelu", "MaxPool")  # each channel is seen alone, and zero stays zero


def widen_channels(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let the convolution before a pooled residual write the channels of zeros that are put after it.

    Convolution, activation, pooling, padding: the padding goes, the other three carry more channels, and
    what else reads the activation weighs the new ones with zero.
    """
    graph = Graph(model)
    for node in list(graph.nodes):
        more = added_channels(graph, node)
        path = _path(graph, node) if more else None
        if path is None:
            continue
        origin, carriers, readers = path
        _widen_outputs(graph, origin, more)
        for carrier in carriers:
            _widen_slopes(graph, carrier, more)
        for reader in readers:
            _widen_inputs(graph, reader, more)
        graph.remove(node)
        graph.replace(node.output, node.inputs[0])
    return graph.closed()


def _path(graph: Graph, padding: Node) -> tuple[Node, list[Node], list[Node]] | None:
    """The convolution before some padding, what carries its channels on, and the convolutions that read them."""
    origin = graph.producer(padding.inputs[0])
    while origin is not None and origin.op in _BY_CHANNEL:
        origin = graph.producer(origin.inputs[0])
    if origin is None or not _is_dense(graph, origin):
        return None
    carriers: list[Node] = []
    readers: list[Node] = []
    tensors = [origin.output]
    for tensor in tensors:
        if tensor in graph.outputs:
            return None
        for reader in graph.consumers(tensor):
            if reader.op in _BY_CHANNEL and all(name in graph.constants for name in reader.inputs[1:]):
                carriers.append(reader)
                tensors.append(reader.output)
            elif _is_dense(graph, reader):
                readers.append(reader)
            elif reader is not padding:
                return None
    return origin, carriers, readers


def _is_dense(graph: Graph, node: Node) -> bool:
    layer = convolution.read(graph, node)
    return layer is not None and layer.group == 1


def _widen_outputs(graph: Graph, node: Node, more: int) -> None:
    layer = convolution.read(graph, node)
    assert layer is not None  # _path saw to it
    weights = np.pad(layer.weights, [(0, more), *[(0, 0)] * (layer.weights.ndim - 1)])
    convolution.write(graph, node, replace(layer, weights=weights, bias=np.pad(layer.bias, (0, more))))


def _widen_inputs(graph: Graph, node: Node, more: int) -> None:
    layer = convolution.read(graph, node)
    assert layer is not None  # _path saw to it
    weights = np.pad(layer.weights, [(0, 0), (0, more), *[(0, 0)] * (layer.weights.ndim - 2)])
    convolution.write(graph, node, replace(layer, weights=weights))


def _widen_slopes(graph: Graph, node: Node, more: int) -> None:
    if node.op == "PRelu" and graph.constants[node.inputs[1]].size > 1:
        slopes = graph.constants[node.inputs[1]]
        channels = slopes.ndim - 3  # slopes are channels x 1 x 1, with or without the batch before them
        widths = [(0, more if axis == channels else 0) for axis in range(slopes.ndim)]
        node.inputs[1] = graph.constant(np.pad(slopes, widths), f"{node.output}_slopes")
