"""Pre-processing as a network: squares cut from a whole picture, turned, resized and normalised, for a GPU to run.

It computes what ``engines.preprocess.sample`` does, so TensorRT needs no code of ours to cut pictures. The two differ
by the steps of OpenCV's fixed-point arithmetic alone: see ``LARGEST_DIFFERENCE``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engines.manifest import Preprocessing

if TYPE_CHECKING:
    import onnx

PICTURE, MATRICES, SQUARES = "picture", "square_to_picture", "squares"
"""Names of its inputs, 1 x height x width x 3 bytes and batch x 2 x 3, and of its output, batch x 3 x size x size."""

LARGEST_DIFFERENCE = 2 * 255 / 32 + 1
"""Of 255, at the worst of edges. OpenCV's warp places a tap to 1/32 pixel each way and rounds to whole bytes."""

_PADDING = {"black": "zeros", "edge": "border"}
_OPSET, _IR_VERSION = 17, 8  # TensorRT 8.6 reads no later


def crop_graph(preprocessing: Preprocessing, width_px: int, height_px: int) -> onnx.ModelProto:
    """The graph for pictures of one size; any number of squares of one picture at once.

    Matrices are those of ``engines.preprocess.sample``.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    size = preprocessing.size_px
    rows, columns = np.mgrid[0:size, 0:size].reshape(2, 1, -1, 1).astype(np.float32)
    stretch = np.array([2 / width_px, 2 / height_px], np.float32)  # GridSample counts from -1 to 1, edge to edge
    scale = np.float32((preprocessing.high - preprocessing.low) / 255)
    constants = {
        "rows": rows,
        "columns": columns,
        "stretch": stretch,
        "shift": (stretch / 2 - 1).astype(np.float32),
        "grid_shape": np.array([1, -1, size, 2]),
        "square_shape": np.array([3, -1, size, size]),
        "red_green_blue": np.array([2, 1, 0]),
        "scale": scale,
        "low": np.float32(preprocessing.low),
    } | {f"from_{place}": np.array([place]) for place in range(4)}
    steps = _steps(_PADDING[preprocessing.outside])
    nodes = [helper.make_node(operator, given, [made], name=made, **about) for operator, given, made, about in steps]
    inputs = [
        helper.make_tensor_value_info(MATRICES, TensorProto.FLOAT, ["batch", 2, 3]),
        helper.make_tensor_value_info(PICTURE, TensorProto.UINT8, [1, height_px, width_px, 3]),
    ]
    outputs = [helper.make_tensor_value_info(SQUARES, TensorProto.FLOAT, ["batch", 3, size, size])]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, f"crop_{size}", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    checker.check_model(model)
    return model


def _steps(padding: str) -> list[tuple[str, list[str], str, dict[str, Any]]]:
    """Operator, inputs, output and attributes of each node: where each pixel of each square lies, and what is there."""
    from onnx import TensorProto

    return [
        ("Cast", [PICTURE], "values", {"to": TensorProto.FLOAT}),
        ("Transpose", ["values"], "planes", {"perm": [0, 3, 1, 2]}),
        ("Transpose", [MATRICES], "turned", {"perm": [0, 2, 1]}),  # batch x 3 x 2: right, down, where
        *(
            ("Slice", ["turned", f"from_{place}", f"from_{place + 1}", "from_1"], name, {})
            for place, name in enumerate(("right", "down", "where"))
        ),
        ("Mul", ["columns", "right"], "by_column", {}),
        ("Mul", ["rows", "down"], "by_row", {}),
        ("Add", ["by_column", "by_row"], "turned_points", {}),
        ("Add", ["turned_points", "where"], "points", {}),  # batch x size^2 x 2, pixels of the picture
        ("Mul", ["points", "stretch"], "stretched", {}),
        ("Add", ["stretched", "shift"], "places", {}),
        ("Reshape", ["places", "grid_shape"], "grid", {}),  # all squares under each other: one picture serves them
        (
            "GridSample",
            ["planes", "grid"],
            "column",
            {"mode": "bilinear", "padding_mode": padding},
        ),
        ("Reshape", ["column", "square_shape"], "by_colour", {}),
        ("Gather", ["by_colour", "red_green_blue"], "rgb", {"axis": 0}),
        ("Transpose", ["rgb"], "by_square", {"perm": [1, 0, 2, 3]}),
        ("Mul", ["by_square", "scale"], "scaled", {}),
        ("Add", ["scaled", "low"], SQUARES, {}),
    ]
