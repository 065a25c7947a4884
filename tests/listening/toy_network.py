"""A network made by hand that is spoken to as the viseme network is: it knows low from high and both from silence."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from appliance.avatar.channels import VISEMES
from appliance.listening.features import FEATURES
from appliance.listening.viseme_network import GUESS_BLOCKS, SURE_BLOCKS, VisemeNetwork
from engines.manifest import Shape
from engines.opening import open_runner

LOW, HIGH = VISEMES.index("aa"), VISEMES.index("SS")
INPUTS: dict[str, Shape] = {
    "features": ("batch", FEATURES, 1, 1),
    "state_0": ("batch", FEATURES, 1, SURE_BLOCKS - 1),
    "state_1": ("batch", 1, 1, 1),
}
# The second state takes no part: it counts the blocks, so that a test may see it go round.


def toy_network(path: Path, runner: str = "onnxruntime") -> VisemeNetwork:
    onnx.save(_model(), path)
    return VisemeNetwork(open_runner(path, runner), INPUTS)


def _model() -> onnx.ModelProto:
    weights: npt.NDArray[np.float32] = np.zeros((FEATURES, len(VISEMES)), np.float32)
    weights[2:12, LOW] = weights[30:40, HIGH] = 1.2  # ten bands of the level view
    bias: npt.NDArray[np.float32] = np.full(len(VISEMES), -9, np.float32)
    bias[[0, LOW, HIGH]] = 3, -5, -5
    constants = {"weights": weights, "bias": bias, "one": np.ones((1, 1, 1, 1), np.float32)}
    constants |= {"first": np.array([1]), "end": np.array([99]), "last_axis": np.array([3])}
    nodes = [
        helper.make_node("Concat", ["state_0", "features"], ["seen"], axis=3),
        helper.make_node("Slice", ["seen", "first", "end", "last_axis"], ["next_0"]),
        helper.make_node("Add", ["state_1", "one"], ["next_1"]),
    ]
    # What is named with a block lies so many blocks before it: the oldest of the state, and two after.
    for name, at in (("visemes", 0), ("visemes_40ms", SURE_BLOCKS - GUESS_BLOCKS)):
        constants[f"{name}_at"] = np.array(at)
        nodes += [
            helper.make_node("Gather", ["seen", f"{name}_at"], [f"{name}_seen"], axis=3),
            helper.make_node("Flatten", [f"{name}_seen"], [f"{name}_flat"]),
            helper.make_node("Gemm", [f"{name}_flat", "weights", "bias"], [f"{name}_logits"]),
            helper.make_node("Softmax", [f"{name}_logits"], [name], axis=1),
        ]
    outputs = {"visemes": ("batch", 15), "visemes_40ms": ("batch", 15)}
    outputs |= {name.replace("state", "next"): shape for name, shape in INPUTS.items() if name != "features"}
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in INPUTS.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
