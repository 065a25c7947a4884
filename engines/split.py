"""Cuts a network that is too large to build as a whole into stages that run one after the other."""

from collections.abc import Collection, Sequence

import onnx
from onnx import helper

from engines.errors import EngineError
from engines.rewrites.graph import refuse_control_flow


def split(model: onnx.ModelProto, cuts: Sequence[Sequence[str]]) -> list[onnx.ModelProto]:
    """Cut at each group of tensors, in order of execution: ``n`` groups give ``n + 1`` stages.

    A stage gives the tensors of its cut and those of the network's outputs that it makes; it takes what it
    needs of the network's inputs and of earlier cuts. Constants that several stages need go into each. A group
    that does not separate what comes before it from what comes after is an ``EngineError`` that names it.
    """
    for node in model.graph.node:
        refuse_control_flow(node)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    makers = {name: index for index, node in enumerate(model.graph.node) for name in node.output if name}
    left = set(range(len(model.graph.node)))
    stages = []
    for cut in cuts:
        stage = _with_side_products(model, cut, makers, _before(model, cut, makers) & left, left)
        _check(model, cut, makers, stage, left - stage)
        stages.append(stage)
        left -= stage
    return [_stage(model, nodes, {name for cut in cuts for name in cut}) for nodes in (*stages, left)]


def _before(model: onnx.ModelProto, cut: Sequence[str], makers: dict[str, int]) -> set[int]:
    """The nodes that a cut's tensors need."""
    waiting = []
    for name in cut:
        if name not in makers:
            raise EngineError(f"a cut must be at a tensor that the network computes; it computes no {name!r}")
        waiting.append(makers[name])
    found: set[int] = set()
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += [makers[name] for name in model.graph.node[index].input if name in makers]
    return found


def _with_side_products(
    model: onnx.ModelProto, cut: Sequence[str], makers: dict[str, int], stage: set[int], left: set[int]
) -> set[int]:
    """A stage with what else can be computed from its inside, such as outputs that nothing later needs."""
    stage = set(stage)
    for index in sorted(left - stage):
        read = {name for name in model.graph.node[index].input if name in makers}
        inside = {name for name in read if makers[name] in stage}
        if inside and not read & set(cut) and all(makers[name] not in left - stage for name in read):
            stage.add(index)
    return stage


def _check(model: onnx.ModelProto, cut: Sequence[str], makers: dict[str, int], stage: set[int], rest: set[int]) -> None:
    at = ",".join(cut)
    if not stage or not rest:
        raise EngineError(f"a cut must have work on both sides; at {at} there is none {'after' if stage else 'before'}")
    across = {name for index in rest for name in model.graph.node[index].input if makers.get(name, -1) in stage}
    leaks = sorted(across - set(cut))
    if leaks:
        raise EngineError(f"the cut at {at} does not separate: {', '.join(leaks)} cross it too; add them to the cut")


def _stage(model: onnx.ModelProto, indices: set[int], cut: Collection[str]) -> onnx.ModelProto:
    """Some nodes as a network of their own."""
    graph = model.graph
    nodes = [graph.node[index] for index in sorted(indices)]
    made = {name for node in nodes for name in node.output}
    read = {name for node in nodes for name in node.input if name} - made
    constants = [item for item in graph.initializer if item.name in read]
    read -= {item.name for item in constants}
    shapes = {item.name: item for item in (*graph.input, *graph.value_info, *graph.output)}
    outputs = [item.name for item in graph.output]
    given = sorted(made & {*outputs, *cut}, key=lambda name: (name not in outputs, name))
    taken = [name for name in shapes if name in read]  # the network's inputs first, in their order
    inside = helper.make_graph(
        nodes,
        graph.name,
        [shapes[name] for name in taken],
        [shapes[name] for name in given],
        constants,
        value_info=[item for item in graph.value_info if item.name in made - set(given)],
    )
    stage = helper.make_model(inside, opset_imports=model.opset_import, producer_name=model.producer_name)
    stage.ir_version = model.ir_version
    onnx.checker.check_model(stage)
    return stage
