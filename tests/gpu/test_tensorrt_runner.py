"""TensorRT for real: what is built is run, and computes what ONNX Runtime does."""

import threading
from pathlib import Path

import graphs
import numpy as np
import pytest

from engines.build import SHARED_PROFILES_SINCE, Options, build_plan, flags_for, library
from engines.errors import EngineError
from engines.half import to_fp16
from engines.onnxruntime_runner import OnnxRuntimeRunner
from engines.opening import this_board
from engines.tensorrt_runner import Block, LoadedEngine, TensorRTRunner, free_bytes, open_plan

pytestmark = pytest.mark.gpu

WORKSPACE = 256 << 20


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graphs.small(tmp_path_factory.mktemp("networks") / "small.onnx")


def build(network: Path, precision: str = "fp32", largest_batch: int = 8) -> bytes:
    import onnx

    trt = library()
    model = onnx.load(network)
    if flags_for(trt.version, precision).typed:
        model = to_fp16(model)
    options = Options(precision, largest_batch)
    return build_plan(trt, model.SerializeToString(), "small", options, WORKSPACE, b"", print)[0]


@pytest.fixture(scope="module")
def plan(network: Path) -> bytes:
    return build(network)


def test_the_board_is_read() -> None:
    board = this_board()

    assert board.tensorrt
    assert board.gpu


@pytest.mark.parametrize("batch", [1, 2, 5, 8, 11, 17])
def test_every_batch_computes_what_the_reference_does(network: Path, plan: bytes, batch: int) -> None:
    images = graphs.pictures(batch, 32, batch)
    truth = OnnxRuntimeRunner(network)({"input": images})["output"]

    found = open_plan(plan, "small")({"input": images})["output"]

    np.testing.assert_allclose(found, truth, atol=2e-3)


def test_fp16_is_near(network: Path) -> None:
    images = graphs.pictures(3, 32, 3)
    truth = OnnxRuntimeRunner(network)({"input": images})["output"]

    found = open_plan(build(network, "fp16"), "small")({"input": images})["output"]

    np.testing.assert_allclose(found, truth, atol=0.05)


def test_batches_may_follow_each_other_in_any_order(network: Path, plan: bytes) -> None:
    run, reference = open_plan(plan, "small"), OnnxRuntimeRunner(network)
    for turn, batch in enumerate((1, 8, 1, 3, 2, 8, 1, 5)):
        images = graphs.pictures(batch, 32, turn)
        truth = reference({"input": images})["output"]
        np.testing.assert_allclose(run({"input": images})["output"], truth, atol=2e-3)


def test_a_thread_that_did_not_build_it_may_call(network: Path, plan: bytes) -> None:
    run, images = open_plan(plan, "small"), graphs.pictures(1, 32, 4)
    found: list[np.ndarray] = []

    thread = threading.Thread(target=lambda: found.append(run({"input": images})["output"].copy()))
    thread.start()
    thread.join(20)

    np.testing.assert_allclose(found[0], OnnxRuntimeRunner(network)({"input": images})["output"], atol=2e-3)


def test_several_contexts_share_an_engine_or_are_refused_before_tensorrt_crashes(network: Path, plan: bytes) -> None:
    alone = LoadedEngine(build(network, largest_batch=1), "small")
    images = graphs.pictures(1, 32, 4)
    results = [TensorRTRunner(alone)({"input": images})["output"].copy() for _ in range(4)]
    assert all(np.array_equal(result, results[0]) for result in results)

    shared = LoadedEngine(plan, "small")
    TensorRTRunner(shared)
    if library().version < SHARED_PROFILES_SINCE:
        with pytest.raises(EngineError, match="serves one context"):
            TensorRTRunner(shared)
    else:
        np.testing.assert_array_equal(TensorRTRunner(shared)({"input": images})["output"], results[0])


@pytest.mark.parametrize("damage", ["truncated", "zeros", "empty"])
def test_a_plan_that_does_not_load_is_one_line(plan: bytes, damage: str) -> None:
    content = {"truncated": plan[: len(plan) // 2], "zeros": bytes(4096), "empty": b""}[damage]

    with pytest.raises(EngineError, match=r"does not load the engine of small.*engines build"):
        open_plan(content, "small")


def test_frames_take_no_memory(plan: bytes) -> None:
    run, images = open_plan(plan, "small"), graphs.pictures(2, 32, 4)
    run({"input": images})
    before = free_bytes()

    for _ in range(2000):
        run({"input": images})

    assert free_bytes() == before


def test_more_memory_than_there_is_is_one_line(plan: bytes) -> None:
    engine = LoadedEngine(plan, "small")

    with pytest.raises(EngineError, match="needs more GPU memory"), engine.on_gpu("trying"):
        Block(free_bytes() + (1 << 34), mapped=False)


def test_mapped_memory_needs_no_copies(network: Path, plan: bytes) -> None:
    engine = LoadedEngine(plan, "small")
    engine.unified = True
    images = graphs.pictures(2, 32, 4)

    found = TensorRTRunner(engine)({"input": images})["output"]

    np.testing.assert_allclose(found, OnnxRuntimeRunner(network)({"input": images})["output"], atol=2e-3)


def test_a_graph_is_one_launch_of_few_nodes(plan: bytes) -> None:
    assert 3 <= open_plan(plan, "small").nodes() <= 30


def test_an_operator_that_tensorrt_has_not_is_named(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    edges = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in "xy"]
    nodes = [helper.make_node("Wobble", ["x"], ["y"], name="only", domain="elsewhere")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    model = helper.make_model(helper.make_graph(nodes, "g", edges[:1], edges[1:]), opset_imports=opsets, ir_version=8)

    with pytest.raises(EngineError, match="Wobble"):
        build_plan(library(), model.SerializeToString(), "small", Options("fp32"), WORKSPACE, b"", print)
