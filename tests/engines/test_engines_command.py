"""``appliance engines`` on a machine made of a folder: a driver that names a GPU, and TensorRT's builder.

The driver is a small library compiled here; the builder is TensorRT for RTX, which needs no GPU, under TensorRT's name.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from boards import driver, key, put
from onnx import TensorProto, helper

from engines.board import Board
from engines.keys import Wanted, choose_engine
from engines.networks import network
from engines.precision import against
from engines.ranges import Ranges, write_ranges
from engines.store import Key, Store

HERE = Board("11.0.0", "Orin (nvgpu)", "8.7", "", "")
BATCHES = "batch 1 2..8; level 3; STRONGLY_TYPED; preparation 2"
PYCUDA = """
class Error(Exception): pass
class MemoryError(Error): pass
class Stream: pass
class Device:
    def __init__(self, number): raise Error("this driver runs nothing")
def init(): pass
"""


class Bench:
    """A machine in a folder; it builds, and cannot run what it built."""

    def __init__(self, folder: Path, gpus: int = 1) -> None:
        self.folder = folder
        (folder / "site/pycuda").mkdir(parents=True)
        (folder / "site/pycuda/__init__.py").touch()
        (folder / "site/pycuda/driver.py").write_text(PYCUDA)
        (folder / "site/tensorrt.py").write_text('from tensorrt_rtx_bindings import *\n__version__ = "11.0.0"\n')
        driver(folder, gpus=gpus)
        self.store = Store(folder / "storage/engines")

    def run(self, *words: str, limit: str = "") -> "subprocess.CompletedProcess[str]":
        command, environment = self.command(words)
        shell = ["bash", "-c", f'{limit} exec "$@"', "bash", *command]
        return subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False, env=environment)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        command, environment = self.command(words)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)

    def command(self, words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        command = [sys.executable, "-W", "ignore", "-m", "appliance", "engines", *words]
        command += ["--set", f"storage.directory={self.folder / 'storage'}"]
        environment = {"LD_LIBRARY_PATH": str(self.folder), "PYTHONPATH": str(self.folder / "site")}
        return command, {**os.environ, **environment}

    def onnx(self, name: str = "mine", operator: str = "Relu", *shape: int | str) -> str:
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or ("batch", 3))]
        outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape or ("batch", 3))]
        domain = "" if operator == "Relu" else "elsewhere"
        nodes = [helper.make_node(operator, ["x"], ["y"], name="only", domain=domain)]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
        graph = helper.make_graph(nodes, "small", inputs, outputs)
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), self.folder / f"{name}.onnx")
        return str(self.folder / f"{name}.onnx")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line for line in done.stderr.splitlines() if line.startswith("appliance: ")]
    assert (done.returncode, len(lines)) == (1, 1), done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def test_what_is_no_onnx_file_is_one_line(bench: Bench) -> None:
    (bench.folder / "mine.onnx").write_bytes(b"no network at all")

    assert "mine.onnx must be an ONNX file" in one_line(bench.run("build", str(bench.folder / "mine.onnx")))


def test_an_operator_that_tensorrt_has_not_is_named(bench: Bench) -> None:
    said = one_line(bench.run("build", bench.onnx(operator="Wobble"), "--set", "engines.precision=fp32"))

    assert "Wobble" in said
    assert "only" in said


def test_an_open_size_without_a_profile_is_named(bench: Bench) -> None:
    said = one_line(bench.run("build", bench.onnx("mine", "Relu", "batch", 3, "height", 8)))

    assert "input x must have" in said
    assert "[batch, 3, height, 8]" in said


def test_the_calibration_of_another_network_is_one_line(bench: Bench) -> None:
    folder = bench.folder / "storage/calibration/mine"
    folder.mkdir(parents=True)
    write_ranges(Ranges("mine", "another file", "mse", {"x": (0.0, 1.0)}, 9), folder / "ranges.json")

    said = one_line(bench.run("build", bench.onnx()))

    assert "got those of mine (another file, gpu-stacked)" in said
    assert "appliance calibrate ranges" in said


def engine_key(path: str, precision: str = "fp16") -> Key:
    known = network(path, Path())
    return replace(key("mine", precision, HERE, ""), onnx_sha256=known.onnx_sha256, manifest_sha256="", build=BATCHES)


def test_an_engine_of_this_machine_is_ready(bench: Bench) -> None:
    path = bench.onnx()
    put(bench.store, engine_key(path))

    done = bench.run("list", path, "--json", "--set", "engines.precision=fp16")

    (row,) = json.loads(done.stdout)
    assert (row["name"], row["state"], row["why"]) == ("mine", "ready", "on 32 held-out inputs")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"tensorrt": "10.3.0"}, "TensorRT 10.3.0 -> 11.0.0"),
        (
            {"gpu": "NVIDIA H200", "compute_capability": "9.0"},
            "GPU NVIDIA H200 -> Orin (nvgpu), compute capability 9.0 -> 8.7",
        ),
        ({"power_mode": "15W"}, "power mode 15W -> none"),
    ],
)
def test_the_plan_of_another_board_or_version_is_absent_and_why(
    bench: Bench, changed: dict[str, str], why: str
) -> None:
    path = bench.onnx()
    put(bench.store, replace(engine_key(path), board=replace(HERE, **changed)))

    listed = bench.run("list", path, "--json", "--set", "engines.precision=fp16")
    verified = bench.run("verify", path, "--set", "engines.precision=fp16")

    (row,) = json.loads(listed.stdout)
    assert (row["state"], row["why"]) == ("absent", why)
    assert why in one_line(verified)
    assert "appliance engines build" in one_line(verified)


@pytest.mark.parametrize("kept", [None, 3])
def test_a_truncated_or_bit_flipped_plan_is_refused_before_tensorrt_sees_it(bench: Bench, kept: int | None) -> None:
    path = bench.onnx()
    plan = bench.folder / "storage/engines" / put(bench.store, engine_key(path), b"a plan of some length").plan
    content = plan.read_bytes()
    plan.write_bytes(content[:kept] if kept else content[:9] + bytes([content[9] ^ 4]) + content[10:])

    (row,) = json.loads(bench.run("list", path, "--json", "--set", "engines.precision=fp16").stdout)
    said = one_line(bench.run("bench", path, "--set", "engines.precision=fp16"))

    assert (row["state"], row["why"]) == ("damaged", "its SHA-256 is not the recorded one")
    assert "must have SHA-256" in said


def test_no_driver_is_one_line(bench: Bench) -> None:
    (bench.folder / "libcuda.so.1").unlink()

    assert "this machine has no NVIDIA driver" in one_line(bench.run("build"))


def test_no_gpu_is_one_line(tmp_path: Path) -> None:
    assert "this machine has no GPU that the driver knows" in one_line(Bench(tmp_path, gpus=0).run("build"))


def test_no_tensorrt_is_one_line(bench: Bench) -> None:
    (bench.folder / "site/tensorrt.py").unlink()

    assert "TensorRT cannot be imported" in one_line(bench.run("list"))


def test_a_gpu_that_fails_while_it_verifies_is_one_line_and_leaves_nothing(bench: Bench) -> None:
    said = one_line(bench.run("build", bench.onnx(), "--set", "engines.precision=fp32"))

    assert "failed on the GPU: this driver runs nothing" in said
    assert not list((bench.folder / "storage/engines").glob("*.plan"))


def test_a_boot_leaves_engines_that_are_there_alone(bench: Bench) -> None:
    path = bench.onnx()
    put(bench.store, engine_key(path))

    done = bench.run("prepare", path, "--set", "engines.precision=fp16")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def int8_key(bench: Bench, path: str) -> Key:
    """Of an engine with ranges of this site."""
    known, folder = network(path, Path()), bench.folder / "storage/calibration/mine"
    ranges = Ranges("mine", known.onnx_sha256, "mse", {"x": (0.0, 1.0)}, 9)
    folder.mkdir(parents=True)
    write_ranges(ranges, folder / "ranges.json")
    return replace(engine_key(path, "int8"), calibration_sha256=ranges.sha256())


def test_a_boot_holds_an_int8_engine_against_fp16_that_no_build_has(bench: Bench) -> None:
    path = bench.onnx()
    put(bench.store, int8_key(bench, path))

    (row,) = json.loads(bench.run("list", path, "--json").stdout)
    said = bench.run("prepare", path).stderr

    assert (row["precision"], row["state"]) == ("int8", "untimed")
    assert "mine: int8 stays if it is faster than fp16\nbuilding mine in fp16" in said


def test_fp16_that_was_faster_is_listed_as_chosen_and_not_as_a_fallback(bench: Bench) -> None:
    path = bench.onnx()
    put(bench.store, engine_key(path))
    bench.store.refuse(int8_key(bench, path), against(0.3, 0.2))

    (row,) = json.loads(bench.run("list", path, "--json").stdout)

    assert (row["precision"], row["state"], row["fallback"]) == ("fp16", "ready", "")
    assert row["timed"] == against(0.3, 0.2)


def test_a_boot_builds_engines_that_are_absent(bench: Bench) -> None:
    said = one_line(bench.run("prepare", bench.onnx(), "--set", "engines.precision=fp32"))

    assert "failed on the GPU: this driver runs nothing" in said


def test_a_boot_builds_nothing_where_a_processor_runs_networks(bench: Bench) -> None:
    (bench.folder / "libcuda.so.1").unlink()

    assert bench.run("prepare").returncode == 0
    assert not (bench.folder / "storage/engines").exists()


def test_a_full_disk_is_one_line_and_leaves_the_engine_that_was_there(bench: Bench) -> None:
    path = bench.onnx()
    put(bench.store, replace(engine_key(path), board=replace(HERE, tensorrt="10.3.0")), b"the last good engine")
    before = sorted(file.name for file in (bench.folder / "storage/engines").iterdir())

    said = one_line(bench.run("build", path, "--set", "engines.precision=fp32", limit="trap '' XFSZ; ulimit -f 0;"))

    assert "must have room for" in said
    assert sorted(file.name for file in (bench.folder / "storage/engines").iterdir()) == before


def checked(bench: Bench, precision: str) -> list[tuple[str, str, str]]:
    """What ``appliance check`` finds of the engines of a device that listens: verdict, text and cure."""
    config = bench.folder / "appliance.toml"
    config.write_text(f"""
