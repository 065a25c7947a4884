from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from small_graphs import SmallGraph, choosing_network, fetched_model, own_model, random_inputs, residual_network, run

from engines.errors import EngineError
from engines.split import split


def run_in_sequence(stages: Sequence[onnx.ModelProto], inputs: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    values = dict(inputs)
    for stage in stages:
        values |= run(stage, {item.name: values[item.name] for item in stage.graph.input})
    return values


def assert_stages_equal_the_whole(model: onnx.ModelProto, stages: Sequence[onnx.ModelProto]) -> None:
    inputs = random_inputs(model)
    whole, parts = run(model, inputs), run_in_sequence(stages, inputs)
    for name, expected in whole.items():
        np.testing.assert_allclose(parts[name], expected, rtol=1e-4, atol=1e-5)


def names(items: Any) -> list[str]:
    return [item.name for item in items]


@pytest.mark.parametrize("cuts", [[["prelu_15"]], [["prelu_15"], ["conv_84", "prelu_83"]]], ids=str)
def test_the_landmark_network_in_stages_gives_what_the_whole_gives(models: Path, cuts: list[list[str]]) -> None:
    model = fetched_model(models, "face_landmarks")

    stages = split(model, cuts)

    assert len(stages) == len(cuts) + 1
    assert sum(len(stage.graph.node) for stage in stages) == len(model.graph.node)
    assert_stages_equal_the_whole(model, stages)


def test_inputs_and_outputs_go_to_the_stages_that_have_to_do_with_them() -> None:
    model = own_model("viseme")

    first, second = split(model, [["inner_6"]])

    assert "state_0" in names(first.graph.input)
    assert "state_12" not in names(first.graph.input)
    assert set(names(second.graph.input)) == {"inner_6", *(f"state_{index}" for index in range(7, 13))}
    assert "next_0" in names(first.graph.output)
    assert {"visemes", "visemes_40ms"} <= set(names(second.graph.output))
    assert_stages_equal_the_whole(model, [first, second])


@pytest.mark.parametrize("seed", range(3))
def test_random_networks_in_stages_give_what_the_whole_gives(seed: int) -> None:
    model = residual_network(seed)
    single = [
        node.output[0] for node in model.graph.node if node.op_type == "PRelu" or node.op_type == "Add"
    ]  # nothing passes beside these

    for count in (1, 2, len(single)):
        assert_stages_equal_the_whole(model, split(model, [[name] for name in single[:count]]))


def test_constants_that_both_sides_need_go_into_both() -> None:
    graph = SmallGraph()
    shared = graph.constant(graph.random.normal(size=[4, 4, 3, 3]))
    first = graph.node("Conv", "picture", shared)
    model = graph.close(graph.node("Conv", first, shared), ["batch", 4, 5, 4])

    stages = split(model, [[first]])

    assert [names(stage.graph.initializer) for stage in stages] == [[shared], [shared]]
    assert_stages_equal_the_whole(model, stages)


def test_an_output_at_the_cut_is_given_once_and_read_by_the_next_stage() -> None:
    graph = SmallGraph()
    graph.node("Relu", "picture", output="seen")
    graph.node("Neg", "seen", output="result")
    shape = ["batch", 4, 9, 8]
    model = graph.model("small", {"picture": shape}, {"seen": shape, "result": shape})

    first, second = split(model, [["seen"]])

    assert names(first.graph.output) == ["seen"]
    assert (names(second.graph.input), names(second.graph.output)) == (["seen"], ["result"])
    assert_stages_equal_the_whole(model, [first, second])


def test_a_cut_that_does_not_separate_names_what_crosses_it() -> None:
    with pytest.raises(EngineError, match=r"the cut at conv_2 does not separate: prelu_1 cross"):
        split(residual_network(), [["conv_2"]])


def test_a_cut_at_what_the_network_does_not_compute_is_named() -> None:
    with pytest.raises(EngineError, match="it computes no 'picture'"):
        split(residual_network(), [["picture"]])


def test_a_cut_with_nothing_after_it_is_named() -> None:
    with pytest.raises(EngineError, match="at result there is none after"):
        split(residual_network(), [["result"]])


def test_cuts_in_the_wrong_order_are_named() -> None:
    with pytest.raises(EngineError, match="at prelu_1 there is none before"):
        split(residual_network(), [["prelu_5"], ["prelu_1"]])


def test_control_flow_is_refused_by_name() -> None:
    model = choosing_network()
    chosen = model.graph.node[0].output[0]

    with pytest.raises(EngineError, match="operation If"):
        split(model, [[chosen]])
