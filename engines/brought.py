"""A network that somebody brings for a stage: their ONNX file, and a ``model.toml`` beside it that says what it takes.

It is put into the form that the stage speaks: RGB from 0 to 1 in, named outputs from 0 to 1 out. What the manifest
says of colours, mean, deviation and activation becomes part of the graph, so engines, calibration and verification
need know nothing of it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.durable import settle
from engines.errors import EngineError
from engines.fetch import aside
from engines.manifest import MODELS, NO_EIGHT_BITS, Calibration, Kept, Shape, read
from engines.ranges import METHODS

if TYPE_CHECKING:
    import onnx

PICTURE, WEIGHTS = "picture", "blendshapes"
"""What the one input and the one output are called once the network is put into form."""

_COLOURS = ("rgb", "bgr")
_ACTIVATIONS = ("none", "sigmoid")
_FORM = 1  # counts changes of what is made of such a network


@dataclass(frozen=True, slots=True)
class Input:
    """The picture that a network takes: batch x 3 x size x size, of 32 bits."""

    tensor: str
    colours: str  # rgb or bgr
    mean: tuple[float, ...]  # of values from 0 to 1, in the network's order of colours
    deviation: tuple[float, ...]  # what the rest is divided by
    side_eyes: float  # how wide the square is, in distances of the outer corners of the eyes
    below_eyes: float  # how far its middle lies under theirs, in the same
    outside: str  # what is seen outside the picture: black, or the edge repeated


@dataclass(frozen=True, slots=True)
class Output:
    """What a network says: batch x channels."""

    tensor: str
    activation: str  # none or sigmoid: what is still to be done to come to 0..1
    channels: tuple[str, ...]  # what each number is; an empty name is one that is not taken


@dataclass(frozen=True, slots=True)
class BroughtModel:
    """The manifest of such a network."""

    name: str  # of the folder that it lies in
    onnx: str  # the file's name, beside the manifest
    input: Input
    output: Output
    tolerance: Mapping[str, float] | None  # of ``blendshapes``: mean absolute difference from FP32
    calibration: Calibration | None
    keep_fp16: Kept | None


def is_brought(name: str) -> bool:
    """Whether a network's name is the path of such a manifest."""
    return name.endswith(".toml")


def brought_model(path: Path, channels: Sequence[str] = ()) -> BroughtModel:
    """Read such a manifest; ``EngineError`` says what is wrong with it. ``channels`` are those that the stage knows."""
    try:
        model = read(path, BroughtModel)
    except OSError as error:
        raise EngineError(f"the manifest {path} cannot be read: {error.strerror}; see engines/README.md") from None
    if not model.name or (MODELS / model.name).exists():
        raise EngineError(f"{path}: its folder must not be named as a network of ours, got {model.name!r}; rename it")
    given, told = model.input, model.output
    _one_of(path, "input.colours", given.colours, _COLOURS)
    _one_of(path, "output.activation", told.activation, _ACTIVATIONS)
    for key, values in (("mean", given.mean), ("deviation", given.deviation)):
        if len(values) != 3 or (key == "deviation" and min(values) <= 0):
            sign = " above 0" if key == "deviation" else ""
            raise EngineError(f"{path}: input.{key} must be three numbers{sign}, got {list(values)}")
    if model.calibration:
        _one_of(path, "calibration.method", model.calibration.method, (*METHODS, NO_EIGHT_BITS))
    if not given.side_eyes > 0:
        raise EngineError(f"{path}: input.side_eyes must be above 0, got {given.side_eyes}")
    named = [name for name in told.channels if name]
    unknown = [name for name in named if channels and name not in channels]
    twice = [name for name in named if named.count(name) > 1]
    if unknown or twice or not named:
        wrong = f"got {(unknown or twice)[0]!r}" if named else "got none"
        raise EngineError(f"{path}: output.channels must be names of the stage's channels, each once, {wrong}")
    return model


def put_into_form(path: Path, models: Path) -> tuple[Path, str, Mapping[str, Shape]]:
    """The network in the form of the stage, made where it is not there yet: its file, SHA-256 and inputs."""
    import google.protobuf.message
    import onnx

    model = brought_model(path)
    source = path.parent / model.onnx
    try:
        content, manifest = source.read_bytes(), path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path}: the network {source} cannot be read: {error.strerror}") from None
    digest = hashlib.sha256(b"%d" % _FORM + hashlib.sha256(content).digest() + manifest).hexdigest()
    made = models / "brought" / f"{model.name}-{digest[:16]}.onnx"
    if not made.is_file():
        try:
            whole = onnx.load_model_from_string(content)
        except google.protobuf.message.DecodeError as error:
            raise EngineError(f"{source} must be an ONNX file: {error}") from None
        formed = in_form(whole, model, source)
        made.parent.mkdir(parents=True, exist_ok=True)
        with aside(made.parent) as folder:
            onnx.save(formed, folder / made.name)
            settle(folder / made.name, made)
    inputs = {PICTURE: _sizes(onnx.load(made, load_external_data=False).graph.input[0])}
    return made, hashlib.sha256(made.read_bytes()).hexdigest(), inputs


