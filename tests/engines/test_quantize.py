from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper
from small_graphs import (
    SmallGraph,
    activation_ranges,
    fetched_model,
    own_model,
    random_inputs,
    residual_network,
    run,
)

from engines.errors import EngineError
from engines.half import to_fp16
from engines.own import own_model as manifest_of
from engines.quantize import quantize, wanted
from engines.rewrites import count_nodes, for_target


def quantized(model: onnx.ModelProto, keep: tuple[str, ...] = ()) -> onnx.ModelProto:
    inputs = random_inputs(model, batch=8)
    return quantize(model, activation_ranges(model, wanted(model, keep), inputs), keep)


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def block(*, pooled: bool = False) -> onnx.ModelProto:
    """A convolution that is added to what it read, or to what pooling made of it."""
    graph = SmallGraph()
    seen = graph.node("Relu", graph.convolve("picture", [4, 4, 3, 3], pads=[1] * 4))
    other = graph.node("MaxPool", seen, kernel_shape=[3, 3], pads=[1] * 4) if pooled else seen
    total = graph.node("Add", graph.convolve(seen, [4, 4, 3, 3], pads=[1] * 4), other)
    return graph.close(graph.convolve(graph.node("Relu", total), [4, 4, 1, 1]), ["batch", 4, 9, 8])


