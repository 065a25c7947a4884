"""TensorRT's own parser and builder read every form of every network, on machines without a GPU too.

TensorRT for RTX builds without one. It types strictly, as TensorRT 11 does, so what it takes in 32 bits, in
16 and in eight is well formed; that TensorRT 8.6 takes it is for a GPU to show.
"""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import tensorrt_rtx_bindings as tensorrt
from small_graphs import OWN_MODELS, SmallGraph, fetched_model, own_model, residual_network

from engines.half import to_fp16
from engines.quantize import quantize, wanted
from engines.rewrites import TARGETS, for_target

LARGEST_BATCH = 8
NETWORKS = ("face_detector", "face_landmarks", *OWN_MODELS)


def in_eight_bits(model: onnx.ModelProto) -> onnx.ModelProto:
    return quantize(model, dict.fromkeys(wanted(model), (-1.0, 1.0)))


FORMS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "32 bits": lambda model: model,
    "16 bits": to_fp16,
    "eight bits": in_eight_bits,
    "eight and 16 bits": lambda model: quantize(to_fp16(model), dict.fromkeys(wanted(model), (-1.0, 1.0))),
}


class Parser:
    """One network in TensorRT's hands; what it complains of is in ``errors``."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._builder = tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))
        self._network = self._builder.create_network(0)
        parser = tensorrt.OnnxParser(self._network, tensorrt.Logger(tensorrt.Logger.INTERNAL_ERROR))
        parser.parse(model.SerializeToString())
        found = [parser.get_error(index) for index in range(parser.num_errors)]
        self.errors = [f"{error.node_operator()}: {error.desc()}" for error in found]

    def plan(self) -> bytes:
        """Build for batches of one to eight."""
        profile = self._builder.create_optimization_profile()
        for index in range(self._network.num_inputs):
            port = self._network.get_input(index)
            _, *sizes = port.shape
            profile.set_shape(port.name, *((batch, *sizes) for batch in (1, 1, LARGEST_BATCH)))
        configuration = self._builder.create_builder_config()
        configuration.add_optimization_profile(profile)
        plan = self._builder.build_serialized_network(self._network, configuration)
        return b"" if plan is None else bytes(plan)


def network(models: Path, name: str) -> onnx.ModelProto:
    return own_model(name) if name in OWN_MODELS else fetched_model(models, name)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_read_as_it_ships(models: Path, name: str) -> None:
    assert Parser(network(models, name)).errors == []


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_form_of_every_network_is_read(models: Path, name: str, target: str) -> None:
    model = for_target(network(models, name), target)

    assert {form: Parser(change(model)).errors for form, change in FORMS.items()} == {form: [] for form in FORMS}


@pytest.mark.parametrize(
    ("name", "target"), [*((name, "gpu") for name in NETWORKS), ("face_landmarks", "gpu-stacked")], ids=str
)
def test_every_network_is_built_in_a_form_for_a_gpu(models: Path, name: str, target: str) -> None:
    model = for_target(network(models, name), target)

    sizes = {form: len(Parser(change(model)).plan()) for form, change in FORMS.items()}

    assert min(sizes.values()) > 1000
    assert (
        sizes["eight and 16 bits"] < sizes["32 bits"] or name == "face_detector"
    )  # too small for its weights to count


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_form_of_a_small_network_is_built(target: str, form: str) -> None:
    model = FORMS[form](for_target(residual_network(), target))

    assert len(Parser(model).plan()) > 1000


def test_an_operation_that_is_not_known_is_an_error() -> None:
    graph = SmallGraph()
    chosen = graph.node("Det", "picture")
    model = graph.close(chosen, ["batch", 4], ["batch", 4, 8, 8])

    (error,) = Parser(model).errors
    assert error.startswith("Det: ")
