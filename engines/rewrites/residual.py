"""Residuals and padding that a convolution can do on its way."""

from dataclasses import replace

import numpy as np
import onnx

from engines.rewrites import convolution
from engines.rewrites.convolution import Convolution
from engines.rewrites.graph import Array, Graph, Node


def fold_residuals(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let a convolution that is added to its own input do the sum: one more at the middle of its kernel.

    Where the input was padded by channels of zeros first, those channels get nothing.
    """
    graph = Graph(model)
    for node in list(graph.nodes):
        layer = convolution.read(graph, node)
        addition = graph.only_consumer(node.output)
        if layer is None or addition is None or addition.op != "Add" or layer.group != 1:
            continue
        other = next((name for name in addition.inputs if name != node.output), "")
        tap = _middle(layer)
        if tap is None or _unpadded(graph, other) != node.inputs[0]:
            continue
        weights = np.array(layer.weights)
        taps = weights.reshape(*weights.shape[:2], -1)
        taps[:, :, np.ravel_multi_index(tap, weights.shape[2:])] += np.eye(*weights.shape[:2], dtype=weights.dtype)
        convolution.write(graph, node, replace(layer, weights=weights))
        graph.remove(addition)
        node.outputs = list(addition.outputs)
    return graph.closed()


def _middle(layer: Convolution) -> tuple[int, ...] | None:
    """The tap that sees the pixel which is written, if the picture keeps its size."""
    axes = len(layer.strides)
    before, after = layer.pads[:axes], layer.pads[axes:]
    reach = [(size - 1) * step for size, step in zip(layer.weights.shape[2:], layer.dilations, strict=True)]
    keeps = all(low + high == total for low, high, total in zip(before, after, reach, strict=True))
    if set(layer.strides) != {1} or not keeps or len(layer.weights) < layer.weights.shape[1]:
        return None
    if any(low % step for low, step in zip(before, layer.dilations, strict=True)):
        return None
    return tuple(low // step for low, step in zip(before, layer.dilations, strict=True))


def _unpadded(graph: Graph, tensor: str) -> str:
    """What a tensor was before channels of zeros were put after its own; the tensor itself where none were."""
    node = graph.producer(tensor)
    return node.inputs[0] if node is not None and added_channels(graph, node) else tensor


def added_channels(graph: Graph, node: Node) -> int:
    """How many channels of zeros a node puts after those it is given; none if it does anything else."""
    widths = _zero_padding(graph, node)
    if widths is None or widths[0].any() or widths[1, 0] or widths[1, 2:].any():
        return 0
    return int(widths[1, 1])


def _zero_padding(graph: Graph, node: Node) -> Array | None:
    """How many zeros a node puts before and after each axis; ``None`` if it does anything else."""
    if node.op != "Pad" or node.attributes.get("mode", b"constant") != b"constant":
        return None
    if not 2 <= len(node.inputs) <= 3 or any(name not in graph.constants for name in node.inputs[1:] if name):
        return None
    if len(node.inputs) == 3 and node.inputs[2] and graph.constants[node.inputs[2]].any():
        return None
    widths = graph.constants[node.inputs[1]].reshape(2, -1)
    return None if (widths < 0).any() else widths


def fold_padding(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let a convolution pad the picture itself, unevenly where the padding was uneven."""
    graph = Graph(model)
    for node in list(graph.nodes):
        widths = _zero_padding(graph, node)
        readers = graph.consumers(node.output)
        layers = [convolution.read(graph, reader) for reader in readers]
        if widths is None or widths[:, :2].any() or node.output in graph.outputs or not layers or None in layers:
            continue
        for reader, layer in zip(readers, layers, strict=True):
            assert layer is not None
            pads = tuple(int(own + more) for own, more in zip(layer.pads, widths[:, 2:].ravel(), strict=True))
            reader.inputs[0] = node.inputs[0]
            convolution.write(graph, reader, replace(layer, pads=pads))
        graph.remove(node)
    return graph.closed()
