"""Networks made by a formula, for a GPU to run."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Weights = dict[str, np.ndarray]


class Drawing:
    """An ONNX graph of convolutions and dense layers with weights from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: Weights = {}

    def node(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def convolution(
        self, name: str, source: str, sizes: tuple[int, int, int], stride: int = 1, relu: bool = True, gain: float = 2.0
    ) -> str:
        """``sizes``: channels in, channels out, kernel."""
        channels, filters, kernel = sizes
        scale = np.sqrt(gain / (channels * kernel * kernel))
        weights = self.rng.standard_normal((filters, channels, kernel, kernel)) * scale
        self.weights[f"{name}_w"] = weights.astype(np.float32)
        self.weights[f"{name}_b"] = (self.rng.standard_normal(filters) * 0.05).astype(np.float32)
        inputs = [source, f"{name}_w", f"{name}_b"]
        pads, strides = [kernel // 2] * 4, [stride, stride]
        made = self.node("Conv", inputs, name, kernel_shape=[kernel, kernel], strides=strides, pads=pads)
        return self.node("Relu", [made], f"{name}_relu") if relu else made

    def dense(self, name: str, source: str, inputs: int, outputs: int) -> str:
        self.weights[f"{name}_w"] = (self.rng.standard_normal((outputs, inputs)) / np.sqrt(inputs)).astype(np.float32)
        self.weights[f"{name}_b"] = np.zeros(outputs, np.float32)
        return self.node("Gemm", [source, f"{name}_w", f"{name}_b"], name, transB=1)

    def save(self, path: Path, size: int, outputs: int) -> Path:
        """From ``input``, three planes of this size, to ``output``."""
        entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, size, size])
        result = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", outputs])
        constants = [numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        graph = helper.make_graph(self.nodes, path.stem, [entry], [result], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path


def small(path: Path) -> Path:
    """Two convolutions and a dense layer, 32 x 32 to 10."""
    drawing = Drawing(1)
    made = drawing.convolution("first", "input", (3, 16, 3), stride=2)
    made = drawing.convolution("second", made, (16, 32, 3), stride=2)
    made = drawing.node("Flatten", [drawing.node("GlobalAveragePool", [made], "mean")], "flat")
    drawing.dense("output", made, 32, 10)
    return drawing.save(path, 32, 10)


def copying(path: Path, size: int) -> Path:
    """Its output is its input: what it was shown comes to light."""
    drawing = Drawing()
    drawing.weights["one"] = np.ones(1, np.float32)
    drawing.node("Flatten", [drawing.node("Mul", ["input", "one"], "same")], "output")
    return drawing.save(path, size, 3 * size * size)


def resnet18(path: Path) -> Path:
    """The shape of ResNet-18 (He et al. 2016), batch normalisation folded, 224 x 224 to 52; weights from a seed."""
    drawing = Drawing(0)
    made = drawing.convolution("stem", "input", (3, 64, 7), stride=2)
    made = drawing.node("MaxPool", [made], "pooled", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    before = 64
    for stage, filters in enumerate((64, 128, 256, 512)):
        for block in range(2):
            name, stride = f"stage{stage}_{block}", 2 if stage and not block else 1
            inner = drawing.convolution(f"{name}_a", made, (before, filters, 3), stride)
            inner = drawing.convolution(f"{name}_b", inner, (filters, filters, 3), relu=False, gain=0.5)
            if stride != 1:
                made = drawing.convolution(f"{name}_down", made, (before, filters, 1), stride, relu=False, gain=1.0)
            made = drawing.node("Relu", [drawing.node("Add", [inner, made], f"{name}_sum")], f"{name}_out")
            before = filters
    made = drawing.node("Flatten", [drawing.node("GlobalAveragePool", [made], "mean")], "flat")
    drawing.dense("output", made, 512, 52)
    return drawing.save(path, 224, 52)


def pictures(count: int, size: int, seed: int) -> np.ndarray:
    """Smooth blobs with a little noise, about normal."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((count, 3, size // 16, size // 16))
    smooth = np.kron(coarse, np.ones((1, 1, 16, 16)))
    return (smooth + 0.2 * rng.standard_normal(smooth.shape)).astype(np.float32)
