"""What the models are: ``models/<name>/model.toml``, and ``asset.toml`` for files used as they are.

``task_model.toml`` is a network of a file that nobody but its owner may bring: see ``engines.task_file``.
"""

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from engines.errors import EngineError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MODELS = Path(__file__).parent / "models"
Shape = tuple[int | str, ...]
OUTSIDE = ("black", "edge")
NO_EIGHT_BITS = "none"
"""The calibration method of a network that eight bits break: it stays in 16, and nothing is filmed for it."""

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

M = TypeVar("M", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Wheel:
    """One published wheel, whatever interpreter and processor run here."""

    package: str
    version: str
    python: str
    platform: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


@dataclass(frozen=True, slots=True)
class Source:
    """One file inside a wheel."""

    wheel: Wheel
    member: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes the network's input: a square of pixels, 0..255 stretched to low..high."""

    size_px: int
    low: float
    high: float
    outside: str  # what is seen outside the picture: black, or the edge repeated


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a network stays in 16 bits where the rest is in eight."""

    nodes: tuple[str, ...]  # each named by its first output
    why: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """How ranges are taken from what a network was shown."""

    method: str  # one of ``engines.ranges.METHODS``, or ``NO_EIGHT_BITS``


@dataclass(frozen=True, slots=True)
class Model:
    """A third-party network that is converted to ONNX."""

    name: str
    licence: str
    head: str  # what the converter writes after the last operator
    source: Source
    inputs: Mapping[str, Shape]  # batch first, the batch named
    preprocessing: Preprocessing
    outputs: Mapping[str, Shape]
    tolerance: Mapping[str, float]  # per output: mean absolute difference from FP32 that an engine may have
    calibration: Calibration | None
    keep_fp16: Kept | None  # None where eight bits do for all of it


@dataclass(frozen=True, slots=True)
class TaskModel:
    """A network inside a MediaPipe task file that its owner brings; it is converted to ONNX."""

    name: str
    licence: str
    head: str
    member: str  # its name inside the task file
    inputs: Mapping[str, Shape]
    preprocessing: Preprocessing | None  # None where the input is no picture
    outputs: Mapping[str, Shape]
    tolerance: Mapping[str, float]
    calibration: Calibration | None
    keep_fp16: Kept | None


@dataclass(frozen=True, slots=True)
class Asset:
    """A third-party file that is used as it is."""

    name: str
    licence: str
    source: Source


Entry = Model | TaskModel | Asset


def names() -> list[str]:
    """Every model and asset that can be fetched."""
    return sorted(path.parent.name for pattern in ("model", "asset") for path in MODELS.glob(f"*/{pattern}.toml"))


def task_names() -> list[str]:
    """Every network that a task file holds."""
    return sorted(path.parent.name for path in MODELS.glob("*/task_model.toml"))


def load(name: str) -> Model | Asset:
    """Read the manifest of what can be fetched; ``EngineError`` if it is none, or not what it must be."""
    folder = MODELS / name
    if (folder / "model.toml").is_file():
        return read(folder / "model.toml", Model)
    if (folder / "asset.toml").is_file():
        return read(folder / "asset.toml", Asset)
    raise EngineError(f"no model or asset is named {name!r}; there are: {', '.join(names())}")


def load_model(name: str) -> Model:
    """Read the manifest of a network."""
    model = load(name)
    if not isinstance(model, Model):
        raise EngineError(f"{name!r} is a file used as it is, not a network")
    return model


def find(name: str) -> Entry:
    """Read one manifest, wherever its file comes from."""
    path = MODELS / name / "task_model.toml"
    return read(path, TaskModel) if path.is_file() else load(name)


def find_network(name: str) -> Model | TaskModel:
    """Read the manifest of a network, wherever its file comes from."""
    path = MODELS / name / "task_model.toml"
    return read(path, TaskModel) if path.is_file() else load_model(name)


def picture_preprocessing(name: str) -> Preprocessing:
    """How a picture becomes the input of the named network."""
    preprocessing = find_network(name).preprocessing
    if preprocessing is None:
        raise EngineError(f"{name!r} is a network that takes no picture")
    return preprocessing


def read(path: Path, kind: type[M]) -> M:
    """Read a manifest file strictly: every key is there, none is unknown, each of its type.

    What may be ``None`` may be left out.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise EngineError(f"{path} is not TOML: {error}") from None
    return _build(kind, {"name": path.parent.name, **table}, str(path))


def _build(kind: type[M], table: Mapping[str, Any], where: str) -> M:
    fields = {field.name: field.type for field in dataclasses.fields(kind)}
    table = {**{key: None for key, hint in fields.items() if NoneType in get_args(hint)}, **table}
    if set(table) != set(fields):
        wrong = ", ".join(sorted(set(table) ^ set(fields)))
        raise EngineError(f"{where}: keys must be {', '.join(fields)}; missing or unknown: {wrong}")
    return kind(**{key: _value(fields[key], table[key], f"{where}: {key}") for key in fields})


def _value(hint: Any, value: Any, where: str) -> Any:
    if where.endswith(": outside") and value not in OUTSIDE:
        raise EngineError(f"{where} must be one of {', '.join(OUTSIDE)}, got {value!r}")
    if NoneType in get_args(hint):
        (hint,) = (kind for kind in get_args(hint) if kind is not NoneType)
        if value is None:
            return None
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _build(hint, value, where)
    if hint == Mapping[str, Shape] and isinstance(value, dict):
        return {key: _shape(shape, f"{where}.{key}") for key, shape in value.items()}
    if hint == Mapping[str, float] and isinstance(value, dict):
        return {key: _value(float, number, f"{where}.{key}") for key, number in value.items()}
    if hint == tuple[str, ...] and isinstance(value, list) and all(type(entry) is str for entry in value):
        return tuple(value)
    if hint == tuple[float, ...] and isinstance(value, list) and all(type(entry) in (int, float) for entry in value):
        return tuple(map(float, value))
    if hint in (str, int, float) and type(value) is hint:
        return value
    raise EngineError(f"{where} must be {getattr(hint, '__name__', hint)}, got {value!r}")


def _shape(value: Any, where: str) -> Shape:
    if isinstance(value, list) and value[:1] == ["batch"] and all(type(size) is int and size > 0 for size in value[1:]):
        return tuple(value)
    raise EngineError(f'{where} must be a shape such as ["batch", 3, 192, 192], got {value!r}')
