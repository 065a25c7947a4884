"""Opens a network with the library that this machine has and the settings ask for.

Each library is imported here, when it is asked for: importing ``engines`` costs nothing.
"""

import importlib.util
from pathlib import Path

from engines.errors import EngineError
from engines.runners import Runner

RUNNERS = ("auto", "tensorrt", "openvino", "onnxruntime")


def choose(runner: str = "auto") -> str:
    """The library that will run networks; ``auto`` takes OpenVINO, about twice as fast on a CPU, first."""
    if runner not in RUNNERS:
        raise EngineError(f"engines.runner must be one of {', '.join(RUNNERS)}, got {runner!r}")
    if runner == "tensorrt":
        raise EngineError("engines.runner = tensorrt is not in this version; use auto, openvino or onnxruntime")
    if runner == "auto":
        runner = "openvino" if _is_installed("openvino") else "onnxruntime"
    if not _is_installed(runner):
        raise EngineError(
            f"engines.runner = {runner} needs the package {runner}; install it with: pip install {runner}"
        )
    return runner


def open_runner(path: Path, runner: str = "auto", threads: int = 1) -> Runner:
    """Load an ONNX file with the library that ``choose`` names."""
    if choose(runner) == "openvino":
        from engines.openvino_runner import OpenVinoRunner

        return OpenVinoRunner(path, threads)
    from engines.onnxruntime_runner import OnnxRuntimeRunner

    return OnnxRuntimeRunner(path, threads)


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