[storage]
directory = "{bench.folder / "storage"}"
[engines]
precision = "{precision}"
[broker]
url = "mqtt://127.0.0.1:9"
[[microphone]]
name = "mic0"
source = "file:{bench.folder / "none.wav"}"
""")
    command, environment = bench.command([])
    words = [*command[: command.index("engines")], "check", "--config", str(config), "--json"]

    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment)

    found = [finding for finding in json.loads(done.stdout) if finding["subject"] == "engine"]
    return [(one["verdict"], one["text"], one["cure"]) for one in found]


def test_check_says_which_engine_is_absent_and_how_to_build_it(bench: Bench) -> None:
    assert checked(bench, "fp16") == [("stop", "no fp16 engine of viseme: never built here", "appliance engines build")]


def test_check_finds_fp16_that_was_faster_fine(bench: Bench) -> None:
    wanted = Wanted("int8", bench.folder / "storage/engines", bench.folder / "storage/calibration")
    viseme = network("viseme", bench.folder)
    with bench.store.locked(print):
        bench.store.refuse(choose_engine(viseme, wanted, HERE, bench.store).key, against(0.3, 0.2))
    put(bench.store, choose_engine(viseme, wanted, HERE, bench.store).key)

    assert checked(bench, "int8") == [("fine", f"viseme is there in fp16: {against(0.3, 0.2)}", "")]


STUCK = """
import ctypes
def Builder(log):
    print("building", flush=True)
    ctypes.PyDLL(None).sleep(60)  # as TensorRT does: the process hears nothing meanwhile
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_in_mid_build_ends_it_at_once_and_leaves_no_debris(bench: Bench, number: signal.Signals) -> None:
    path = bench.onnx()
    put(bench.store, replace(engine_key(path), board=replace(HERE, tensorrt="10.3.0")), b"the last good engine")
    before = sorted(file.name for file in (bench.folder / "storage/engines").iterdir())
    with (bench.folder / "site/tensorrt.py").open("a") as module:
        module.write(STUCK)

    building = bench.start("build", path, "--set", "engines.precision=fp16")
    assert building.stdout is not None
    assert building.stdout.readline() == "building\n"
    building.send_signal(number)

    assert building.wait(10) == -number
    assert sorted(file.name for file in (bench.folder / "storage/engines").iterdir()) == before
    with bench.store.locked(lambda _: pytest.fail("the lock is still held")):
        pass


