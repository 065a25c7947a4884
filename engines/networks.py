"""Every network an engine can be built of, wherever it comes from: fetched, ours, or a file that somebody brings."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import manifest
from engines.brought import WEIGHTS, brought_model, is_brought, put_into_form
from engines.errors import EngineError
from engines.fetch import file_sha256, model_path
from engines.manifest import MODELS, Shape
from engines.own import OwnModel, is_own_model, own_model, own_model_path

_TOLERANCE = 0.02
"""What each weight of a network that somebody brought may be off on average, where its manifest does not say."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network as its engine is built and verified from."""

    name: str
    onnx: Path
    onnx_sha256: str
    manifest_sha256: str  # empty where there is none
    inputs: Mapping[str, Shape]  # batch first, the batch named
    tolerance: Mapping[str, float]  # per output; empty where nothing says: then a share of the output's own spread
    keep_fp16: tuple[str, ...] = ()  # what stays in 16 bits where the rest is in eight
    method: str = ""  # how its manifest wants ranges chosen; empty where it does not say
    precision: str = ""  # the only one it is built in; empty where the settings choose
    shared: tuple[str, ...] = ()  # inputs that all of a batch have in common: their first size is 1

    @property
    def eight_bits(self) -> bool:
        """Whether eight bits do for it at all."""
        return self.method != manifest.NO_EIGHT_BITS


def network(name: str, models: Path) -> Network:
    """Find a network by name, by the path of an ONNX file, or by that of a manifest that somebody wrote for theirs.

    ``models`` is the folder of fetched ones.
    """
    if name.endswith(".onnx"):
        return brought(Path(name))
    if is_brought(name):
        return _for_a_stage(Path(name), models)
    if is_own_model(name):
        own = own_model(name)
        return _network(own, own_model_path(name), own.sha256, MODELS / name / "own_model.toml")
    entry = manifest.find_network(name)
    path = model_path(models, name)
    file = "task_model.toml" if isinstance(entry, manifest.TaskModel) else "model.toml"
    return _network(entry, path, file_sha256(path), MODELS / name / file)


def _network(entry: OwnModel | manifest.Model | manifest.TaskModel, onnx: Path, sha256: str, toml: Path) -> Network:
    """A network whose manifest was read."""
    return Network(
        name=entry.name,
        onnx=onnx,
        onnx_sha256=sha256,
        manifest_sha256=file_sha256(toml),
        inputs=entry.inputs,
        tolerance=entry.tolerance,
        keep_fp16=entry.keep_fp16.nodes if entry.keep_fp16 else (),
        method=entry.calibration.method if entry.calibration else "",
    )


def _for_a_stage(path: Path, models: Path) -> Network:
    """A network that somebody brings for a stage, put into its form."""
    entry = brought_model(path)
    onnx, sha256, inputs = put_into_form(path, models)
    kept = entry.keep_fp16.nodes if entry.keep_fp16 else ()
    method = entry.calibration.method if entry.calibration else ""
    tolerance = entry.tolerance or {WEIGHTS: _TOLERANCE}
    return Network(entry.name, onnx, sha256, file_sha256(path), inputs, tolerance, kept, method)


def brought(path: Path) -> Network:
    """A network that is nothing but an ONNX file; its inputs are read from it."""
    import google.protobuf.message
    import onnx  # only here: the daemon's way to an engine needs no graph

    try:
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
    except OSError as error:
        raise EngineError(f"the network {path} cannot be read: {error}") from None
    except google.protobuf.message.DecodeError as error:
        raise EngineError(f"{path} must be an ONNX file: {error}") from None
    if not model.graph.node:
        raise EngineError(f"{path} must be an ONNX file, and holds no operator")
    constants = {constant.name for constant in model.graph.initializer}
    inputs = {entry.name: _shape(entry, path) for entry in model.graph.input if entry.name not in constants}
    return Network(path.stem, path, hashlib.sha256(content).hexdigest(), "", inputs, {})


def _shape(entry: Any, path: Path) -> Shape:
    """The shape of an input; only its first size, the batch, may be open."""
    sizes = [size.dim_value or size.dim_param or "?" for size in entry.type.tensor_type.shape.dim]
    takes_one = bool(sizes) and (isinstance(sizes[0], str) or sizes[0] == 1)
    if not takes_one or not all(isinstance(size, int) for size in sizes[1:]):
        shown = ", ".join(map(str, sizes))
        raise EngineError(
            f"{path}: input {entry.name} must have an open batch or one of 1, then fixed sizes, got [{shown}]; "
            "export the network so"
        )
    return tuple(sizes) if isinstance(sizes[0], int) else ("batch", *sizes[1:])
