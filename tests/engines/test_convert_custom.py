"""Each custom operator, written in ONNX, against a plain port of its definition."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from engines.convert_custom import CUSTOM_WRITERS
from engines.convert_operations import Conversion, Layout
from engines.errors import EngineError
from engines.opening import open_runner
from engines.tflite_reader import Network, Operator, Tensor

Array = npt.NDArray[np.float32]
BATCH = 5
MESH: dict[str, Any] = {
    "left_rotation_idx": 2,
    "right_rotation_idx": 7,
    "subset_idxs": [1, 2, 3, 5, 7, 11],
    "target_rotation_radians": 0.0,
    "output_width": 16,
    "output_height": 8,
    "scale_x": 1.5,
    "scale_y": 1.25,
}


def run(operator: str, options: dict[str, Any], inputs: list[tuple[Array, Layout]], path: Path, library: str) -> Array:
    """Write one operator as a network of its own and run it; the file's batch is one."""
    tensors = []
    for array, layout in inputs:
        _, *rest = array.shape
        shape = {Layout.CHANNELS_FIRST: rest[1:] + rest[:1], Layout.AFFINE: [4, 4], Layout.PLAIN: rest}[layout]
        tensors.append(Tensor("tensor", (1, *shape), None))
    numbers = tuple(range(len(inputs)))
    step = Operator(operator, numbers, (len(inputs),), options)
    conversion = Conversion(Network((*tensors, Tensor("result", (), None)), (step,), numbers, (len(inputs),)))
    for number, (_, layout) in enumerate(inputs):
        conversion.put(number, f"input_{number}", layout)
    CUSTOM_WRITERS[operator](conversion, step)
    name, _ = conversion.values[len(inputs)]
    shapes = {f"input_{number}": ("batch", *array.shape[1:]) for number, (array, _) in enumerate(inputs)}
    rank = 4 if operator == "TransformTensorBilinear" else 3
    model = conversion.graph.model(operator, shapes, {name: ["batch", *"abc"[: rank - 1]]})
    file = path / "operator.onnx"
    file.write_bytes(model.SerializeToString())
    feeds = {f"input_{number}": array for number, (array, _) in enumerate(inputs)}
    if library == "openvino":
        return np.array(open_runner(file, library)(feeds)[name])
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([name], feeds)[0])  # the whole batch at once, as a GPU would


def transforms(rng: np.random.Generator, reach: float) -> npt.NDArray[np.float64]:
    """Turned, scaled and shifted: batch x 4 x 4, many reaching outside of a picture of that size."""
    matrices = np.tile(np.eye(4), (BATCH, 1, 1))
    for matrix in matrices:
        angle, scale = rng.uniform(-3, 3), rng.uniform(0.3, 4)
        matrix[:2, :2] = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix[:2, 3] = rng.uniform(-10, reach, 2)
    return matrices


def as_affine(matrices: npt.NDArray[np.float64]) -> Array:
    """Our way of keeping a 4 x 4 transformation: x axis, y axis and origin as rows."""
    return np.ascontiguousarray(matrices[:, :2][:, :, [0, 1, 3]].transpose(0, 2, 1), np.float32)


def expected_transform(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """From an output pixel to the picture: a box around the subset, upright in the frame of two points."""
    along = points[MESH["right_rotation_idx"], :2] - points[MESH["left_rotation_idx"], :2]
    angle = np.arctan2(along[1], along[0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upright = points[MESH["subset_idxs"], :2] @ turn
    low, high = upright.min(axis=0), upright.max(axis=0)
    size = (high - low) * [MESH["scale_x"], MESH["scale_y"]]
    matrix = np.eye(4)
    matrix[:2, :2] = turn @ np.diag(size / [MESH["output_width"], MESH["output_height"]])
    matrix[:2, 3] = turn @ ((low + high) / 2 - size / 2)
    return matrix


def expected_sample(picture: Array, matrix: npt.NDArray[np.float64], height: int, width: int) -> Array:
    """Pixel by pixel: bilinear through the transformation of pixel middles, zero outside."""
    channels, rows, columns = picture.shape
    result = np.zeros((channels, height, width), np.float32)
    for row in range(height):
        for column in range(width):
            x, y = matrix[:2, :2] @ [column + 0.5, row + 0.5] + matrix[:2, 3] - 0.5
            if not (0 <= x <= columns - 1 and 0 <= y <= rows - 1):
                continue
            left, top = min(int(x), columns - 2), min(int(y), rows - 2)
            right, below = x - left, y - top
            corner = picture[:, top : top + 2, left : left + 2]
            result[:, row, column] = (
                (corner[:, 0, 0] * (1 - right) + corner[:, 0, 1] * right) * (1 - below)
                + (corner[:, 1, 0] * (1 - right) + corner[:, 1, 1] * right) * below
            )  # fmt: skip
    return result


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_a_box_around_landmarks_becomes_a_transformation(tmp_path: Path, library: str) -> None:
    points = np.random.default_rng(1).uniform(0, 48, (BATCH, 12, 3))

    made = run("Landmarks2TransformMatrix", MESH, [(points.astype(np.float32), Layout.PLAIN)], tmp_path, library)

    expected = as_affine(np.stack([expected_transform(sample) for sample in points]))
    np.testing.assert_allclose(made, expected, atol=2e-4)


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_features_are_sampled_through_a_transformation_and_are_zero_outside(tmp_path: Path, library: str) -> None:
    rng = np.random.default_rng(2)
    features = rng.standard_normal((BATCH, 3, 20, 30)).astype(np.float32)
    matrices = transforms(rng, 25)
    options = {"output_height": 6, "output_width": 9}

    sampled = run(
        "TransformTensorBilinear",
        options,
        [(features, Layout.CHANNELS_FIRST), (as_affine(matrices), Layout.AFFINE)],
        tmp_path,
        library,
    )

    expected = np.stack([expected_sample(*pair, 6, 9) for pair in zip(features, matrices, strict=True)])
    assert 0.2 < (expected == 0).mean() < 0.9  # some outside, some inside, or this proves nothing
    np.testing.assert_allclose(sampled, expected, atol=1e-3)


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_points_are_taken_through_a_transformation(tmp_path: Path, library: str) -> None:
    rng = np.random.default_rng(3)
    points, matrices = rng.uniform(0, 16, (BATCH, 7, 2)), transforms(rng, 20)

    moved = run(
        "TransformLandmarks",
        {},
        [(points.astype(np.float32), Layout.PLAIN), (as_affine(matrices), Layout.AFFINE)],
        tmp_path,
        library,
    )

    expected = np.einsum("bij,bnj->bni", matrices[:, :2, :2], points) + matrices[:, None, :2, 3]
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-3)


def test_an_option_that_is_not_converted_is_refused(tmp_path: Path) -> None:
    points = np.zeros((1, 12, 3), np.float32)

    with pytest.raises(EngineError, match="target rotation"):
        run(
            "Landmarks2TransformMatrix",
            MESH | {"target_rotation_radians": 1.0},
            [(points, Layout.PLAIN)],
            tmp_path,
            "onnxruntime",
        )
