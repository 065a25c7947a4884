"""Transposes and reshapes that undo each other, or that constants can take upon themselves."""

import numpy as np
import onnx

from engines.rewrites.graph import Graph, Node

_EACH_ALONE = ("Relu", "Sigmoid", "Abs", "Neg", "Sqrt", "Reciprocal", "LeakyRelu", "Tanh", "Exp")


def cancel_transposes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Move each swap of the last two axes behind what follows, until it meets another and both go."""
    graph = Graph(model)
    again = True
    while again:
        again = any(_cancelled(graph, node) or _moved(graph, node) for node in graph.nodes if node.op == "Transpose")
    return graph.closed()


def _cancelled(graph: Graph, node: Node) -> bool:
    order = node.attributes.get("perm")
    first = graph.producer(node.inputs[0])
    if order is not None and list(order) == list(range(len(order))) and first and node.output not in graph.outputs:
        graph.remove(node)
        graph.replace(node.output, node.inputs[0])
        return True
    if order is None or first is None or first.op != "Transpose" or "perm" not in first.attributes:
        return False
    node.inputs = list(first.inputs)
    node.attributes["perm"] = [first.attributes["perm"][axis] for axis in order]
    return True


def _moved(graph: Graph, node: Node) -> bool:
    """Swap a node with its only reader, if the reader's work can be done on what is not yet transposed."""
    order = list(node.attributes.get("perm", ()))
    swap = [*range(len(order) - 2), len(order) - 1, len(order) - 2]
    reader = graph.only_consumer(node.output)
    if reader is None or len(order) < 2 or order != swap or not _leads_to_transpose(graph, reader):
        return False
    if reader.op == "MatMul":  # (x' W)' = W' x
        if reader.inputs[0] != node.output or reader.inputs[1] not in graph.constants:
            return False
        weights = graph.constants[reader.inputs[1]]
        reader.inputs = [graph.constant(np.swapaxes(weights, -1, -2), f"{reader.inputs[1]}_swapped"), node.inputs[0]]
    elif reader.op in ("Add", "Sub", "Mul", "Div"):
        place = 1 - reader.inputs.index(node.output)
        if reader.inputs[place] not in graph.constants:
            return False
        values = np.atleast_2d(graph.constants[reader.inputs[place]])
        swapped = graph.constant(np.swapaxes(values, -1, -2), f"{reader.inputs[place]}_swapped")
        reader.inputs = [swapped if place == index else node.inputs[0] for index in (0, 1)]
    else:
        reader.inputs = [node.inputs[0]]
    _exchange(graph, node, reader)
    return True


def _exchange(graph: Graph, node: Node, reader: Node) -> None:
    """Let the transpose, which came first, come second, under the name that the reader's result had."""
    before = graph.fresh(f"{reader.output}_before")
    node.inputs, node.outputs, reader.outputs = [before], [reader.output], [before]


def _leads_to_transpose(graph: Graph, node: Node | None) -> bool:
    """Whether what can be exchanged goes on to another transpose: else moving would gain nothing."""
    while node is not None and node.op in ("MatMul", "Add", "Sub", "Mul", "Div", *_EACH_ALONE):
        node = graph.only_consumer(node.output)
    return node is not None and node.op == "Transpose"


def merge_reshapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let the last of several reshapes do the work of all."""
    graph = Graph(model)
    for node in graph.nodes:  # in order, so what comes before is merged already
        first = graph.producer(node.inputs[0]) if node.op == "Reshape" else None
        size = graph.constants.get(node.inputs[1]) if first else None
        if first and first.op in ("Reshape", "Flatten") and size is not None and (size != 0).all():
            node.inputs[0] = first.inputs[0]
    for node in list(graph.nodes):
        before, after = graph.shape(node.inputs[0]) if node.inputs else (), graph.shape(node.output)
        same = len(before) > 1 and None not in before[1:] and before[1:] == after[1:] and len(before) == len(after)
        if node.op == "Reshape" and same and graph.producer(node.inputs[0]) and node.output not in graph.outputs:
            graph.remove(node)
            graph.replace(node.output, node.inputs[0])
    return graph.closed()
