"""Small networks of random numbers, written as tests need them, and a way to run any."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from engines.manifest import MODELS
from engines.onnx_graph import OnnxGraph

Arrays = Mapping[str, npt.NDArray[Any]]
OWN_MODELS = ("expression", "viseme")


class SmallGraph(OnnxGraph):
    """An ``OnnxGraph`` that makes up its weights."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.random = np.random.default_rng(seed)

    def convolve(self, tensor: str, shape: Sequence[int], *, bias: bool = True, **attributes: Any) -> str:
        """A convolution whose weights, outputs x inputs x kernel, have this shape."""
        values = self.random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
        constants = [self.constant(values)] + ([self.constant(self.random.normal(size=shape[0]))] if bias else [])
        return self.node("Conv", tensor, *constants, **attributes)

    def depthwise(self, tensor: str, channels: int, **attributes: Any) -> str:
        return self.convolve(tensor, [channels, 1, 3, 3], group=channels, **attributes)

    def prelu(self, tensor: str, channels: int) -> str:
        return self.node("PRelu", tensor, self.constant(self.random.normal(0, 0.5, [channels, 1, 1])))

    def pad(self, tensor: str, before: Sequence[int], after: Sequence[int]) -> str:
        return self.node("Pad", tensor, self.integers([*before, *after]), mode="constant")

    def close(
        self, output: str, shape: Sequence[int | str], picture: Sequence[int | str] = ("batch", 4, 9, 8)
    ) -> onnx.ModelProto:
        """A model from ``picture`` to ``result``."""
        self.node("Identity", output, output="result")
        return self.model("small", {"picture": picture}, {"result": shape})


def residual_network(seed: int = 0) -> onnx.ModelProto:
    """Every shape of layer that the face networks have: blocks with residuals, pooled and padded ones, PReLU."""
    graph = SmallGraph(seed)
    stem = graph.prelu(graph.convolve("picture", [8, 4, 3, 3], pads=[0, 0, 1, 1], strides=[2, 2]), 8)
    deep = graph.convolve(graph.depthwise(stem, 8, pads=[1] * 4), [8, 8, 1, 1])
    block = graph.prelu(graph.node("Add", stem, deep), 8)
    down = graph.convolve(graph.depthwise(block, 8, pads=[0, 0, 1, 1], strides=[2, 2]), [12, 8, 1, 1])
    pooled = graph.node("MaxPool", block, kernel_shape=[2, 2], strides=[2, 2])
    wide = graph.prelu(graph.node("Add", graph.pad(pooled, [0] * 4, [0, 4, 0, 0]), down), 12)
    more = graph.convolve(graph.depthwise(wide, 12, pads=[1] * 4), [12, 12, 1, 1])
    last = graph.prelu(graph.node("Add", more, wide), 12)
    head = graph.convolve(last, [6, 12, 2, 2])
    return graph.close(head, ["batch", 6, 3, 3], ["batch", 4, 16, 16])


def own_model(name: str) -> onnx.ModelProto:
    return onnx.load(MODELS / name / "model.onnx")


def fetched_model(models: Path, name: str) -> onnx.ModelProto:
    return onnx.load(models / f"{name}.onnx")


def random_inputs(model: onnx.ModelProto, batch: int = 2, seed: int = 1) -> dict[str, npt.NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return {
        item.name: random.random(
            (batch, *(size.dim_value for size in item.type.tensor_type.shape.dim[1:])), dtype=np.float32
        )
        for item in model.graph.input
    }


def run(model: onnx.ModelProto, inputs: Arrays, names: Sequence[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = names or [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def largest_difference(first: Arrays, second: Arrays) -> float:
    """Relative to the largest value of each output."""
    assert first.keys() == second.keys()
    return max(float(np.abs(first[name] - second[name]).max() / max(np.abs(first[name]).max(), 1e-9)) for name in first)


def activation_ranges(model: onnx.ModelProto, names: Sequence[str], inputs: Arrays) -> dict[str, tuple[float, float]]:
    """The lowest and the highest value of some tensors."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {item.name for item in (*model.graph.input, *model.graph.output)}
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    made = [name for name in names if name not in inputs]
    values = {**run(watched, inputs, made), **inputs} if made else dict(inputs)
    return {name: (float(values[name].min()), float(values[name].max())) for name in names}


def choosing_network() -> onnx.ModelProto:
    """A network with control flow, which nothing here takes."""
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["picture"], ["same"])],
        "branch",
        [],
        [onnx.helper.make_tensor_value_info("same", onnx.TensorProto.FLOAT, None)],
    )
    graph = SmallGraph()
    chosen = graph.node("If", graph.constant(True, np.bool_), then_branch=branch, else_branch=branch)
    return graph.close(graph.node("Neg", chosen), ["batch", 4, 9, 8])


SAME = 1e-5  # of an output's largest value: what another order of summation makes of 32 bits


def assert_equal(before: onnx.ModelProto, after: onnx.ModelProto, inputs: Any = None) -> None:
    inputs = inputs or random_inputs(before)
    assert [item.name for item in after.graph.input] == [item.name for item in before.graph.input]
    assert largest_difference(run(before, inputs), run(after, inputs)) < SAME