def test_scales_are_symmetric_an_output_each_for_weights_and_one_for_an_activation() -> None:
    model = own_model("expression")

    after = quantized(model := for_target(model, "gpu"))

    constants = {item.name: numpy_helper.to_array(item) for item in after.graph.initializer}
    readers = {name: node for node in after.graph.node for name in node.input}
    for node in after.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale, zero = constants[node.input[1]], constants[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
        if node.input[0] in constants:
            assert scale.shape == constants[node.input[0]].shape[:1]
            assert [attribute.i for attribute in node.attribute] == [0]
            largest = np.abs(constants[node.input[0]]).reshape(len(scale), -1).max(axis=1)
            np.testing.assert_allclose(scale, np.maximum(largest / 127, 1e-7), rtol=1e-6)
        elif node.op_type == "QuantizeLinear":
            assert scale.shape == ()
            assert readers[node.output[0]].op_type == "DequantizeLinear"
    assert [item.version for item in after.opset_import] == [17]


def test_biases_stay_what_they_are() -> None:
    after = quantized(for_target(own_model("expression"), "gpu"))

    constants = {item.name: item for item in after.graph.initializer}
    layers = [node for node in after.graph.node if node.op_type in ("Conv", "Gemm")]
    assert {constants[node.input[2]].data_type for node in layers} == {onnx.TensorProto.FLOAT}


def test_of_a_sum_the_residual_alone_passes_through_eight_bits() -> None:
    after = quantized(block())

    made = producers(after)
    (addition,) = [node for node in after.graph.node if node.op_type == "Add"]
    assert [made[name].op_type for name in addition.input] == ["Conv", "DequantizeLinear"]


def test_every_reader_of_an_activation_reads_the_same_eight_bits() -> None:
    after = quantized(block())

    activations = [
        node.input[0]
        for node in after.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in producers(after)
    ]
    assert len(activations) == len(set(activations)) == 2  # what the block reads and what it gives


def test_pooling_works_in_eight_bits_with_the_scale_of_what_it_reads() -> None:
    model = block(pooled=True)

    after = quantized(model)

    made = producers(after)
    (pool,) = [node for node in after.graph.node if node.op_type == "MaxPool"]
    (behind,) = [node for node in after.graph.node if node.input[0] == pool.output[0]]
    constants = {item.name: numpy_helper.to_array(item) for item in after.graph.initializer}
    before = made[pool.input[0]]
    assert (before.op_type, behind.op_type) == ("DequantizeLinear", "QuantizeLinear")
    assert constants[before.input[1]] == constants[behind.input[1]]
    assert pool.output[0] not in wanted(model)


def test_weights_with_outputs_last_are_turned() -> None:
    graph = SmallGraph()
    flat = graph.node("Flatten", "picture", axis=1)
    model = graph.close(graph.node("Gemm", flat, graph.constant(graph.random.normal(size=[288, 5]))), ["batch", 5])

    after = quantized(model)

    inputs = random_inputs(model)
    assert np.abs(run(model, inputs)["result"] - run(after, inputs)["result"]).max() < 0.5  # of a spread of 10


@pytest.mark.parametrize("seed", range(3))
def test_random_networks_keep_their_meaning(seed: int) -> None:
    model = for_target(residual_network(seed), "gpu-dense")

    inputs = random_inputs(model, batch=8)
    before, after = run(model, inputs)["result"], run(quantized(model), inputs)["result"]

    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.99


def test_what_is_kept_is_not_touched() -> None:
    keep = manifest_of("expression").keep_fp16
    assert keep is not None
    model = for_target(own_model("expression"), "gpu")

    after = quantized(model, keep.nodes)

    made = producers(after)
    kept = [node for node in after.graph.node if node.output[0] in keep.nodes]
    assert [node.output[0] for node in kept] == list(keep.nodes)
    assert "DequantizeLinear" not in {made[node.input[0]].op_type for node in kept}
    assert not any(node.input[1] in made for node in kept)
    fewer = len(kept) + len({node.input[0] for node in kept})  # weights of each, and what they read
    assert count_nodes(after)["QuantizeLinear"] == count_nodes(quantized(model))["QuantizeLinear"] - fewer


def test_halves_of_a_slope_lose_no_more_than_the_slope() -> None:
    """In eight bits both halves have the scale of the whole, and one of them is always zero."""
    model = for_target(residual_network(), "gpu-residual")
    inputs = random_inputs(model, batch=8)
    exact = run(model, inputs)["result"]

    errors = {
        target: np.abs(run(quantized(for_target(model, target)), inputs)["result"] - exact).mean()
        for target in ("gpu-residual", "gpu")
    }

    assert errors["gpu"] == pytest.approx(errors["gpu-residual"], rel=0.1)


def test_a_face_in_eight_bits_has_its_landmarks_where_they_were(
    models: Path, original: dict[str, npt.NDArray[Any]]
) -> None:
    model = for_target(fetched_model(models, "face_landmarks"), "gpu-dense")
    tilted, upright = (original[name].transpose(2, 0, 1).astype(np.float32) / 255 for name in ("tilted", "upright"))
    ranges = activation_ranges(model, wanted(model), {"image": np.stack([tilted, tilted[:, :, ::-1]])})

    after = quantize(model, ranges)

    seen = {"image": np.stack([upright])}
    difference_px = np.abs(run(model, seen)["landmarks"] - run(after, seen)["landmarks"])
    assert difference_px.mean() < 1.0  # ranges of one picture, every layer in eight bits


def test_a_network_of_16_bits_gets_scales_of_16_bits() -> None:
    model = for_target(own_model("viseme"), "gpu")
    ranges = activation_ranges(model, wanted(model), random_inputs(model))

    after = quantize(to_fp16(model), ranges)

    inputs = random_inputs(model)
    difference = np.abs(run(model, inputs)["visemes"] - run(after, inputs)["visemes"])
    assert difference.max() < 0.05
    assert [item.version for item in after.opset_import] == [19]
    scales = {node.input[1] for node in after.graph.node if node.op_type == "QuantizeLinear"}
    types = {item.data_type for item in after.graph.initializer if item.name in scales}
    assert types == {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}  # the heads stay in 32 bits


def test_an_activation_without_a_range_is_named() -> None:
    with pytest.raises(EngineError, match="no range for picture, relu_1"):
        quantize(block(), {})


def test_a_node_to_keep_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match="none named nowhere"):
        quantize(block(), {}, ["nowhere"])


def test_ranges_are_wanted_in_the_order_of_execution() -> None:
    assert wanted(block())[0] == "picture"
    assert len(wanted(block())) == 3
