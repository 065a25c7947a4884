"""Branches of a network that do the same become one."""

from typing import Any

import pytest
from small_graphs import (
    SmallGraph,
    assert_equal,
)

from engines.rewrites import (
    count_nodes,
    share_equal,
    stack_branches,
    ungroup,
)


def branches(graph: SmallGraph, sizes: list[int], **attributes: Any) -> list[str]:
    """Equal branches of a picture, each with weights of its own, that end in rows of points."""
    points = []
    for size in sizes:
        seen = graph.prelu(graph.convolve("picture", [6, 4, 3, 3], pads=[1] * 4), 6)
        seen = graph.node("Add", seen, graph.convolve(seen, [6, 6, 3, 3], pads=[1] * 4))
        seen = graph.node("MaxPool", graph.prelu(seen, 6), kernel_shape=[2, 2], strides=[2, 2])
        flat = graph.convolve(seen, [size * 2, 6, 4, 4], **attributes)
        points.append(graph.node("Reshape", flat, graph.integers([-1, size, 2])))
    return points


def test_equal_branches_become_one() -> None:
    graph = SmallGraph()
    model = graph.close(graph.node("Concat", *branches(graph, [3, 3, 3]), axis=1), ["batch", 9, 2])

    after = stack_branches(model)

    assert count_nodes(after)["Conv"] == 3
    assert count_nodes(after)["PRelu"] == 2
    assert_equal(model, after)


def test_branches_with_points_of_other_counts_become_one_and_keep_their_order() -> None:
    graph = SmallGraph()
    first, second, third = branches(graph, [2, 5, 3])
    other = graph.node("Reshape", "picture", graph.integers([-1, 144, 2]))
    model = graph.close(graph.node("Concat", second, other, first, third, axis=1), ["batch", 154, 2])

    after = stack_branches(model)

    assert count_nodes(after)["Conv"] == 3
    assert_equal(model, after)


def test_what_two_branches_share_is_computed_once() -> None:
    graph = SmallGraph()
    stems = [graph.prelu(graph.convolve("picture", [6, 4, 3, 3]), 6) for _ in range(2)]
    heads = [graph.node("Relu", graph.convolve(stems[index], [3, 6, 3, 3])) for index in (1, 0, 1)]
    model = graph.close(graph.node("Concat", *heads, axis=1), ["batch", 9, 5, 4])

    after = stack_branches(model)

    assert count_nodes(after)["Conv"] == 2
    assert_equal(model, after)


def test_what_others_read_of_a_branch_is_still_there() -> None:
    graph = SmallGraph()
    stems = [graph.node("Relu", graph.convolve("picture", [6, 4, 3, 3]), output=f"stem_{index}") for index in range(2)]
    heads = [graph.convolve(stem, [3, 6, 3, 3]) for stem in stems]
    graph.node("Neg", stems[1], output="turned")
    graph.node("Concat", *heads, axis=1, output="result")
    shapes = {"stem_0": ["batch", 6, 7, 6], "turned": ["batch", 6, 7, 6], "result": ["batch", 6, 5, 4]}
    model = graph.model("small", {"picture": ["batch", 4, 9, 8]}, shapes)

    after = stack_branches(model)

    assert count_nodes(after)["Conv"] == 2
    assert_equal(model, after)


def test_branches_of_points_become_one() -> None:
    """As the attention network does: choose points, turn them, take their bounds; padded choices change no bound."""
    graph = SmallGraph()
    bounds = []
    for count in (3, 5):
        chosen = graph.node("Gather", "picture", graph.integers(graph.random.integers(0, 9, count)), axis=1)
        matrix = graph.node(
            "Reshape", graph.node("Slice", "picture", *map(graph.integers, ([0], [2], [1]))), graph.integers([-1, 2, 2])
        )
        turned = graph.node(
            "MatMul", graph.node("Mul", chosen, graph.constant(graph.random.normal(size=[1, 1, 2]))), matrix
        )
        low, high = (graph.node(operation, turned, axes=[1], keepdims=1) for operation in ("ReduceMin", "ReduceMax"))
        bounds.append(graph.node("Sub", high, low))
    model = graph.close(graph.node("Concat", *bounds, axis=1), ["batch", 2, 2], ["batch", 9, 2])
    shared = share_equal(model)

    after = stack_branches(shared)

    assert_equal(model, after)
    assert count_nodes(after)["ReduceMin"] in (1, 2)


@pytest.mark.parametrize("attributes", [{"strides": [2, 2]}, {"pads": [1] * 4}], ids=str)
def test_branches_that_differ_stay_apart(attributes: dict[str, Any]) -> None:
    graph = SmallGraph()
    first = graph.node("Flatten", graph.convolve("picture", [6, 4, 3, 3]))
    second = graph.node("Flatten", graph.convolve("picture", [6, 4, 3, 3], **attributes))
    model = graph.close(graph.node("Concat", first, second, axis=1), ["batch", None])

    after = stack_branches(model)

    assert count_nodes(after)["Conv"] == 2
    assert_equal(model, after)


def test_branches_of_which_one_reads_the_other_stay_apart() -> None:
    graph = SmallGraph()
    first = graph.node("Relu", graph.convolve("picture", [4, 4, 3, 3], pads=[1] * 4))
    second = graph.node("Relu", graph.convolve(first, [4, 4, 3, 3], pads=[1] * 4))
    model = graph.close(graph.node("Concat", first, second, axis=1), ["batch", 8, 9, 8])

    assert_equal(model, stack_branches(model))


def test_groups_become_zeros() -> None:
    graph = SmallGraph()
    grouped = graph.convolve("picture", [6, 2, 3, 3], group=2)
    model = graph.close(graph.depthwise(grouped, 6), ["batch", 6, 5, 4])

    after = ungroup(model)

    groups = [attribute.i for node in after.graph.node for attribute in node.attribute if attribute.name == "group"]
    assert groups == [1, 6]  # what is depthwise stays
    assert_equal(model, after)
