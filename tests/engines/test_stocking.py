"""From a network to its engine in the store: prepared, built without a GPU, held against FP32, kept or refused.

The builder is real; what a plan computes is taken from ONNX Runtime, which runs the very file that was built.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorrt_rtx_bindings
from boards import ORIN
from onnx import TensorProto, helper, numpy_helper

from engines.build import Library, Options, Tell, build_plan
from engines.errors import EngineError
from engines.keys import NO_RANGES, Wanted
from engines.networks import Network, network
from engines.opening import open_runner
from engines.ranges import Range, Ranges, write_ranges
from engines.runners import Float32, Runner
from engines.stocking import MIXED, NO_HELD_OUT, Machine, Workshop
from engines.store import Store
from engines.verifying import Samples

pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")

GOOD: dict[str, Range] = {"x": (-3.0, 3.0), "hidden": (0.0, 12.0)}
BAD: dict[str, Range] = {"x": (-0.01, 0.01), "hidden": (0.0, 0.01)}
RTX = Library(tensorrt_rtx_bindings, (11, 0))
RNG = np.random.default_rng(5)


@pytest.fixture
def small(tmp_path: Path) -> Network:
    """Two dense layers with a ReLU between."""
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["dense"], transB=1),
        helper.make_node("Relu", ["dense"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w1", "b1"], ["y"], transB=1),
    ]
    rng = np.random.default_rng(1)
    constants = {
        "w0": rng.standard_normal((32, 16)),
        "b0": rng.standard_normal(32),
        "w1": rng.standard_normal((8, 32)),
        "b1": rng.standard_normal(8),
    }
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "small.onnx")
    return network(str(tmp_path / "small.onnx"), tmp_path)


class Site:
    """A device in a folder."""

    def __init__(self, folder: Path, small: Network, precision: str = "int8") -> None:
        self.folder, self.small = folder, small
        self.wanted = Wanted(precision, folder / "engines", folder / "calibration")
        self.store = Store(self.wanted.engines)
        self.said: list[str] = []
        self.built: dict[bytes, bytes] = {}  # plans, and what each was built from
        self.times: list[float] = []

    def calibrate(self, ranges: dict[str, Range], held_out: bool = True) -> None:
        folder = self.wanted.calibration / "small"
        folder.mkdir(parents=True, exist_ok=True)
        write_ranges(Ranges("small", self.small.onnx_sha256, "percentile", ranges, 64), folder / "ranges.json")
        if held_out:
            np.savez(folder / "held_out.npz", x=RNG.standard_normal((12, 16)).astype(np.float32))

    def machine(self) -> Machine:
        board = replace(ORIN, tensorrt="11.0.0")
        return Machine(board, lambda: 4 << 30, self.build, self.run, open_runner, self.time)

    def workshop(self) -> Workshop:
        return Workshop(self.machine(), self.store, self.wanted, self.said.append, lambda _: None)

    def build(
        self, content: bytes, name: str, options: Options, workspace: int, cache: bytes, tell: Tell
    ) -> tuple[bytes, bytes]:
        plan, cache = build_plan(RTX, content, name, options, workspace, cache, tell)
        self.built[plan] = content
        return plan, cache

    def run(self, plan: bytes, name: str) -> Runner:
        path = self.folder / f"{name}.built.onnx"
        path.write_bytes(self.built[plan])
        return open_runner(path, "onnxruntime")

    def time(self, _runner: Runner, _samples: Samples) -> float:
        return self.times.pop(0)


@pytest.fixture
def site(tmp_path: Path, small: Network) -> Site:
    return Site(tmp_path, small)


def test_int8_with_this_sites_ranges_is_built_verified_and_kept(site: Site) -> None:
    site.calibrate(GOOD)

    stock = site.workshop().ensure(site.small)

    assert stock.fallback == ""
    assert stock.record.key.precision == "int8"
    assert stock.record.verified_on == "12 held-out inputs"
    assert 0 < stock.record.errors["y"] < 1
    assert site.store.is_whole(stock.record.key)


def test_an_engine_that_is_there_is_not_built_again(site: Site) -> None:
    site.calibrate(GOOD)
    first = site.workshop().ensure(site.small)
    built = len(site.built)

    again = site.workshop().ensure(site.small)

    assert again == first
    assert len(site.built) == built


def test_int8_that_misses_its_tolerance_gives_way_to_fp16_for_good(site: Site) -> None:
    site.calibrate(BAD)

    stock = site.workshop().ensure(site.small)
    built = len(site.built)
    again = site.workshop().ensure(site.small)

    assert stock.record.key.precision == "fp16"
    assert stock.fallback.startswith("misses its tolerance: y ")
    assert again.fallback == stock.fallback
    assert len(site.built) == built
    assert f"small: fp16 in place of int8: {stock.fallback}" in site.said


def test_other_ranges_are_tried_anew_after_a_refusal(site: Site) -> None:
    site.calibrate(BAD)
    site.workshop().ensure(site.small)
    site.calibrate(GOOD)

    assert site.workshop().ensure(site.small).record.key.precision == "int8"


def test_missing_calibration_is_said_and_never_made_up(site: Site) -> None:
    stock = site.workshop().ensure(site.small)

    assert stock.record.key.precision == "fp16"
    assert stock.fallback == NO_RANGES
    assert any("no calibration ranges" in line for line in site.said)


def test_int8_without_inputs_to_verify_it_on_waits_for_them(site: Site) -> None:
    site.calibrate(GOOD, held_out=False)
    without = site.workshop().ensure(site.small)
    site.calibrate(GOOD)

    with_them = site.workshop().ensure(site.small)

    assert (without.record.key.precision, without.fallback) == ("fp16", NO_HELD_OUT)
    assert (with_them.record.key.precision, with_them.fallback) == ("int8", "")


def test_the_calibration_of_another_network_is_one_line(site: Site) -> None:
    site.calibrate(GOOD)
    other = Ranges("small", "of another fle", "percentile", GOOD, 64)
    write_ranges(other, site.wanted.calibration / "small/ranges.json")

    with pytest.raises(EngineError, match=r"must be of small \(.*\), got those of small \(of another f, gpu-stacked\)"):
        site.workshop().ensure(site.small)


def test_ranges_that_lack_a_tensor_name_it(site: Site) -> None:
    site.calibrate({"x": (-3.0, 3.0)})

    with pytest.raises(EngineError, match="no range for hidden"):
        site.workshop().ensure(site.small)


@pytest.mark.parametrize(("int8_ms", "precision"), [(0.3, "fp16"), (0.2, "int8")])
def test_int8_that_is_slower_than_fp16_here_is_not_taken(site: Site, int8_ms: float, precision: str) -> None:
    site.calibrate(GOOD)
    site.times = [int8_ms, 0.25]

    stock = site.workshop().ensure(site.small, tune=True)

    assert stock.record.key.precision == precision
    if precision == "fp16":
        assert stock.fallback == "slower than fp16: 0.300 against 0.250 ms"
    else:
        assert stock.record.timed == "0.200 ms against fp16 0.250 ms"


def test_of_several_forms_the_one_that_is_fastest_here_stays(models: Path, tmp_path: Path) -> None:
    site = Site(tmp_path, network("face_detector", models), "fp16")
    site.times = [0.30, 0.20, 0.25, 0.40]

    stock = site.workshop().ensure(site.small, tune=True)

    measured = [line.split(": form ")[1] for line in site.said if ": form " in line]
    assert len(measured) > 1
    assert f"{stock.record.form}: 0.200 ms" in measured
    assert stock.record.timed == "; ".join(measured)
    assert len(site.store.records()) == 1


def test_eight_bits_are_timed_with_narrow_layers_in_16_too(models: Path, tmp_path: Path) -> None:
    site = Site(tmp_path, network("expression", models))
    site.times = [0.30, 0.20, 0.20, 0.25]  # two forms, then INT8 against FP16

    stock = site.workshop().ensure(site.small, tune=True)

    assert stock.record.key.precision == "int8"
    assert stock.record.form == f"gpu-stacked, {MIXED}"
    assert stock.record.timed.startswith(f"gpu-stacked: 0.300 ms; gpu-stacked, {MIXED}: 0.200 ms; ")


def test_fp16_that_misses_is_an_error_and_the_engine_before_stays(tmp_path: Path, small: Network) -> None:
    site = Site(tmp_path, small, "fp16")
    first = site.workshop().ensure(small)

    class Broken:
        def __call__(self, inputs: Samples) -> dict[str, Float32]:
            return {"y": np.full((len(inputs["x"]), 8), np.nan, np.float32)}

    broken = replace(site.machine(), run_plan=lambda *_: Broken())
    workshop = Workshop(broken, site.store, site.wanted, print, lambda _: None)
    with pytest.raises(EngineError, match=r"the fp16 engine of small misses its tolerance: y nan .*stays"):
        workshop.ensure(small, again=True)
    assert site.store.read(first.record.key)


@pytest.mark.parametrize("name", ["expression", "viseme", "face_landmarks", "face_detector"])
def test_fp16_of_every_network_holds_its_tolerance(models: Path, tmp_path: Path, name: str) -> None:
    site = Site(tmp_path, network(name, models), "fp16")

    stock = site.workshop().ensure(site.small)

    assert stock.record.verified_on.endswith("inputs")
    assert set(stock.record.errors) == set(site.small.tolerance)


@pytest.mark.parametrize("name", ["expression", "viseme"])
def test_int8_of_our_networks_holds_its_tolerance_with_the_ranges_that_ship(tmp_path: Path, name: str) -> None:
    site = Site(tmp_path, network(name, tmp_path))

    stock = site.workshop().ensure(site.small)

    assert (stock.record.key.precision, stock.fallback) == ("int8", "")
    assert stock.record.verified_on.endswith("held-out inputs")
