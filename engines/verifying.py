"""An engine against the FP32 reference, on inputs that no range was taken from."""

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.errors import EngineError
from engines.manifest import Shape
from engines.networks import Network
from engines.runners import Float32, Runner, Tensor

MADE_INPUTS = 8
SHARE_OF_SPREAD = 0.02
"""What an output of a network without a manifest may differ by, of its own standard deviation."""

_RECORD_COMMAND = "appliance calibrate record"
Samples = Mapping[str, Tensor]  # by input; all of the same length, or of one where all samples share it


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far an engine is from the reference."""

    errors: Mapping[str, float]  # per output: mean absolute difference
    tolerance: Mapping[str, float]

    @property
    def missed(self) -> list[str]:
        """Each output that is too far off, and by how much; a value that is no number misses, too."""
        return [
            f"{name} {self.errors[name]:.4g} of at most {limit:.4g}"
            for name, limit in self.tolerance.items()
            if not self.errors[name] <= limit
        ]


def verify(engine: Runner, reference: Runner, samples: Samples, tolerance: Mapping[str, float], batch: int) -> Verdict:
    """Run every sample alone and in batches of up to ``batch``; the worse of the two counts.

    Without a tolerance every output is held to a share of its own spread.
    """
    truth = run_all(reference, samples, 1)
    limits = tolerance or {name: SHARE_OF_SPREAD * max(float(np.std(true)), 1e-6) for name, true in truth.items()}
    errors = dict.fromkeys(limits, 0.0)
    for size in dict.fromkeys((1, batch)):
        found = run_all(engine, samples, size)
        for name in limits:
            error = _error(found[name], truth[name], name)
            errors[name] = error if not error <= errors[name] else errors[name]
    return Verdict(errors, limits)


def run_all(runner: Runner, samples: Samples, batch: int) -> dict[str, Float32]:
    """Run a network over all samples, so many at once."""
    count = max(map(len, samples.values()))
    parts: list[dict[str, Float32]] = []
    for start in range(0, count, batch):
        some = {name: array[start : start + batch] if len(array) > 1 else array for name, array in samples.items()}
        outputs = runner({name: np.ascontiguousarray(array) for name, array in some.items()})
        parts.append({name: np.array(output, np.float32) for name, output in outputs.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def read_samples(path: Path, network: Network) -> Samples:
    """Held-out inputs from an npz file: one array an input, float32, batch first."""
    cure = f"record them with: {_RECORD_COMMAND}"
    try:
        with np.load(path) as stored:
            samples = {name: stored[name] for name in stored.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise EngineError(f"the held-out inputs {path} cannot be read: {error}; {cure}") from None
    wanted = {name: tuple(shape[1:]) for name, shape in network.inputs.items()}
    found = {name: array.shape[1:] for name, array in samples.items() if array.dtype == np.float32 and len(array)}
    if found != wanted or len({len(array) for array in samples.values()}) != 1:
        raise EngineError(f"the held-out inputs {path} must be float32 arrays of {wanted}, got {found}; {cure}")
    return samples


def made_samples(network: Network) -> Samples:
    """Smooth inputs from 0 to 1, made by a formula: enough to see that FP16 computes what FP32 does.

    They say nothing of INT8, whose ranges are those of real inputs. What a batch shares is one picture of bytes.
    """
    return {
        name: (255 * _smooth(shape, 1)).astype(np.uint8) if name in network.shared else _smooth(shape, MADE_INPUTS)
        for name, shape in network.inputs.items()
    }


def _smooth(shape: Shape, count: int) -> Float32:
    sizes = tuple(map(int, shape[1:]))
    positions = np.linspace(0, 1, math.prod(sizes), dtype=np.float32).reshape(sizes)
    return np.stack([0.5 + 0.5 * np.sin((7 + 3 * index) * positions + index) for index in range(count)])


def _error(found: Float32, true: Float32, name: str) -> float:
    if found.shape != true.shape:
        raise EngineError(f"output {name} must have the shape {true.shape}, got {found.shape}; build the engine again")
    return float(np.mean(np.abs(found - true)))
