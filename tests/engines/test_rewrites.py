from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from small_graphs import (
    OWN_MODELS,
    SmallGraph,
    assert_equal,
    choosing_network,
    fetched_model,
    own_model,
    residual_network,
)

from engines.errors import EngineError
from engines.half import to_fp16
from engines.quantize import quantize, wanted
from engines.rewrites import (
    TARGETS,
    cancel_transposes,
    count_nodes,
    fold_constants,
    fold_padding,
    fold_residuals,
    for_target,
    merge_depthwise,
    merge_gathers,
    merge_reshapes,
    pair_prelus,
    share_equal,
    stack_branches,
    state_kernels,
    widen_channels,
)


def test_a_kernel_that_follows_from_the_weights_is_stated() -> None:
    graph = SmallGraph()
    model = graph.close(graph.convolve("picture", [6, 4, 3, 5]), ["batch", 6, 7, 4])
    assert not any(entry.name == "kernel_shape" for entry in model.graph.node[0].attribute)

    (convolution, *_) = state_kernels(model).graph.node

    assert {entry.name: list(entry.ints) for entry in convolution.attribute}["kernel_shape"] == [3, 5]
    assert_equal(model, state_kernels(model))


@pytest.mark.parametrize("target", ["gpu-stacked", "gpu-grouped"])
@pytest.mark.parametrize("name", [*OWN_MODELS, "face_detector", "face_landmarks"])
def test_nothing_is_left_that_the_oldest_tensorrt_cannot_read(models: Path, name: str, target: str) -> None:
    """A convolution whose weights come through eight bits must state its kernel; weights may come through no cast."""
    model = to_fp16(for_target(own_model(name) if name in OWN_MODELS else fetched_model(models, name), target))
    model = quantize(model, dict.fromkeys(wanted(model), (-1.0, 1.0)))
    constants = {entry.name for entry in model.graph.initializer}

    for node in model.graph.node:
        stated = {entry.name for entry in node.attribute}
        assert node.op_type not in ("Conv", "ConvTranspose") or "kernel_shape" in stated, node.name
        assert node.op_type != "Cast" or node.input[0] not in constants, node.name


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", OWN_MODELS)
def test_our_networks_give_the_same_in_every_form(name: str, target: str) -> None:
    model = own_model(name)

    after = for_target(model, target)

    assert_equal(model, after)
    assert "Cast" not in count_nodes(after)  # weights stored in 16 bits are widened beforehand


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["face_detector", "face_landmarks"])
def test_fetched_networks_give_the_same_in_every_form(
    models: Path, original: dict[str, npt.NDArray[Any]], name: str, target: str
) -> None:
    model = fetched_model(models, name)
    picture = {"face_detector": "whole", "face_landmarks": "tilted"}[name]
    image = np.stack([original[picture], original[picture][:, ::-1]]).transpose(0, 3, 1, 2).astype(np.float32) / 255

    assert_equal(model, for_target(model, target), {"image": image})


def test_the_forms_for_a_gpu_have_few_nodes(models: Path) -> None:
    detector, landmarks = (fetched_model(models, name) for name in ("face_detector", "face_landmarks"))

    assert sum(count_nodes(for_target(detector, "gpu")).values()) <= 54  # 96 as converted
    assert sum(count_nodes(for_target(landmarks, "gpu")).values()) <= 308  # 454 as converted
    assert sum(count_nodes(for_target(landmarks, "gpu-stacked")).values()) <= 169
    assert sum(count_nodes(for_target(landmarks, "gpu-grouped")).values()) <= 142


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(3))
def test_random_networks_give_the_same_in_every_form(seed: int, target: str) -> None:
    model = residual_network(seed)

    assert_equal(model, for_target(model, target))


def test_the_gpu_form_of_a_residual_network_is_convolutions_and_little_else() -> None:
    counts = count_nodes(for_target(residual_network(), "gpu"))

    assert counts == {"Conv": 5, "Relu": 2, "PRelu": 2, "MaxPool": 1, "Add": 1}


def test_a_model_is_left_as_it_was() -> None:
    model = residual_network()
    before = model.SerializeToString(deterministic=True)

    for_target(model, "gpu")

    assert model.SerializeToString(deterministic=True) == before


def test_an_unknown_target_is_told_which_there_are() -> None:
    with pytest.raises(EngineError, match=r"a target must be one of cpu, .*, got 'toaster'"):
        for_target(residual_network(), "toaster")


def test_control_flow_is_refused_by_name() -> None:
    with pytest.raises(EngineError, match="operation If"):
        for_target(choosing_network(), "cpu")


@pytest.mark.parametrize(
    "attributes", [{}, {"strides": [2, 2]}, {"pads": [0, 1, 2, 1]}, {"dilations": [2, 1]}], ids=str
)
def test_depthwise_and_pointwise_become_one(attributes: dict[str, Any]) -> None:
    graph = SmallGraph()
    deep = graph.convolve("picture", [8, 1, 3, 3], group=4, **attributes)  # two outputs a channel
    model = graph.close(graph.convolve(deep, [5, 8, 1, 1]), ["batch", 5, None, None])

    after = merge_depthwise(model)

    assert count_nodes(after)["Conv"] == 1
    assert_equal(model, after)


