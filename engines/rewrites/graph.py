"""An ONNX graph that rewrites take apart and put together again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, helper, numpy_helper

from engines.errors import EngineError

Array = npt.NDArray[Any]


@dataclass(eq=False, slots=True)
class Node:
    """One operation. An empty input name is one that is left out."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    domain: str = ""

    @property
    def output(self) -> str:
        """The first output, by which a node is known."""
        return self.outputs[0]


class Graph:
    """Nodes in any order and constants by name; inputs and outputs stay what they are.

    ``closed`` drops what leads to no output, sorts, checks, and infers every shape.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        graph = self._model.graph
        self.nodes = [_read(node) for node in graph.node if node.op_type != "Constant"]
        self.constants: dict[str, Array] = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self.constants |= {node.output[0]: _constant(node) for node in graph.node if node.op_type == "Constant"}
        self.outputs = [item.name for item in graph.output]
        self._shapes = {
            item.name: tuple(
                size.dim_value if size.HasField("dim_value") else None for size in item.type.tensor_type.shape.dim
            )
            for item in [*graph.input, *graph.value_info, *graph.output]
        }
        self._taken = {*self.constants, *self._shapes, *(name for node in self.nodes for name in node.outputs)}

    @property
    def inputs(self) -> list[str]:
        """What must be fed."""
        return [item.name for item in self._model.graph.input if item.name not in self.constants]

    def producer(self, tensor: str) -> Node | None:
        """The node that makes a tensor."""
        return next((node for node in self.nodes if tensor in node.outputs), None)

    def consumers(self, tensor: str) -> list[Node]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if tensor in node.inputs]

    def only_consumer(self, tensor: str) -> Node | None:
        """The node that reads a tensor, where nothing else does."""
        readers = self.consumers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def shape(self, tensor: str) -> tuple[int | None, ...]:
        """What is known of a tensor's shape; empty where nothing is."""
        if tensor in self.constants:
            return self.constants[tensor].shape
        return self._shapes.get(tensor, ())

    def fresh(self, name: str) -> str:
        """A name that nothing has, as near to the one asked for as can be."""
        unique, count = name, 1
        while unique in self._taken:
            unique, count = f"{name}_{count}", count + 1
        self._taken.add(unique)
        return unique

    def constant(self, values: npt.ArrayLike, name: str, dtype: npt.DTypeLike = np.float32) -> str:
        """Add a constant and return its name."""
        name = self.fresh(name)
        self.constants[name] = np.asarray(values, dtype)
        return name

    def append(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node and return the name of its one output."""
        output = self.fresh(output)
        self.nodes.append(Node(op, list(inputs), [output], attributes, f"{output}_node"))
        return output

    def remove(self, node: Node) -> None:
        """Take one node out."""
        self.nodes = [other for other in self.nodes if other is not node]

    def replace(self, old: str, new: str) -> None:
        """Let everything that reads one tensor read another; ``old`` may be an output of the graph."""
        if old in self.outputs:
            self._rename_output(old, new)
            return
        for node in self.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]

    def _rename_output(self, old: str, new: str) -> None:
        """The graph's output keeps its name: what makes ``new`` makes it under the old one."""
        producer = self.producer(new)
        if producer is None or new in self.outputs:
            self.nodes.append(Node("Identity", [new], [old], {}, f"{old}_node"))
            return
        producer.outputs = [old if name == new else name for name in producer.outputs]
        for node in self.nodes:
            node.inputs = [old if name == new else name for name in node.inputs]

    def has_cycle(self) -> bool:
        """Whether something waits for itself."""
        makers = {name: node for node in self.nodes for name in node.outputs}
        waiting = {id(node): {id(makers[name]) for name in node.inputs if name in makers} for node in self.nodes}
        while ready := {key for key, needs in waiting.items() if not needs}:
            waiting = {key: needs - ready for key, needs in waiting.items() if key not in ready}
        return bool(waiting)

    def closed(self) -> onnx.ModelProto:
        """The whole as a model."""
        nodes = self._sorted()
        used = {name for node in nodes for name in node.inputs}
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items() if name in used]
        graph = self._model.graph
        for part in (graph.node, graph.initializer, graph.value_info):
            del part[:]
        graph.node.extend(written(node) for node in nodes)
        graph.initializer.extend(constants)
        kept = [item for item in graph.input if item.name not in self.constants]
        del graph.input[:]
        graph.input.extend(kept)
        onnx.checker.check_model(self._model)
        return onnx.shape_inference.infer_shapes(self._model, strict_mode=True)

    def _sorted(self) -> list[Node]:
        """What leads to an output, each node after those that it reads."""
        makers = {name: node for node in self.nodes for name in node.outputs}
        done: dict[int, Node] = {}
        stack = [makers[name] for name in reversed(self.outputs) if name in makers]
        while stack:
            node = stack[-1]
            waiting = [
                makers[name] for name in reversed(node.inputs) if name in makers and id(makers[name]) not in done
            ]
            if waiting:
                stack.extend(waiting)
                continue
            done.setdefault(id(stack.pop()), node)
        return list(done.values())


def refuse_control_flow(node: onnx.NodeProto) -> None:
    """Raise ``EngineError`` if a node has graphs inside, whose tensors are not among its inputs."""
    for item in node.attribute:
        if item.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            raise EngineError(
                f"operation {node.op_type} ({node.output[0]}) has a graph inside, which is not known here;"
                " export the network without control flow"
            )


def _read(node: onnx.NodeProto) -> Node:
    refuse_control_flow(node)
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return Node(node.op_type, list(node.input), list(node.output), attributes, node.name, node.domain)


def written(node: Node) -> onnx.NodeProto:
    """A node as ONNX writes it."""
    return helper.make_node(
        node.op, node.inputs, node.outputs, name=node.name, domain=node.domain or None, **node.attributes
    )


def _constant(node: onnx.NodeProto) -> Array:
    (item,) = node.attribute
    value = helper.get_attribute_value(item)
    if isinstance(value, onnx.TensorProto):
        values: Array = numpy_helper.to_array(value)
        return values
    return np.asarray(value, np.int64 if item.type in (AttributeProto.INT, AttributeProto.INTS) else np.float32)
