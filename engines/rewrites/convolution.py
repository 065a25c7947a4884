"""What rewrites must know of a convolution: constant weights, explicit padding."""

from dataclasses import dataclass

import numpy as np

from engines.rewrites.graph import Array, Graph, Node


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution's numbers: weights are outputs x inputs of a group x kernel."""

    weights: Array
    bias: Array
    group: int
    strides: tuple[int, ...]
    pads: tuple[int, ...]  # before each axis, then after each
    dilations: tuple[int, ...]

    @property
    def is_pointwise(self) -> bool:
        """Whether each pixel is seen alone."""
        return set(self.weights.shape[2:]) == {1} and set(self.strides) == {1} and set(self.pads) == {0}


def read(graph: Graph, node: Node | None) -> Convolution | None:
    """The numbers of a node, if it is a convolution whose weights are constants."""
    if node is None or node.op != "Conv" or any(name not in graph.constants for name in node.inputs[1:] if name):
        return None
    if node.attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    weights = graph.constants[node.inputs[1]]
    axes = weights.ndim - 2
    has_bias = len(node.inputs) > 2 and node.inputs[2]
    return Convolution(
        weights,
        graph.constants[node.inputs[2]] if has_bias else np.zeros(len(weights), weights.dtype),
        int(node.attributes.get("group", 1)),
        tuple(node.attributes.get("strides", (1,) * axes)),
        tuple(node.attributes.get("pads", (0,) * 2 * axes)),
        tuple(node.attributes.get("dilations", (1,) * axes)),
    )


def write(graph: Graph, node: Node, convolution: Convolution) -> None:
    """Give a node other numbers."""
    node.inputs = [
        node.inputs[0],
        graph.constant(convolution.weights, f"{node.output}_weights"),
        graph.constant(convolution.bias, f"{node.output}_bias"),
    ]
    node.attributes = {
        "kernel_shape": list(convolution.weights.shape[2:]),
        "group": convolution.group,
        "strides": list(convolution.strides),
        "pads": list(convolution.pads),
        "dilations": list(convolution.dilations),
    }
