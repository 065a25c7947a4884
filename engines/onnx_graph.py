"""Writes an ONNX graph node by node."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17  # GridSample needs 16; 17 is what TensorRT 8.6 to 11, OpenVINO and ONNX Runtime all read
IR_VERSION = 8
Shape = Sequence[int | str]


class OnnxGraph:
    """A graph under construction: nodes in order of execution, every constant stored once."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Name a constant; equal ones share a name."""
        array = np.ascontiguousarray(np.asarray(values, dtype))
        key = (array.dtype.str, np.shape(values), array.tobytes())
        if key not in self._constants:
            array = array.reshape(np.shape(values))  # ascontiguousarray makes a scalar one-dimensional
            self._constants[key] = numpy_helper.from_array(array, f"constant_{len(self._constants)}")
        return str(self._constants[key].name)

    def integers(self, values: npt.ArrayLike) -> str:
        """Name a constant of shapes, axes or indices."""
        return self.constant(values, np.int64)

    def node(self, operation: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node and return the name of its one output."""
        output = output or f"{operation.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operation, inputs, [output], name=f"{output}_node", **attributes))
        return output

    def model(self, name: str, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> onnx.ModelProto:
        """Close the graph: drop what leads to no output, check it, infer every shape, and return the model."""
        self._drop_unused(set(outputs))
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in inputs.items()],
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items()],
            [constant for constant in self._constants.values() if self._is_used(constant.name)],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="engines.convert"
        )
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)

    def _drop_unused(self, needed: set[str]) -> None:
        kept = []
        for node in reversed(self._nodes):
            if not needed.isdisjoint(node.output):
                kept.append(node)
                needed.update(node.input)
        self._nodes = kept[::-1]

    def _is_used(self, name: str) -> bool:
        return any(name in node.input for node in self._nodes)
