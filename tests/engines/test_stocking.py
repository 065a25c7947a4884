"""From a network to its engine in the store: prepared, built without a GPU, held against FP32, kept or refused.

The builder is real; what a plan computes is taken from ONNX Runtime, which runs the very file that was built.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorrt_rtx_bindings
from boards import ORIN
from onnx import TensorProto, helper, numpy_helper

from engines.build import Library, Options, Tell, build_plan
from engines.errors import EngineError
from engines.keys import NO_RANGES, NOT_FASTER, Wanted, keys_in_use
from engines.networks import Network, network
from engines.opening import open_runner
from engines.ranges import Range, Ranges, write_ranges
from engines.runners import Float32, Runner
from engines.stocking import HEATS, MIXED, NO_HELD_OUT, Machine, Workshop
from engines.store import Store
from engines.verifying import Samples

pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")

GOOD: dict[str, Range] = {"x": (-3.0, 3.0), "hidden": (0.0, 12.0)}
BAD: dict[str, Range] = {"x": (-0.01, 0.01), "hidden": (0.0, 0.01)}
RTX = Library(tensorrt_rtx_bindings, (11, 0))


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
        self.precisions: list[str] = []  # of what was built, in turn
        self.times: Iterator[float] = cycle([0.2, 0.25])  # a race asks for INT8 and FP16 in turn

    def calibrate(self, ranges: dict[str, Range], held_out: bool = True) -> None:
        folder = self.wanted.calibration / "small"
        folder.mkdir(parents=True, exist_ok=True)
        write_ranges(Ranges("small", self.small.onnx_sha256, "percentile", ranges, 64), folder / "ranges.json")
        if held_out:
            inputs = np.random.default_rng(5).standard_normal((12, 16))
            np.savez(folder / "held_out.npz", x=inputs.astype(np.float32))

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
        self.precisions.append(options.precision)
        return plan, cache

    def run(self, plan: bytes, name: str) -> Runner:
        path = self.folder / f"{name}.built.onnx"
        path.write_bytes(self.built[plan])
        return open_runner(path, "onnxruntime")

    def time(self, _runner: Runner, _samples: Samples) -> float:
        return next(self.times)


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


def test_int8_stays_where_it_is_faster_than_fp16_and_its_record_says_so(site: Site) -> None:
    site.calibrate(GOOD)

    stock = site.workshop().ensure(site.small)

    assert stock.record.key.precision == "int8"
    assert stock.record.timed == "0.200 ms against fp16 0.250 ms"
    assert site.precisions == ["int8", "fp16"]


def test_int8_that_is_slower_than_fp16_here_is_not_taken_and_that_is_no_fault(site: Site) -> None:
    site.calibrate(GOOD)
    site.times = cycle([0.3, 0.25])

    stock = site.workshop().ensure(site.small)
    again = site.workshop().ensure(site.small)

    assert (stock.record.key.precision, stock.fallback) == ("fp16", "")
    assert f"small: {NOT_FASTER}: 0.300 against 0.250 ms" in site.said
    assert again == stock
    assert site.precisions == ["int8", "fp16"]


def test_fp16_that_is_there_is_not_built_for_a_race(site: Site) -> None:
    site.calibrate(GOOD)
    workshop = Workshop(site.machine(), site.store, replace(site.wanted, precision="fp16"), print, lambda _: None)
    workshop.ensure(site.small)

    site.workshop().ensure(site.small)

    assert site.precisions == ["fp16", "int8"]


@pytest.mark.parametrize("int8_ms", [0.2, 0.3])
def test_a_race_is_run_once_more_when_asked_and_may_end_otherwise(site: Site, int8_ms: float) -> None:
    site.calibrate(GOOD)
    site.times = cycle([0.5 - int8_ms, 0.25])
    site.workshop().ensure(site.small)
    site.times = cycle([int8_ms, 0.25])

    stock = site.workshop().ensure(site.small, again=True)

    assert stock.record.key.precision == ("int8" if int8_ms < 0.25 else "fp16")
    assert site.precisions == ["int8", "fp16"] * 2


def test_other_work_on_the_gpu_does_not_decide_a_race(site: Site) -> None:
    site.calibrate(GOOD)
    site.times = iter([0.9, 0.25, 0.2, 0.6, 0.4, 0.7])

    stock = site.workshop().ensure(site.small)

    assert stock.record.timed == "0.200 ms against fp16 0.250 ms"


def test_a_race_that_was_cut_short_is_run_by_the_next_build(site: Site) -> None:
    site.calibrate(GOOD)
    site.times = iter([])
    with pytest.raises(StopIteration):
        site.workshop().ensure(site.small)
    (cut,) = (record for record in site.store.records() if record.key.precision == "int8")
    site.times = cycle([0.2, 0.25])

    stock = site.workshop().ensure(site.small)

    assert (cut.is_settled, stock.record.is_settled) == (False, True)
    assert site.precisions == ["int8", "fp16"]


def test_int8_may_be_had_without_a_race(site: Site) -> None:
    site.calibrate(GOOD)

    stock = site.workshop().ensure(site.small, race=False)

    assert (stock.record.key.precision, stock.record.is_settled) == ("int8", False)
    assert site.precisions == ["int8"]


def test_the_winner_of_a_race_survives_pruning_and_is_not_raced_again(site: Site) -> None:
    site.calibrate(GOOD)
    site.times = cycle([0.3, 0.25])
    stock = site.workshop().ensure(site.small)

    site.store.prune(keys_in_use(site.small, site.wanted, stock.record.key.board, site.store))

    assert site.workshop().ensure(site.small) == stock
    assert site.precisions == ["int8", "fp16"]


def test_of_several_forms_the_one_that_is_fastest_here_stays(models: Path, tmp_path: Path) -> None:
    site = Site(tmp_path, network("face_detector", models), "fp16")
    site.times = iter([0.30, 0.20, 0.25, 0.40])

    stock = site.workshop().ensure(site.small, tune=True)

    measured = [line.split(": form ")[1] for line in site.said if ": form " in line]
    assert len(measured) > 1
    assert f"{stock.record.form}: 0.200 ms" in measured
    assert stock.record.timed == "; ".join(measured)
    assert len(site.store.records()) == 1


def test_eight_bits_are_timed_with_narrow_layers_in_16_too(models: Path, tmp_path: Path) -> None:
    site = Site(tmp_path, network("expression", models))
    site.times = iter([0.30, 0.20, *[0.20, 0.25] * HEATS])  # two forms, then INT8 against FP16

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
