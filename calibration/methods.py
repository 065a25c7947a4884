"""How the ranges of a network are chosen, unless somebody says otherwise."""

from pathlib import Path

from engines import manifest
from engines.brought import BroughtModel, brought_model, is_brought
from engines.errors import EngineError
from engines.own import OwnModel, is_own_model, own_model
from engines.ranges import METHODS

Entry = manifest.Model | manifest.TaskModel | OwnModel | BroughtModel

DEFAULT_METHOD = "mse"
"""Where no manifest says."""


def method_of(name: str) -> str:
    """The method that a network's manifest names; ``EngineError`` if there is no such method."""
    if is_brought(name):
        entry: Entry = brought_model(Path(name))
    else:
        entry = own_model(name) if is_own_model(name) else manifest.find_network(name)
    method = entry.calibration.method if entry.calibration else DEFAULT_METHOD
    allowed = (*METHODS, manifest.NO_EIGHT_BITS)
    if method not in allowed:
        raise EngineError(f"{name}: calibration.method must be one of {', '.join(allowed)}, got {method!r}")
    return method


def wants_ranges(name: str) -> bool:
    """Whether a network is to run in eight bits, so that it needs ranges."""
    return method_of(name) != manifest.NO_EIGHT_BITS
