"""Branches of a network that do the same with other weights, as one branch that does it for all at once."""

from dataclasses import replace

import numpy as np
import onnx

from engines.rewrites import convolution
from engines.rewrites.bundles import Bundle, Bundles, UnlikeError
from engines.rewrites.graph import Graph, Node

_REMEMBERED = 4  # operations by which branches are told apart before they are compared in full


def stack_branches(model: onnx.ModelProto) -> onnx.ModelProto:
    """Merge what goes into a concatenation and was computed by equal branches from the same tensors.

    Pictures of the branches lie beside each other, channels after channels, and their convolutions become one
    with groups; other values get an axis for the branch. Where branches have fewer points or channels than
    the largest, theirs are padded, and the padding is left out again behind the concatenation.
    """
    graph = Graph(model)
    for node in list(graph.nodes):
        if node.op == "Concat" and node.attributes["axis"] == 1:
            for tensors in _alike(graph, node):
                _stack(graph, node, tensors)
    return model if graph.has_cycle() else graph.closed()


def _alike(graph: Graph, node: Node) -> list[tuple[str, ...]]:
    """The inputs of a concatenation that the same last operations made."""
    groups: dict[str, list[str]] = {}
    for name in node.inputs:
        groups.setdefault(_history(graph, name, _REMEMBERED), []).append(name)
    return [tuple(names) for names in groups.values() if len(set(names)) > 1]


def _history(graph: Graph, tensor: str, length: int) -> str:
    """The last operations before a tensor, as a formula."""
    node = graph.producer(tensor) if length else None
    if node is None:
        return ""
    return f"{node.op}({','.join(_history(graph, name, length - 1) for name in node.inputs)})"


def _stack(graph: Graph, node: Node, tensors: tuple[str, ...]) -> None:
    sizes = [graph.shape(name)[1] if len(graph.shape(name)) > 2 else None for name in node.inputs]
    if None in sizes:
        return
    bundles = Bundles(graph)
    try:
        bundle = bundles.of(tensors)
    except UnlikeError:
        return
    _concatenate(graph, node, tensors, bundle, [size or 0 for size in sizes])
    bundles.release()


def _concatenate(graph: Graph, node: Node, tensors: tuple[str, ...], bundle: Bundle, sizes: list[int]) -> None:
    """Let a concatenation read a bundle instead of its members, and bring its rows back to their order."""
    width = max(bundle.rows)
    rest = [size or 0 for size in graph.shape(tensors[0])[2:]]
    flat = bundle.name if bundle.beside else _reshaped(graph, bundle.name, [-1, len(tensors) * width, *rest])
    others = [name for name in node.inputs if name not in tensors]
    starts, position = {}, 0
    for name, size in zip(node.inputs, sizes, strict=True):
        if name not in tensors:
            starts[name] = position
            position += size
    order: list[int] = []
    seen = 0
    for name, size in zip(node.inputs, sizes, strict=True):
        start = starts.get(name, position + seen * width)
        seen += name in tensors
        order += range(start, start + size)
    joined = graph.append("Concat", [*others, flat], f"{node.output}_joined", axis=1)
    node.op, node.attributes = "Gather", {"axis": 1}
    node.inputs = [joined, graph.constant(order, f"{node.output}_order", np.int64)]


def _reshaped(graph: Graph, tensor: str, shape: list[int]) -> str:
    return graph.append("Reshape", [tensor, graph.constant(shape, f"{tensor}_shape", np.int64)], f"{tensor}_reshaped")


def merge_gathers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let one choice of rows do the work of two."""
    graph = Graph(model)
    for node in graph.nodes:
        first = graph.producer(node.inputs[0]) if node.op == "Gather" else None
        if first is None or first.op != "Gather" or first.attributes.get("axis", 0) != node.attributes.get("axis", 0):
            continue
        chosen, again = (graph.constants.get(entry.inputs[1]) for entry in (first, node))
        if chosen is not None and again is not None and chosen.ndim == 1:
            rows = chosen[again]
            node.inputs = [first.inputs[0], graph.constant(rows, f"{node.output}_rows", np.int64)]
    return graph.closed()


def ungroup(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write convolutions in few groups as dense ones, with zeros where a group does not look at another."""
    graph = Graph(model)
    for node in graph.nodes:
        layer = convolution.read(graph, node)
        if layer is None or layer.group == 1 or layer.weights.shape[1] == 1:
            continue
        outputs, inputs = len(layer.weights) // layer.group, layer.weights.shape[1]
        weights = np.zeros((len(layer.weights), inputs * layer.group, *layer.weights.shape[2:]), layer.weights.dtype)
        for group in range(layer.group):
            rows = slice(group * outputs, (group + 1) * outputs)
            weights[rows, group * inputs : (group + 1) * inputs] = layer.weights[rows]
        convolution.write(graph, node, replace(layer, weights=weights, group=1))
    return graph.closed()
