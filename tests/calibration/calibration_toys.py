"""Networks small enough to reckon with."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.fetch import file_sha256
from engines.networks import Network

Arrays = Mapping[str, npt.NDArray[np.float32]]


def two_layers(seed: int = 0) -> onnx.ModelProto:
    """Two convolutions of a picture with four channels, the second read out as three weights."""
    rng = np.random.default_rng(seed)
    weights = {
        "first": rng.normal(0, 0.3, (8, 4, 3, 3)).astype(np.float32),
        "second": rng.normal(0, 0.3, (3, 8, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["picture", "first"], ["raw"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["raw"], ["seen"]),
        helper.make_node("Conv", ["seen", "second"], ["points"]),
        helper.make_node("ReduceMean", ["points"], ["blendshapes"], axes=[2, 3], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "two_layers",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["batch", 4, 6, 6])],
        [helper.make_tensor_value_info("blendshapes", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_memory() -> onnx.ModelProto:
    """Half of what it remembered and what it is told, which it remembers."""
    nodes = [
        helper.make_node("Mul", ["state_0", "half"], ["rest"]),
        helper.make_node("Add", ["rest", "features"], ["sum"]),
        helper.make_node("Identity", ["sum"], ["next_0"]),
        helper.make_node("Identity", ["sum"], ["visemes"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("features", "state_0")]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("visemes", "next_0")]
    half = numpy_helper.from_array(np.array(0.5, np.float32), "half")
    graph = helper.make_graph(nodes, "with_memory", ports, outputs, [half])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(model: onnx.ModelProto, path: Path, tolerance: Mapping[str, float]) -> Network:
    """The model as a network that engines are built of."""
    onnx.save(model, str(path))
    inputs = {
        port.name: ("batch", *(size.dim_value for size in port.type.tensor_type.shape.dim[1:]))
        for port in model.graph.input
    }
    return Network(path.stem, path, file_sha256(path), "", inputs, tolerance)
