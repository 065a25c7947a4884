"""Opens a network with the library that this machine has and the settings ask for.

Each library is imported here, when it is asked for: importing ``engines`` costs nothing.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from engines.board import Board, read_board
from engines.build import library
from engines.cuda_driver import read_gpu
from engines.errors import EngineError
from engines.keys import Wanted, choose_engine
from engines.networks import Network
from engines.runners import Runner
from engines.store import Store

RUNNERS = ("auto", "tensorrt", "openvino", "onnxruntime")
_CURES = {
    "tensorrt": "it comes with JetPack (python3-libnvinfer): make the environment with --system-site-packages",
    "pycuda": "install it with: pip install 'avatar-appliance[device]'",
}


@dataclass(frozen=True, slots=True)
class InUse:
    """What runs a network."""

    runner: str
    precision: str
    fallback: str  # why it is not the precision that was asked for; empty where it is
    passed_over: str = ""  # why this site's own ranges are not used


def choose(runner: str = "auto") -> str:
    """The library that will run networks; ``auto`` takes TensorRT where it and a GPU are, then ``processor``'s."""
    _check(runner)
    if runner == "tensorrt":
        _require("tensorrt", "tensorrt")
        _require("pycuda", "tensorrt")
        read_gpu()
        return runner
    if runner == "auto" and has_tensorrt():
        return "tensorrt"
    return processor(runner)


def processor(runner: str = "auto") -> str:
    """The library that runs networks on the processor; ``auto`` takes OpenVINO, about twice as fast, first."""
    _check(runner)
    if runner in ("auto", "tensorrt"):
        runner = "openvino" if _is_installed("openvino") else "onnxruntime"
    _require(runner, runner)
    return runner


def open_network(network: Network, runner: str, wanted: Wanted) -> Runner:
    """Make a network ready to run: on the GPU from the store of engines, or on the processor from its file."""
    if choose(runner) != "tensorrt":
        return open_runner(network.onnx, runner, largest_batch=wanted.faces)
    store = Store(wanted.engines)
    plan = store.read(choose_engine(network, wanted, this_board(), store).key)
    from engines.tensorrt_runner import open_plan

    return open_plan(plan, network.name)


def in_use(network: Network, runner: str, wanted: Wanted) -> InUse:
    """What ``open_network`` opens. The processor runs FP32 whatever is asked for: it gains nothing from fewer bits."""
    chosen = choose(runner)
    if chosen != "tensorrt":
        return InUse(chosen, "fp32", "")
    choice = choose_engine(network, wanted, this_board(), Store(wanted.engines))
    return InUse(chosen, choice.key.precision, choice.fallback, choice.passed_over)


def this_board() -> Board:
    """What engines of this machine depend on; ``EngineError`` without TensorRT, a driver or a GPU."""
    gpu = read_gpu()
    return read_board(str(library().module.__version__), gpu)


def open_runner(path: Path, runner: str = "auto", threads: int = 1, largest_batch: int = 1) -> Runner:
    """Load an ONNX file on the processor, with the library that ``processor`` names, ready for such batches."""
    if processor(runner) == "openvino":
        from engines.openvino_runner import OpenVinoRunner

        return OpenVinoRunner(path, threads, largest_batch)
    from engines.onnxruntime_runner import OnnxRuntimeRunner

    return OnnxRuntimeRunner(path, threads)


def _check(runner: str) -> None:
    if runner not in RUNNERS:
        raise EngineError(f"engines.runner must be one of {', '.join(RUNNERS)}, got {runner!r}")


def has_tensorrt() -> bool:
    """Whether TensorRT, pycuda and a GPU with its driver are here."""
    if not (_is_installed("tensorrt") and _is_installed("pycuda")):
        return False
    try:
        read_gpu()
    except EngineError:
        return False
    return True


def _require(package: str, runner: str) -> None:
    if not _is_installed(package):
        cure = _CURES.get(package, f"install it with: pip install {package}")
        raise EngineError(f"engines.runner = {runner} needs the package {package}; {cure}")


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
