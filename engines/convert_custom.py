"""MediaPipe's three custom operators of its attention face mesh, written in ONNX.

The network finds the mouth and the eyes in its own coarse mesh, cuts a turned rectangle of features around
each, and refines the points inside. The operators are those of MediaPipe (mediapipe/util/tflite/operations,
Apache-2.0); Grishchenko et al., "Attention Mesh", CVPR workshops 2020, is the published method.

A transformation is kept as three rows (``Layout.AFFINE``), so that points written as rows are transformed by
one product and one sum, whatever the batch.
"""

from collections.abc import Mapping

import numpy as np
from onnx import TensorProto

from engines.convert_operations import Conversion, Layout, Writer
from engines.errors import EngineError
from engines.tflite_reader import Operator


def _landmarks_to_transform(conversion: Conversion, operator: Operator) -> None:
    """From output pixels to picture pixels: the upright box around some points, in a turned frame, enlarged.

    The frame's x axis points from one named landmark to another. In that frame the box is ``low`` to ``high``;
    one output pixel is ``scale * (high - low) / output size``, and the first corner lies half of the enlarged
    box before the middle. Both are sums of multiples of ``low`` and ``high``, turned back into the picture.
    """
    options, graph = operator.options, conversion.graph
    if options["target_rotation_radians"]:
        raise EngineError("Landmarks2TransformMatrix with a target rotation is not known to the converter")
    points = graph.node(
        "Slice",
        conversion.name(operator.inputs[0], Layout.PLAIN),
        graph.integers([0]),
        graph.integers([2]),
        graph.integers([2]),
    )  # batch x points x (x, y)
    left = graph.node("Gather", points, graph.integers([options["left_rotation_idx"]]), axis=1)
    right = graph.node("Gather", points, graph.integers([options["right_rotation_idx"]]), axis=1)
    along = graph.node("Sub", right, left)
    cos_sin = graph.node("Div", along, graph.node("ReduceL2", along, axes=[2], keepdims=1))  # batch x 1 x 2
    to_picture = _rotation(conversion, cos_sin, [[1, 0, 0, 1], [0, 1, -1, 0]])  # rows: (c, s), (-s, c)
    to_upright = _rotation(conversion, cos_sin, [[1, 0, 0, 1], [0, -1, 1, 0]])
    subset = graph.node("Gather", points, graph.integers(np.ravel(options["subset_idxs"])), axis=1)
    turned = graph.node("MatMul", subset, to_upright)
    low = graph.node("ReduceMin", turned, axes=[1], keepdims=1)
    high = graph.node("ReduceMax", turned, axes=[1], keepdims=1)
    scale = np.array([options["scale_x"], options["scale_y"]])
    steps = np.diag(scale / [options["output_width"], options["output_height"]])
    of_high = graph.constant(np.vstack([steps, (1 - scale) / 2]))
    of_low = graph.constant(np.vstack([-steps, (1 + scale) / 2]))
    upright = graph.node("Add", graph.node("Mul", high, of_high), graph.node("Mul", low, of_low))
    conversion.put(operator.outputs[0], graph.node("MatMul", upright, to_picture), Layout.AFFINE)


def _rotation(conversion: Conversion, cos_sin: str, entries: list[list[int]]) -> str:
    """A batch x 2 x 2 matrix whose entries are multiples of cosine and sine."""
    flat = conversion.graph.node("MatMul", cos_sin, conversion.graph.constant(entries))
    return conversion.graph.node("Reshape", flat, conversion.graph.integers([-1, 2, 2]))


def _transform_tensor(conversion: Conversion, operator: Operator) -> None:
    """Sample features bilinearly through a transformation; what lies outside the picture is zero."""
    options, graph = operator.options, conversion.graph
    height, width = conversion.tensor(operator.inputs[0]).shape[1:3]
    transform = conversion.name(operator.inputs[1], Layout.AFFINE)
    rows, columns = np.mgrid[0 : options["output_height"], 0 : options["output_width"]]
    middles = np.stack([columns + 0.5, rows + 0.5, np.ones(rows.shape)], axis=-1).reshape(-1, 3)
    last = np.array([width - 1, height - 1])  # GridSample counts from -1 at the first pixel to 1 at the last
    grid = graph.node("MatMul", graph.constant(middles), transform)
    grid = graph.node("Sub", graph.node("Mul", grid, graph.constant(2 / last)), graph.constant(1 + 1 / last))
    reach = graph.node("ReduceMax", graph.node("Abs", grid), axes=[2], keepdims=0)
    inside = graph.node("Cast", graph.node("LessOrEqual", reach, graph.constant(1.0)), to=TensorProto.FLOAT)
    size = [options["output_height"], options["output_width"]]
    sampled = graph.node(
        "GridSample",
        conversion.name(operator.inputs[0], Layout.CHANNELS_FIRST),
        graph.node("Reshape", grid, graph.integers([-1, *size, 2])),
        mode="bilinear",
        padding_mode="border",
        align_corners=1,
    )
    mask = graph.node("Reshape", inside, graph.integers([-1, 1, *size]))
    conversion.put(operator.outputs[0], graph.node("Mul", sampled, mask), Layout.CHANNELS_FIRST)


def _transform_landmarks(conversion: Conversion, operator: Operator) -> None:
    """Take points of a cut-out back to the picture."""
    graph = conversion.graph
    if operator.options.get("dimensions", 2) != 2 or conversion.tensor(operator.inputs[0]).shape[2] != 2:
        raise EngineError("TransformLandmarks is known to the converter in two dimensions only")
    transform = conversion.name(operator.inputs[1], Layout.AFFINE)
    axes = graph.node("Slice", transform, graph.integers([0]), graph.integers([2]), graph.integers([1]))
    origin = graph.node("Slice", transform, graph.integers([2]), graph.integers([3]), graph.integers([1]))
    turned = graph.node("MatMul", conversion.name(operator.inputs[0], Layout.PLAIN), axes)
    conversion.put(operator.outputs[0], graph.node("Add", turned, origin), Layout.PLAIN)


def refined_points(operators: tuple[Operator, ...]) -> list[list[int]]:
    """Which mesh points the mouth, the first eye and the second eye replace, in the order of their outputs."""
    return [
        [int(index) for index in np.ravel(operator.options["subset_idxs"])]
        for operator in operators
        if operator.name == "Landmarks2TransformMatrix"
    ]


CUSTOM_WRITERS: Mapping[str, Writer] = {
    "Landmarks2TransformMatrix": _landmarks_to_transform,
    "TransformTensorBilinear": _transform_tensor,
    "TransformLandmarks": _transform_landmarks,
}