def test_a_depthwise_convolution_that_others_read_stays() -> None:
    graph = SmallGraph()
    deep = graph.depthwise("picture", 4, pads=[1] * 4)
    model = graph.close(graph.node("Add", deep, graph.convolve(deep, [4, 4, 1, 1])), ["batch", 4, 9, 8])

    assert count_nodes(merge_depthwise(model))["Conv"] == 2


def test_a_grouped_convolution_that_is_not_depthwise_stays() -> None:
    graph = SmallGraph()
    grouped = graph.convolve("picture", [4, 2, 3, 3], group=2, pads=[1] * 4)
    model = graph.close(graph.convolve(grouped, [4, 4, 1, 1]), ["batch", 4, 9, 8])

    assert count_nodes(merge_depthwise(model))["Conv"] == 2


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [([4, 4, 3, 3], {"pads": [1] * 4}), ([4, 4, 2, 3], {"pads": [0, 1, 1, 1]}), ([4, 4, 1, 1], {}),
     ([4, 4, 3, 3], {"pads": [2] * 4, "dilations": [2, 2]})],
    ids=str,
)  # fmt: skip
def test_a_residual_goes_into_the_kernel(shape: list[int], attributes: dict[str, Any]) -> None:
    graph = SmallGraph()
    model = graph.close(
        graph.node("Add", "picture", graph.convolve("picture", shape, **attributes)), ["batch", 4, 9, 8]
    )

    after = fold_residuals(model)

    assert set(count_nodes(after)) == {"Conv", "Identity"}
    assert_equal(model, after)


def test_a_residual_with_more_channels_goes_into_the_kernel() -> None:
    graph = SmallGraph()
    wide = graph.convolve("picture", [7, 4, 3, 3], pads=[1] * 4)
    padded = graph.pad("picture", [0] * 4, [0, 3, 0, 0])
    model = graph.close(graph.node("Add", padded, wide), ["batch", 7, 9, 8])

    after = fold_residuals(model)

    assert set(count_nodes(after)) == {"Conv", "Identity"}
    assert_equal(model, after)


def test_a_sum_with_something_else_stays_a_sum() -> None:
    graph = SmallGraph()
    other = graph.node("Relu", "picture")
    model = graph.close(
        graph.node("Add", other, graph.convolve("picture", [4, 4, 3, 3], pads=[1] * 4)), ["batch", 4, 9, 8]
    )

    assert count_nodes(fold_residuals(model))["Add"] == 1


@pytest.mark.parametrize(("before", "after"), [([0, 0, 1, 1], [0, 0, 1, 1]), ([0, 0, 0, 2], [0, 0, 3, 1])], ids=str)
def test_padding_goes_into_every_convolution_that_reads_it(before: list[int], after: list[int]) -> None:
    graph = SmallGraph()
    padded = graph.pad("picture", before, after)
    both = [graph.convolve(padded, [4, 4, 3, 3], pads=[1, 0, 1, 0]) for _ in range(2)]
    model = graph.close(graph.node("Add", *both), ["batch", 4, None, None])

    rewritten = fold_padding(model)

    assert "Pad" not in count_nodes(rewritten)
    assert_equal(model, rewritten)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_padding_with_anything_but_zeros_stays(value: float) -> None:
    graph = SmallGraph()
    padded = graph.node(
        "Pad", "picture", graph.integers([0, 0, 1, 1] * 2), graph.constant(value, np.float32), mode="constant"
    )
    model = graph.close(graph.convolve(padded, [4, 4, 3, 3]), ["batch", 4, 9, 8])

    rewritten = fold_padding(model)

    assert count_nodes(rewritten)["Pad"] == (1 if value else 0)
    assert_equal(model, rewritten)


def test_channels_of_zeros_after_pooling_come_from_the_convolution() -> None:
    graph = SmallGraph()
    seen = graph.prelu(graph.convolve("picture", [6, 4, 3, 3]), 6)
    pooled = graph.pad(graph.node("MaxPool", seen, kernel_shape=[2, 2], strides=[2, 2]), [0] * 4, [0, 2, 0, 0])
    model = graph.close(
        graph.node("Add", pooled, graph.convolve(seen, [8, 6, 2, 2], strides=[2, 2])), ["batch", 8, 3, 3]
    )

    after = widen_channels(model)

    assert "Pad" not in count_nodes(after)
    assert_equal(model, after)


def test_slopes_become_pairs_in_the_convolutions_around_them() -> None:
    graph = SmallGraph()
    seen = graph.prelu(graph.convolve("picture", [6, 4, 3, 3]), 6)  # slopes of both signs
    both = [graph.convolve(seen, [5, 6, 3, 3], bias=bias) for bias in (True, False)]
    model = graph.close(graph.node("Add", *both), ["batch", 5, 5, 4])

    after = pair_prelus(model)

    assert count_nodes(after)["PRelu"] == 0
    assert_equal(model, after)


