"""The expression network as PyTorch trains it, and as ONNX carries it."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from appliance.avatar.channels import BLENDSHAPES
from appliance.face.expression_network import PICTURE_PX
from engines.training.deformations import POINTS
from engines.training.mirror import OTHER_POINT, OTHER_SIDE, other_side, turned_landmarks, turned_pictures

DENSE = (2 * POINTS, 768, 768, 256)
LOOK = ((3, 32, 5, 4), (32, 64, 3, 2), (64, 96, 3, 2))
"""Convolutions: planes in, planes out, side, stride; together they divide 96 pixels by 16."""

SEEN, JOINED = 640, 256
SHAPES = len(BLENDSHAPES)
_SIDE = 6  # of the last planes


class Student(nn.Module):
    """Few, dense layers with ReLU; ``mean`` and ``spread`` standardise the landmarks, 478 x 2.

    What landmarks alone say, and what the picture makes of it, are added before the sigmoid.
    """

    def __init__(self, mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.dense = nn.Sequential(
            *(layer for pair in itertools.pairwise(DENSE) for layer in (nn.Linear(*pair), nn.ReLU()))
        )
        self.alone = nn.Linear(DENSE[-1], SHAPES)
        self.look = nn.Sequential(
            *(
                layer
                for planes, more, side, stride in LOOK
                for layer in (nn.Conv2d(planes, more, side, stride, side // 2), nn.BatchNorm2d(more), nn.ReLU())
            )
        )
        self.seen = nn.Linear(LOOK[-1][1] * _SIDE**2, SEEN)
        self.join = nn.Linear(DENSE[-1] + SEEN, JOINED)
        self.together = nn.Linear(JOINED, SHAPES)

    def of_landmarks(self, landmarks: Tensor) -> Tensor:
        """Logits n x 52 of upright landmarks n x 478 x 2, without a picture."""
        told: Tensor = self.alone(self._dense(landmarks))
        return told

    def forward(self, landmarks: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Logits n x 52 of upright landmarks and pictures n x 3 x 96 x 96, 0..1: of the first alone, and of both."""
        dense = self._dense(landmarks)
        alone = self.alone(dense)
        seen = self.seen(self.look(pictures).flatten(1)).relu()
        joined = self.join(torch.cat([dense, seen], 1)).relu()
        return alone, alone + self.together(joined)

    def both_ways(self, landmarks: Tensor, pictures: Tensor) -> Tensor:
        """Logits n x 52 of faces and of their mirror images, in the mean: it knows more than either."""
        both = torch.cat([landmarks, turned_landmarks(landmarks)]), torch.cat([pictures, turned_pictures(pictures)])
        plain, turned = self(*both)[1].chunk(2)
        mean: Tensor = (plain + other_side(turned)) / 2
        return mean

    def _dense(self, landmarks: Tensor) -> Tensor:
        told: Tensor = self.dense(((landmarks - self.mean) / self.spread).flatten(1))
        return told


