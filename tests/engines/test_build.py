"""What TensorRT is told, by version, and that a builder which needs no GPU takes our networks."""

from pathlib import Path

import onnx
import pytest
import tensorrt_rtx_bindings
from onnx import TensorProto, helper

from engines.build import (
    WORKSPACE_LEAST,
    WORKSPACE_MOST,
    Flags,
    Library,
    Options,
    build_plan,
    flags_for,
    parse_version,
    profiles,
    workspace_bytes,
)
from engines.errors import EngineError
from engines.networks import network

RTX = Library(tensorrt_rtx_bindings, (11, 0))  # it counts its own versions; its interface is TensorRT 11's
OLD_TACTICS = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
GB = 1 << 30

pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")


@pytest.mark.parametrize(
    ("version", "precision", "flags"),
    [
        ((8, 6), "fp32", Flags(("EXPLICIT_BATCH",), (), OLD_TACTICS, False)),
        ((8, 6), "fp16", Flags(("EXPLICIT_BATCH",), ("FP16",), OLD_TACTICS, False)),
        ((8, 6), "int8", Flags(("EXPLICIT_BATCH",), ("INT8", "FP16"), OLD_TACTICS, False)),
        ((10, 3), "fp16", Flags((), ("FP16",), (), False)),
        ((10, 3), "int8", Flags((), ("INT8", "FP16"), (), False)),
        ((10, 11), "int8", Flags((), ("INT8", "FP16"), (), False)),
        ((10, 12), "fp32", Flags(("STRONGLY_TYPED",), (), (), False)),
        ((10, 16), "fp16", Flags(("STRONGLY_TYPED",), (), (), True)),
        ((10, 16), "int8", Flags(("STRONGLY_TYPED",), (), (), True)),
        ((11, 0), "int8", Flags(("STRONGLY_TYPED",), (), (), True)),
    ],
)
def test_each_version_is_told_what_it_knows(version: tuple[int, int], precision: str, flags: Flags) -> None:
    assert flags_for(version, precision) == flags


def test_every_name_that_the_newest_is_told_exists_there() -> None:
    flags = flags_for(RTX.version, "int8")

    assert all(hasattr(tensorrt_rtx_bindings.NetworkDefinitionCreationFlag, name) for name in flags.network)
    assert all(hasattr(tensorrt_rtx_bindings.BuilderFlag, name) for name in flags.builder)


@pytest.mark.parametrize(("text", "version"), [("8.6.0", (8, 6)), ("10.3.0.26", (10, 3)), ("11.0.0b1", (11, 0))])
def test_a_version_is_its_first_two_numbers(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["8.5.3", "7.1.3", "", "unknown"])
def test_a_version_too_old_is_one_line(text: str) -> None:
    with pytest.raises(EngineError, match=r"TensorRT must be 8\.6 or newer, got .*update JetPack"):
        parse_version(text)


def test_profiles_serve_one_face_alone_and_then_many() -> None:
    assert profiles(1) == [(1, 1, 1)]
    assert profiles(2) == [(1, 1, 1), (2, 2, 2)]
    assert profiles(8) == [(1, 1, 1), (2, 8, 8)]


@pytest.mark.parametrize(("available", "workspace"), [(64 * GB, WORKSPACE_MOST), (3 * GB, (3 * GB - 500 * 2**20) // 2)])
def test_the_workspace_leaves_memory_to_the_system(available: int, workspace: int) -> None:
    assert workspace_bytes(available) == workspace


def test_too_little_memory_to_build_is_said_before_the_board_dies() -> None:
    with pytest.raises(EngineError, match=r"building needs at least 628 MB of available memory, got 600 MB"):
        workspace_bytes(600 << 20)
    assert workspace_bytes(628 << 20) == WORKSPACE_LEAST


@pytest.mark.parametrize("name", ["expression", "viseme", "face_detector", "face_landmarks"])
def test_every_network_of_the_appliance_is_parsed_and_built_for_one_and_for_many(models: Path, name: str) -> None:
    phases: list[str] = []

    plan, _ = build_plan(
        RTX, network(name, models).onnx.read_bytes(), name, Options("fp32"), WORKSPACE_LEAST, b"", phases.append
    )

    assert len(plan) > 100_000
    assert "Building engine" in phases
    assert any("/" in phase for phase in phases)


def graph(*nodes: onnx.NodeProto, shape: tuple[int | str, ...] = ("batch", 3)) -> bytes:
    """A model from x to y."""
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    content: bytes = helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()
    return content


RELU = helper.make_node("Relu", ["x"], ["y"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no network", "TensorRT cannot read small: .*[Ff]ailed to parse"),
        (
            graph(helper.make_node("Wobble", ["x"], ["y"], name="wobble_1", domain="elsewhere")),
            "TensorRT cannot read small: operator Wobble, node wobble_1: ",
        ),
        (graph(helper.make_node("Bernoulli", ["x"], ["y"], name="luck")), "operator Bernoulli, node luck"),
        (graph(RELU, shape=("batch", 3, "height", "width")), r"input x must have a fixed shape .*\(-1, 3, -1, -1\)"),
    ],
    ids=["no ONNX", "operator of elsewhere", "unsupported operator", "open size"],
)
def test_what_cannot_be_built_is_one_line_that_names_it(content: bytes, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        build_plan(RTX, content, "small", Options("fp32"), WORKSPACE_LEAST, b"", print)


def test_a_network_of_one_fixed_batch_needs_no_profile() -> None:
    plan, _ = build_plan(RTX, graph(RELU, shape=(1, 3)), "small", Options("fp32"), WORKSPACE_LEAST, b"", print)

    assert plan


def test_a_timing_cache_that_is_no_cache_costs_nothing_but_time() -> None:
    plan, _ = build_plan(RTX, graph(RELU), "small", Options("fp32"), WORKSPACE_LEAST, b"damaged", print)

    assert plan
