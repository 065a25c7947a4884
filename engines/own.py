"""Networks that we trained: they lie in the package, each beside the manifest that says what it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engines.errors import EngineError
from engines.fetch import file_sha256
from engines.manifest import MODELS, Calibration, Kept, Shape, read


@dataclass(frozen=True, slots=True)
class OwnModel:
    """A network of ours; ``engines/training`` holds the script that made it and what it came from."""

    name: str
    licence: str
    made_by: str  # the module that trains it
    sha256: str  # of model.onnx
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    tolerance: Mapping[str, float]  # per output: mean absolute difference from FP32 that an engine may have
    calibration: Calibration | None
    keep_fp16: Kept | None  # None where eight bits do for all of it


def is_own_model(name: str) -> bool:
    """Whether the package holds a network of ours of this name."""
    return (MODELS / name / "own_model.toml").is_file()


def own_model(name: str) -> OwnModel:
    """Read the manifest of one of our networks."""
    return read(MODELS / name / "own_model.toml", OwnModel)


def own_model_path(name: str) -> Path:
    """The verified ONNX file of one of our networks; ``EngineError`` if it is damaged."""
    model, path = own_model(name), MODELS / name / "model.onnx"
    found = file_sha256(path) if path.is_file() else "nothing"
    if found != model.sha256:
        raise EngineError(f"{path} must have SHA-256 {model.sha256}, got {found}; install the appliance again")
    return path