def in_form(whole: "onnx.ModelProto", model: BroughtModel, source: Path) -> "onnx.ModelProto":
    """Write what the manifest says into the graph; ``EngineError`` where the two do not go together."""
    import numpy as np
    from onnx import helper, numpy_helper

    graph, given, told = whole.graph, model.input, model.output
    if not graph.node:
        raise EngineError(f"{source} must be an ONNX file, and holds no operator")
    shape = _checked_input(graph, given.tensor, source)
    _checked_output(whole, told, source)
    inside = {given.tensor: f"{given.tensor}_normalised", told.tensor: f"{told.tensor}_as_made"}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [inside.get(name, name) for name in names]
    constants = {
        "brought_colours": np.array([2, 1, 0]),
        "brought_gain": (1 / np.array(given.deviation)).reshape(1, 3, 1, 1).astype(np.float32),
        "brought_shift": (-np.array(given.mean) / given.deviation).reshape(1, 3, 1, 1).astype(np.float32),
        "brought_low": np.float32(0),
        "brought_high": np.float32(1),
    }
    turned = given.colours == "bgr"
    before: list[tuple[str, list[str], str, dict[str, Any]]] = [
        *([("Gather", [PICTURE, "brought_colours"], "brought_ordered", {"axis": 1})] if turned else []),
        ("Mul", ["brought_ordered" if turned else PICTURE, "brought_gain"], "brought_scaled", {}),
        ("Add", ["brought_scaled", "brought_shift"], inside[given.tensor], {}),
    ]
    limits = ["brought_low", "brought_high"]
    after: list[tuple[str, list[str], str, dict[str, Any]]] = [("Clip", [inside[told.tensor], *limits], WEIGHTS, {})]
    if told.activation == "sigmoid":
        after = [("Sigmoid", [inside[told.tensor]], WEIGHTS, {})]
    nodes = [
        *(helper.make_node(operator, names, [made], name=made, **about) for operator, names, made, about in before),
        *graph.node,
        *(helper.make_node(operator, names, [made], name=made, **about) for operator, names, made, about in after),
    ]
    weights = [
        *graph.initializer,
        *(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()),
    ]
    return _checked(nodes, weights, shape, whole, model, source)


def _checked(
    nodes: list[Any], weights: list[Any], shape: Shape, whole: "onnx.ModelProto", model: BroughtModel, source: Path
) -> "onnx.ModelProto":
    """A network of these nodes, which ONNX finds no fault with."""
    import onnx
    from onnx import TensorProto, helper

    formed = helper.make_graph(
        nodes,
        model.name,
        [helper.make_tensor_value_info(PICTURE, TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(WEIGHTS, TensorProto.FLOAT, [shape[0], len(model.output.channels)])],
        weights,
    )
    made = helper.make_model(formed, opset_imports=list(whole.opset_import), ir_version=min(whole.ir_version, 8))
    try:
        onnx.checker.check_model(made)
    except onnx.checker.ValidationError as error:
        raise EngineError(f"{source} is no valid ONNX network: {' '.join(str(error).split())[:200]}") from None
    return made


def _checked_input(graph: Any, name: str, source: Path) -> Shape:
    """The shape of the picture's tensor."""
    from onnx import TensorProto

    constants = {entry.name for entry in graph.initializer}
    entries = [entry for entry in graph.input if entry.name not in constants]
    names = [entry.name for entry in entries]
    if names != [name]:
        raise EngineError(
            f"{source} must have one input, {name} as its manifest says, got {', '.join(names) or 'none'}; "
            "correct input.tensor or export the network so"
        )
    sizes = _sizes(entries[0])
    is_picture = len(sizes) == 4 and sizes[1] == 3 and isinstance(sizes[2], int) and sizes[2] == sizes[3]
    if not is_picture or entries[0].type.tensor_type.elem_type != TensorProto.FLOAT or sizes[0] not in ("batch", 1):
        shown = ", ".join(map(str, sizes))
        raise EngineError(
            f"{source}: input {name} must be of 32 bits, [batch or 1, 3, size, size], got [{shown}]; export it so"
        )
    return sizes


def _checked_output(whole: Any, told: Output, source: Path) -> None:
    import onnx

    names = [entry.name for entry in whole.graph.output]
    if told.tensor not in names:
        raise EngineError(f"{source} has no output {told.tensor}, it has {', '.join(names)}; correct output.tensor")
    try:
        known = onnx.shape_inference.infer_shapes(whole).graph.output
    except onnx.shape_inference.InferenceError as error:
        raise EngineError(f"{source} is no valid ONNX network: {' '.join(str(error).split())[:200]}") from None
    sizes = next(_sizes(entry) for entry in known if entry.name == told.tensor)
    if len(sizes) != 2 or (isinstance(sizes[1], int) and sizes[1] != len(told.channels)):
        shown = ", ".join(map(str, sizes))
        raise EngineError(
            f"{source}: output {told.tensor} must be [batch, {len(told.channels)}], a number for each of "
            f"output.channels, got [{shown}]"
        )


def _sizes(entry: Any) -> Shape:
    """A tensor's shape; an open batch is named so."""
    sizes = [size.dim_value or size.dim_param or "?" for size in entry.type.tensor_type.shape.dim]
    return ("batch" if isinstance(sizes[0], str) else sizes[0], *sizes[1:]) if sizes else ()


def _one_of(path: Path, key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise EngineError(f"{path}: {key} must be one of {', '.join(allowed)}, got {value!r}")
