"""Computes beforehand what depends on constants alone, and once what is computed twice."""

import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from engines.rewrites.graph import Array, Graph, Node, written


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace what follows from constants by its value: weights stored in 16 bits become 32 bit ones."""
    graph = Graph(model)
    opsets = list(model.opset_import)
    again = True
    while again:
        again = False
        for node in graph.nodes:
            if _is_known(graph, node):
                graph.constants |= _values(graph, node, opsets)
                graph.remove(node)
                again = True
    _drop_identities(graph)
    return graph.closed()


def _is_known(graph: Graph, node: Node) -> bool:
    known = bool(node.inputs) and all(name in graph.constants for name in node.inputs if name)
    kept = node.op in ("QuantizeLinear", "DequantizeLinear") or set(node.outputs) & set(graph.outputs)
    return known and not node.domain and not kept


def _values(graph: Graph, node: Node, opsets: list[onnx.OperatorSetIdProto]) -> dict[str, Array]:
    given = [name for name in node.inputs if name]
    alone = helper.make_graph(
        [written(node)],
        "constant",
        [helper.make_tensor_value_info(name, _type(graph.constants[name]), None) for name in given],
        [onnx.ValueInfoProto(name=name) for name in node.outputs],
    )
    evaluator = ReferenceEvaluator(helper.make_model(alone, opset_imports=opsets))
    values = evaluator.run(None, {name: graph.constants[name] for name in given})
    return dict(zip(node.outputs, values, strict=True))


def _type(array: Array) -> int:
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))


def _drop_identities(graph: Graph) -> None:
    for node in list(graph.nodes):
        if node.op == "Identity" and graph.producer(node.inputs[0]) and node.inputs[0] not in graph.outputs:
            graph.remove(node)
            graph.replace(node.output, node.inputs[0])


def state_kernels(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write each convolution's kernel into its attributes, where ONNX lets it follow from the weights.

    TensorRT 8.6 does not look for it in weights that come through eight bits, and refuses the network.
    """
    graph = Graph(model)
    for node in graph.nodes:
        weights = graph.constants.get(node.inputs[1]) if node.op in ("Conv", "ConvTranspose") else None
        if weights is not None:
            node.attributes.setdefault("kernel_shape", list(weights.shape[2:]))
    return graph.closed()


def share_equal(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let nodes that compute the same from the same be one."""
    graph = Graph(onnx.shape_inference.infer_shapes(model))
    _share_constants(graph)
    first: dict[tuple[object, ...], Node] = {}
    for node in list(graph.nodes):  # a model's nodes are in order, so the inputs are shared already
        attributes = tuple(sorted((key, repr(value)) for key, value in node.attributes.items()))
        key = (node.op, node.domain, tuple(node.inputs), attributes)
        same = first.setdefault(key, node)
        if same is not node and not set(node.outputs) & set(graph.outputs):
            graph.remove(node)
            for old, new in zip(node.outputs, same.outputs, strict=True):
                graph.replace(old, new)
    return graph.closed()


def _share_constants(graph: Graph) -> None:
    first: dict[tuple[object, ...], str] = {}
    same = {
        name: first.setdefault((array.dtype.str, array.shape, array.tobytes()), name)
        for name, array in graph.constants.items()
    }
    for node in graph.nodes:
        node.inputs = [same.get(name, name) for name in node.inputs]
