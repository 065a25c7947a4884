"""Activation ranges of a network as a file: numbers that calibration yields, without the pictures behind them."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.durable import settle
from engines.errors import EngineError

METHODS = ("percentile", "entropy", "mse", "minmax")
RANGES_COMMAND = "appliance calibrate ranges"
Range = tuple[float, float]  # lowest and highest value

TARGET = "gpu-stacked"
"""The rewrites of the network whose tensors ranges belong to: those that eight bits are written into."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """How far each activation of one network goes, low and high."""

    model: str
    onnx_sha256: str  # of the network's ONNX file, before any rewrite
    method: str
    ranges: Mapping[str, Range]  # by tensor
    samples: int  # how many inputs they were taken from
    form: str = TARGET  # the rewrites of the network whose tensors they are of

    def sha256(self) -> str:
        """What an engine's name carries of them."""
        return hashlib.sha256(_encoded(self).encode()).hexdigest()


def write_ranges(ranges: Ranges, path: Path) -> None:
    """Write the file aside and rename it."""
    aside = path.with_name(f"{path.name}.aside")
    aside.write_text(_encoded(ranges), encoding="utf-8")
    settle(aside, path)


def read_ranges(path: Path) -> Ranges:
    """Read ranges, of whichever network; ``EngineError`` if they are none."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"the ranges {path} cannot be read: {error}; make them with: {RANGES_COMMAND}") from None
    return _checked(table, path)


def ranges_for(path: Path, model: str, onnx_sha256: str) -> Ranges:
    """Read the ranges of a network; ``EngineError`` if they are no ranges, or those of another network."""
    ranges = read_ranges(path)
    if (ranges.model, ranges.onnx_sha256, ranges.form) != (model, onnx_sha256, TARGET):
        raise EngineError(
            f"the ranges {path} must be of {model} ({onnx_sha256[:12]}, {TARGET}), got those of {ranges.model} "
            f"({ranges.onnx_sha256[:12]}, {ranges.form}); make them with: {RANGES_COMMAND}"
        )
    return ranges


def _encoded(ranges: Ranges) -> str:
    table = {name: list(limits) for name, limits in ranges.ranges.items()}
    head = {
        "model": ranges.model,
        "onnx_sha256": ranges.onnx_sha256,
        "form": ranges.form,
        "method": ranges.method,
    }
    return json.dumps({**head, "ranges": table, "samples": ranges.samples}, indent=1, sort_keys=True) + "\n"


def _checked(table: Any, path: Path) -> Ranges:
    """Every key there and none unknown, every range two finite numbers in order."""
    wanted = {"model": str, "onnx_sha256": str, "form": str, "method": str, "ranges": dict, "samples": int}
    if isinstance(table, dict):
        table.setdefault("form", TARGET)  # older files do not name it
    if not isinstance(table, dict) or {key: type(value) for key, value in table.items()} != wanted:
        kinds = ", ".join(f"{key} ({kind.__name__})" for key, kind in wanted.items())
        raise EngineError(f"the ranges {path} must hold {kinds} and nothing else; make them with: {RANGES_COMMAND}")
    if table["method"] not in METHODS or table["samples"] < 1:
        raise EngineError(
            f"the ranges {path} must come from one of {', '.join(METHODS)} on real inputs, got {table['method']!r} "
            f"on {table['samples']}; make them with: {RANGES_COMMAND}"
        )
    ranges = {name: _range(limits, f"{path}: {name}") for name, limits in table["ranges"].items()}
    return Ranges(table["model"], table["onnx_sha256"], table["method"], ranges, table["samples"], table["form"])


def _range(limits: Any, where: str) -> Range:
    numbers = isinstance(limits, list) and len(limits) == 2 and all(type(limit) in (int, float) for limit in limits)
    if not numbers or not all(map(math.isfinite, limits)) or not limits[0] <= limits[1]:
        raise EngineError(f"the ranges {where} must be [low, high], got {limits!r}; make them with: {RANGES_COMMAND}")
    return float(limits[0]), float(limits[1])