class Pair(nn.Module):
    """Two students, one of whom took a teacher's word and one the truth; the second sees the mirror image, too.

    Of each of 52 shapes, ``trust`` is how much the first's picture counts beside its landmarks, and ``share`` how much
    of the logit the second says.
    """

    def __init__(self, taught: Student, true: Student, trust: Tensor, share: Tensor) -> None:
        super().__init__()
        self.taught, self.true = taught, true
        self.register_buffer("trust", trust)
        self.register_buffer("share", share)

    def forward(self, landmarks: Tensor, pictures: Tensor) -> Tensor:
        """Logits n x 52 of upright landmarks n x 478 x 2 and pictures n x 3 x 96 x 96, 0..1."""
        said: Tensor = torch.lerp(*self.each(landmarks, pictures), self.share)
        return said

    def each(self, landmarks: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """What either says, the first and the second."""
        alone, together = self.taught(landmarks, pictures)
        return torch.lerp(alone, together, self.trust), self.true.both_ways(landmarks, pictures)


def export(pair: Pair, path: Path) -> None:
    """Write ONNX: ``landmarks`` (batch, 478, 2), upright, and ``picture`` (batch, 3, 96, 96), RGB 0..1, to
    ``blendshapes`` (batch, 52).

    Standardisation and batch normalisation are folded into the layers before or after them, what is said of shapes
    into one last layer. Weights are stored in 16 bits and cast at load.
    """
    graph = _Graph()
    graph.node("Flatten", ["landmarks"], "flat", axis=1)
    taught = graph.trunk("taught", pair.taught, "flat", "picture")
    true = graph.trunk("true", pair.true, *graph.both_ways("flat", "picture"))
    share, trust = _array(pair.share)[:, None], _array(pair.trust)[:, None]
    of_taught, of_true = _last(pair.taught, trust), _last(pair.true, np.ones_like(trust))
    parts = [(1 - share) * of_taught, share / 2 * of_true, share / 2 * of_true[OTHER_SIDE]]
    width = pair.true.alone.in_features + pair.true.together.in_features
    features = graph.node("Concat", [taught, graph.side_by_side(true, width)], "features", axis=1)
    weights, biases = zip(*((part[:, :-1], part[:, -1]) for part in parts), strict=True)
    graph.gemm(features, "logits", np.concatenate(weights, 1), sum(biases))
    graph.node("Sigmoid", ["logits"], "blendshapes")
    graph.save(path)


def _last(student: Student, seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What a student makes of its trunk's features: weights 52 x features, and the bias as a last column.

    ``seen``, 52 x 1, is how much of each shape its picture says.
    """
    alone, together = (_array(layer.weight) for layer in (student.alone, student.together))
    bias = _array(student.alone.bias)[:, None] + seen * _array(student.together.bias)[:, None]
    return np.concatenate([alone, seen * together, bias], 1)


class _Graph:
    """ONNX in the making."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, operator: str, given: list[str], made: str, **attributes: int | list[int]) -> str:
        self._nodes.append(helper.make_node(operator, given, [made], name=made, **attributes))
        return made

    def both_ways(self, landmarks: str, picture: str) -> tuple[str, str]:
        """Landmarks, flat, and pictures, and behind them, in one batch twice as large, their mirror images."""
        order = np.array([[2 * point, 2 * point + 1] for point in OTHER_POINT]).ravel()
        moved = self.node("Gather", [landmarks, self._constant("turned_order", order)], "moved_landmarks", axis=1)
        signs = self._constant("turned_signs", np.tile(np.array([-1, 1], np.float32), POINTS))
        turned = self.node("Mul", [moved, signs], "turned_landmarks")
        backwards = {"starts": -1, "ends": -PICTURE_PX - 1, "axes": 3, "steps": -1}  # in half of the time of a Gather
        slices = [self._constant(f"turned_{name}", np.array([value])) for name, value in backwards.items()]
        shown = self.node("Slice", [picture, *slices], "turned_picture")
        return (
            self.node("Concat", [landmarks, turned], "both_landmarks", axis=0),
            self.node("Concat", [picture, shown], "both_pictures", axis=0),
        )

    def side_by_side(self, both: str, width: int) -> str:
        """``width`` features of a batch and behind them of its mirror images, as one row for each face."""
        apart = self.node("Reshape", [both, self._constant("apart", np.array([2, -1, width]))], f"{both}_apart")
        paired = self.node("Transpose", [apart], f"{both}_paired", perm=[1, 0, 2])
        return self.node("Reshape", [paired, self._constant("rows", np.array([-1, 2 * width]))], f"{both}_rows")

    def trunk(self, made: str, student: Student, landmarks: str, picture: str) -> str:
        """What a student's two last layers read."""
        scale, shift = (1 / _array(student.spread)).ravel(), _array(student.mean).ravel()
        dense = landmarks
        for index, layer in enumerate(layer for layer in student.dense if isinstance(layer, nn.Linear)):
            weight, bias = _array(layer.weight), _array(layer.bias)
            if index == 0:
                bias = bias - weight @ (scale * shift)
                weight = weight * scale
            dense = self.relu(self.gemm(dense, f"{made}_dense_{index}", weight, bias))
        seen = picture
        for index, (layer, normal) in enumerate(zip(student.look[::3], student.look[1::3], strict=True)):
            seen = self.relu(self.convolution(seen, f"{made}_look_{index}", layer, normal))
        seen = self.node("Flatten", [seen], f"{made}_look", axis=1)
        seen = self.relu(self.linear(seen, f"{made}_seen", student.seen))
        both = self.node("Concat", [dense, seen], f"{made}_both", axis=1)
        joined = self.relu(self.linear(both, f"{made}_join", student.join))
        return self.node("Concat", [dense, joined], f"{made}_features", axis=1)

    def relu(self, given: str) -> str:
        return self.node("Relu", [given], f"{given}_relu")

    def linear(self, given: str, made: str, layer: nn.Linear) -> str:
        return self.gemm(given, made, _array(layer.weight), _array(layer.bias))

    def gemm(self, given: str, made: str, weight: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]) -> str:
        return self.node("Gemm", [given, *self._weights(made, weight, bias)], made, transB=1)

    def convolution(self, given: str, made: str, layer: nn.Conv2d, normal: nn.BatchNorm2d) -> str:
        factor = _array(normal.weight) / np.sqrt(_array(normal.running_var) + normal.eps)
        weight = _array(layer.weight) * factor[:, None, None, None]
        bias = (_array(layer.bias) - _array(normal.running_mean)) * factor + _array(normal.bias)
        pads, strides = [layer.padding[0]] * 4, list(layer.stride)
        return self.node("Conv", [given, *self._weights(made, weight, bias)], made, pads=pads, strides=strides)

    def _constant(self, name: str, values: npt.NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def _weights(self, made: str, weight: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]) -> list[str]:
        stored, cast, added = f"{made}_weight16", f"{made}_weight", f"{made}_bias"
        self._constants.append(numpy_helper.from_array(weight.astype(np.float16), stored))
        self._constants.append(numpy_helper.from_array(bias.astype(np.float32), added))
        self.node("Cast", [stored], cast, to=TensorProto.FLOAT)
        return [cast, added]

    def save(self, path: Path) -> None:
        given = {"landmarks": [POINTS, 2], "picture": [3, PICTURE_PX, PICTURE_PX]}
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *sizes]) for name, sizes in given.items()
        ]
        output = helper.make_tensor_value_info("blendshapes", TensorProto.FLOAT, ["batch", SHAPES])
        graph = helper.make_graph(self._nodes, "expression", inputs, [output], self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="avatar-appliance")
        model.ir_version = 8
        onnx.checker.check_model(model)
        onnx.save(model, path)


def _array(tensor: Tensor) -> npt.NDArray[np.float64]:
    return np.asarray(tensor.detach().double().cpu().numpy())