def test_slopes_become_pairs_within_each_group() -> None:
    graph = SmallGraph()
    seen = graph.prelu(graph.convolve("picture", [6, 2, 3, 3], group=2), 6)
    model = graph.close(graph.convolve(seen, [4, 3, 3, 3], group=2), ["batch", 4, 5, 4])

    after = pair_prelus(model)

    assert count_nodes(after)["PRelu"] == 0
    assert_equal(model, after)


def test_slopes_that_others_read_stay() -> None:
    graph = SmallGraph()
    seen = graph.prelu(graph.convolve("picture", [4, 4, 3, 3]), 4)
    pooled = graph.node("MaxPool", seen, kernel_shape=[3, 3])
    model = graph.close(graph.node("Add", pooled, graph.convolve(seen, [4, 4, 3, 3])), ["batch", 4, 5, 4])

    assert count_nodes(pair_prelus(model))["PRelu"] == 1


def test_transposes_around_a_product_with_constants_go() -> None:
    graph = SmallGraph()
    turned = graph.node("Transpose", "picture", perm=[0, 1, 3, 2])
    product = graph.node("MatMul", turned, graph.constant(graph.random.normal(size=[9, 5])))
    sum_ = graph.node("Relu", graph.node("Add", product, graph.constant(graph.random.normal(size=5))))
    model = graph.close(graph.node("Transpose", sum_, perm=[0, 1, 3, 2]), ["batch", 4, 5, 8])

    after = cancel_transposes(model)

    assert "Transpose" not in count_nodes(after)
    assert_equal(model, after)


def test_a_transpose_with_no_other_to_meet_stays_where_it_is() -> None:
    graph = SmallGraph()
    turned = graph.node("Transpose", "picture", perm=[0, 1, 3, 2])
    model = graph.close(graph.node("Relu", turned), ["batch", 4, 8, 9])

    after = cancel_transposes(model)

    assert [node.op_type for node in after.graph.node][:2] == ["Transpose", "Relu"]
    assert_equal(model, after)


def test_the_last_of_several_reshapes_stays() -> None:
    graph = SmallGraph()
    flat = graph.node(
        "Reshape", graph.node("Reshape", "picture", graph.integers([-1, 12, 24])), graph.integers([-1, 288])
    )
    model = graph.close(flat, ["batch", 288])

    after = merge_reshapes(model)

    assert count_nodes(after)["Reshape"] == 1
    assert_equal(model, after)


def test_what_follows_from_constants_is_computed_beforehand() -> None:
    graph = SmallGraph()
    shape = graph.node("Concat", graph.integers([-1]), graph.integers([288]), axis=0)
    model = graph.close(graph.node("Reshape", "picture", shape), ["batch", 288])

    after = fold_constants(model)

    assert count_nodes(after) == {"Reshape": 1}
    assert_equal(model, after)


def test_what_is_computed_twice_is_computed_once() -> None:
    graph = SmallGraph()
    twice = [graph.node("Relu", graph.node("Neg", "picture")) for _ in range(2)]
    model = graph.close(graph.node("Add", *twice), ["batch", 4, 9, 8])

    after = share_equal(model)

    assert count_nodes(after) == {"Neg": 1, "Relu": 1, "Add": 1, "Identity": 1}
    assert_equal(model, after)


def test_channels_of_zeros_are_added_in_each_branch() -> None:
    graph = SmallGraph()
    heads = []
    for _ in range(2):
        seen = graph.node("Relu", graph.convolve("picture", [6, 4, 3, 3]))
        heads.append(graph.node("Add", graph.pad(seen, [0] * 4, [0, 2, 0, 0]), graph.convolve(seen, [8, 6, 1, 1])))
    model = graph.close(graph.node("Concat", *heads, axis=1), ["batch", 16, 7, 6])

    after = stack_branches(model)

    assert "Pad" not in count_nodes(after)
    assert_equal(model, after)


def test_one_choice_of_rows_does_the_work_of_two() -> None:
    graph = SmallGraph()
    first = graph.node("Gather", "picture", graph.integers([3, 1, 1, 0]), axis=1)
    model = graph.close(graph.node("Gather", first, graph.integers([2, 3]), axis=1), ["batch", 2, 9, 8])

    after = merge_gathers(model)

    assert count_nodes(after)["Gather"] == 1
    assert_equal(model, after)


def test_weights_in_eight_bits_stay_in_eight_bits() -> None:
    graph = SmallGraph()
    weights = graph.constant(graph.random.integers(-127, 128, [4, 4, 3, 3]), np.int8)
    scale, zero = graph.constant(0.01), graph.constant(0, np.int8)
    model = graph.close(
        graph.node("Conv", "picture", graph.node("DequantizeLinear", weights, scale, zero)), ["batch", 4, 7, 6]
    )

    after = fold_constants(model)

    assert count_nodes(after)["DequantizeLinear"] == 1
    assert_equal(model, after)
