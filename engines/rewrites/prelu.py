"""Parametric rectifiers as plain ones, which accelerators compute within the convolution before them."""

from dataclasses import replace

import numpy as np
import onnx

from engines.rewrites import convolution
from engines.rewrites.convolution import Convolution
from engines.rewrites.graph import Array, Graph, Node


def pair_prelus(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let convolutions compute ``prelu(x)`` as ``relu(x) - sign(s) relu(-|s| x)`` for the slope ``s``.

    The convolution before writes both halves, a plain rectifier follows, and the convolutions after take the
    difference: exact, with no kernel but those of the convolutions. In eight bits nothing is lost either, for
    both halves share one scale and one of them is zero. It quadruples the arithmetic of what is small anyway.
    """
    graph = Graph(model)
    for node in list(graph.nodes):
        slopes = _slopes(graph, node)
        if slopes is None:
            continue
        producer, readers = graph.producer(node.inputs[0]), graph.consumers(node.output)
        before = convolution.read(graph, producer)
        after = [convolution.read(graph, reader) for reader in readers]
        if producer is None or before is None or not after or node.output in graph.outputs:
            continue
        layers = [layer for layer in after if layer is not None]
        groups = {layer.group for layer in layers}
        if len(layers) < len(after) or len(groups) > 1 or not {before.group} <= {1, *groups}:
            continue
        if graph.only_consumer(producer.output) is not node:
            continue
        (blocks,) = groups
        slopes = np.broadcast_to(slopes, (len(before.weights),))
        convolution.write(graph, producer, _with_halves(before, slopes, blocks))
        for reader, layer in zip(readers, layers, strict=True):
            convolution.write(graph, reader, _of_halves(layer, slopes))
        graph.remove(node)
        halves = graph.append("Relu", [producer.output], f"{node.output}_halves")
        graph.replace(node.output, halves)
    return graph.closed()


def _slopes(graph: Graph, node: Node) -> Array | None:
    """One slope a channel, or one for all; ``None`` for anything else."""
    if node.op != "PRelu" or node.inputs[1] not in graph.constants:
        return None
    slopes = graph.constants[node.inputs[1]]
    channels = slopes.shape[-3] if slopes.ndim > 2 else 1
    return slopes.reshape(-1) if slopes.size == channels else None


def _with_halves(layer: Convolution, slopes: Array, blocks: int) -> Convolution:
    """In each block of outputs: what there was, then the same times minus the slope's size."""

    def both(values: Array) -> Array:
        scaled = -np.abs(slopes).reshape(-1, *[1] * (values.ndim - 1)) * values
        parts = [half.reshape(blocks, -1, *values.shape[1:]) for half in (values, scaled)]
        return np.concatenate(parts, axis=1).reshape(-1, *values.shape[1:])

    return replace(layer, weights=both(layer.weights), bias=both(layer.bias))


def _of_halves(layer: Convolution, slopes: Array) -> Convolution:
    """Weigh the second half of each block's inputs by minus the slope's sign."""
    signs = np.sign(slopes).reshape(layer.group, 1, -1, *[1] * (layer.weights.ndim - 2))
    weights = layer.weights.reshape(layer.group, -1, *layer.weights.shape[1:])
    weights = np.concatenate([weights, -signs * weights], axis=2)
    return replace(layer, weights=weights.reshape(len(layer.weights), -1, *layer.weights.shape[2:]))
