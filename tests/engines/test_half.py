from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from small_graphs import OWN_MODELS, SmallGraph, fetched_model, own_model, random_inputs, residual_network, run

from engines.errors import EngineError
from engines.half import to_fp16
from engines.rewrites import for_target

FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def types(model: onnx.ModelProto) -> dict[str, int]:
    graph = model.graph
    known = {item.name: item.type.tensor_type.elem_type for item in (*graph.input, *graph.value_info, *graph.output)}
    return known | {item.name: item.data_type for item in graph.initializer}


@pytest.mark.parametrize("name", OWN_MODELS)
def test_our_networks_mean_the_same_in_16_bits(name: str) -> None:
    model = for_target(own_model(name), "gpu")

    inputs = random_inputs(model)
    before, after = run(model, inputs), run(to_fp16(model), inputs)

    for output in before:
        assert after[output].dtype == np.float32
        assert np.abs(before[output] - after[output]).max() < 0.005


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_landmarks_in_16_bits_are_a_small_part_of_a_pixel_away(
    models: Path, original: dict[str, npt.NDArray[Any]], target: str
) -> None:
    model = for_target(fetched_model(models, "face_landmarks"), target)
    seen = {"image": original["tilted"].transpose(2, 0, 1)[None].astype(np.float32) / 255}

    before, after = run(model, seen), run(to_fp16(model), seen)

    assert np.abs(before["landmarks"] - after["landmarks"]).mean() < 0.05
    assert np.abs(before["landmarks"] - after["landmarks"]).max() < 0.5


def test_layers_take_16_bits_and_the_last_before_an_output_32() -> None:
    after = to_fp16(for_target(residual_network(), "gpu"))

    convolutions = [node for node in after.graph.node if node.op_type == "Conv"]
    known = types(after)
    assert [{known[name] for name in node.input} for node in convolutions] == [{FLOAT16}] * 4 + [{FLOAT}]
    assert known["picture"] == known["result"] == FLOAT


def test_what_is_computed_from_inputs_alone_stays_in_32_bits() -> None:
    graph = SmallGraph()
    squared = graph.node("Mul", "picture", "picture")  # of 1,000: more than 16 bits hold
    scaled = graph.node("Mul", squared, graph.constant(1e-6))
    hidden = graph.node("Relu", graph.convolve(scaled, [4, 4, 3, 3]))
    model = graph.close(graph.convolve(hidden, [4, 4, 3, 3]), ["batch", 4, 5, 4])

    inputs = {"picture": random_inputs(model)["picture"] * 1000}
    before, after = run(model, inputs)["result"], run(to_fp16(model), inputs)["result"]

    assert np.abs(before - after).max() < 0.01


def test_what_is_kept_stays_in_32_bits() -> None:
    model = for_target(own_model("expression"), "gpu")

    known = types(to_fp16(model, ["taught_dense_0"]))

    assert (known["taught_dense_0"], known["taught_dense_1"]) == (FLOAT, FLOAT16)


def test_an_output_that_is_read_inside_keeps_its_name_and_type() -> None:
    graph = SmallGraph()
    first = graph.convolve("picture", [4, 4, 3, 3])
    hidden = graph.node("Relu", graph.convolve(first, [4, 4, 1, 1]), output="hidden")
    graph.node("Identity", graph.convolve(hidden, [4, 4, 3, 3]), output="result")
    model = graph.model(
        "small", {"picture": ["batch", 4, 9, 8]}, {"hidden": ["batch", 4, 7, 6], "result": ["batch", 4, 5, 4]}
    )

    after = to_fp16(model)

    assert [item.name for item in after.graph.output] == ["hidden", "result"]
    assert {item.type.tensor_type.elem_type for item in after.graph.output} == {FLOAT}
    inputs = random_inputs(model)
    assert np.abs(run(model, inputs)["hidden"] - run(after, inputs)["hidden"]).max() < 0.02


def test_a_node_to_keep_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match="none named nowhere"):
        to_fp16(residual_network(), ["nowhere"])