def test_pruning_says_what_went(bench: Bench) -> None:
    for age, version in enumerate(("8.6.0", "10.3.0")):
        put(bench.store, replace(key(), board=replace(HERE, tensorrt=version)), built_utc_s=age)

    done = bench.run("prune", "--set", "engines.precision=fp16")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".plan") == 1
    assert len(bench.store.records()) == 1


def test_a_network_is_split_where_it_is_told(bench: Bench, tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["mid"]), helper.make_node("Neg", ["mid"], ["y"])]
    edges = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", 3)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "two", edges[:1], edges[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "two.onnx")

    done = bench.run("split", str(tmp_path / "two.onnx"), "--at", "mid", "--out", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert [line.split(": ")[1] for line in done.stdout.splitlines()] == ["x -> mid", "mid -> y"]
    assert [len(onnx.load(tmp_path / f"two_{number}.onnx").graph.node) for number in (1, 2)] == [1, 1]


def test_splitting_at_a_tensor_that_is_not_there_names_it(bench: Bench) -> None:
    assert "nowhere" in one_line(bench.run("split", bench.onnx(), "--at", "nowhere"))


def test_a_manifest_of_somebodys_network_that_is_wrong_is_one_line(bench: Bench) -> None:
    (bench.folder / "mine").mkdir()
    (bench.folder / "mine/model.toml").write_text('onnx = "net.onnx"\n')

    said = one_line(bench.run("build", str(bench.folder / "mine/model.toml")))

    assert said.endswith("missing or unknown: input, output")
