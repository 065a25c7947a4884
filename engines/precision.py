"""Which precision is worth its loss: decisions about what was timed, and what to time."""

import onnx

from engines.keys import NOT_FASTER
from engines.rewrites.graph import Graph

FULL_WIDTH = 32
"""Channels from which a GPU's eight-bit units are full; with fewer a layer gains nothing that its 16 bits have not."""


def against(int8_ms: float, fp16_ms: float) -> str:
    """Why INT8 may not stay beside FP16: what it costs in accuracy it must save in time. Empty if it does."""
    return f"{NOT_FASTER}: {int8_ms:.3f} against {fp16_ms:.3f} ms" if int8_ms >= fp16_ms else ""


def narrow_layers(model: onnx.ModelProto) -> list[str]:
    """The convolutions that are narrower than ``FULL_WIDTH`` on either side, each by its first output."""
    graph = Graph(model)
    return [
        node.output
        for node in graph.nodes
        if node.op == "Conv"
        and (weights := graph.constants.get(node.inputs[1])) is not None
        and min(weights.shape[0], weights.shape[1] * int(node.attributes.get("group", 1))) < FULL_WIDTH
    ]
