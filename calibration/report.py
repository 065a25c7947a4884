"""What eight bits cost: a network in INT8 against the same in FP32, on samples that no range was taken from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from calibration.keeping import STATE
from calibration.walking import walk
from engines.errors import EngineError
from engines.runners import Float32, Runner, Tensors

RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263  # in the 468-point mesh
POINTS, WEIGHTS, SOUNDS = "landmarks", "blendshapes", "visemes"
LEAST_SPREAD = 0.02
"""An output that varies less than this says nothing by its correlation."""

LEAST_CALLS = 20
"""Nor do fewer calls."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One number of an output, such as one blendshape."""

    name: str
    error: float  # mean absolute difference from FP32
    correlation: float  # with FP32; NaN where FP32 hardly moves or calls are few
    agreement: float = float("nan")  # of visemes: how often INT8, too, takes it for the likeliest, 0..1


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of one output, and what it must keep to."""

    output: str
    measure: str
    value: float
    limit: float
    at_most: bool = True

    @property
    def holds(self) -> bool:
        """Whether it keeps to its limit; no number does not."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclass(frozen=True, slots=True)
class Report:
    """What eight bits cost one network."""

    model: str
    method: str
    calls: int  # on so many
    rows: Sequence[Row]
    channels: Mapping[str, Sequence[Channel]] = field(default_factory=dict)  # by output

    @property
    def holds(self) -> bool:
        """Whether INT8 keeps to every limit."""
        return all(row.holds for row in self.rows)


# What the appliance promises of INT8 beside the tolerances of the manifests.
MOST_OFF_PERCENT = 0.6
LEAST_CORRELATION = 0.99
LEAST_AGREEMENT = 0.99


def compare(
    reference: Runner, eight_bits: Runner, blocks: Iterable[Tensors], tell: Callable[[int], None] = lambda done: None
) -> tuple[Mapping[str, Float32], Mapping[str, Float32]]:
    """Outputs of every call in FP32 and in INT8; a network with a memory carries its own along in each."""
    true: list[Tensors] = []
    told: list[Tensors] = []
    for block in blocks:
        pairs = zip(walk(reference, [block]), walk(eight_bits, [block]), strict=True)
        for (_, outputs), (_, in_eight) in pairs:
            true.append({name: np.array(values, np.float32) for name, values in outputs.items()})
            told.append({name: np.array(values, np.float32) for name, values in in_eight.items()})
            tell(len(true))
    return _stacked(true), _stacked(told)


def report(
    model: str,
    method: str,
    true: Mapping[str, Float32],
    told: Mapping[str, Float32],
    tolerance: Mapping[str, float],
    names: Mapping[str, Sequence[str]],
) -> Report:
    """Judge the outputs by the manifest's tolerances, and by what the appliance promises.

    ``names`` are those of an output's channels, where they have names.
    """
    if not true:
        raise EngineError(
            f"no held-out samples of {model} to compare on: the recording was too short; film for longer: "
            "appliance calibrate record"
        )
    rows = [
        Row(output, "mean difference", float(np.abs(told[output] - true[output]).mean()), limit)
        for output, limit in tolerance.items()
    ]
    channels = {
        output: _channels(told[output], true[output], names[output], output.startswith(SOUNDS))
        for output in tolerance
        if output in names
    }
    rows += chain.from_iterable(_promised(output, told[output], true[output], channels) for output in tolerance)
    return Report(model, method, len(next(iter(true.values()))), rows, channels)


def _promised(output: str, told: Float32, true: Float32, channels: Mapping[str, Sequence[Channel]]) -> Iterable[Row]:
    if output == POINTS:
        yield Row(output, "mean distance, % from eye to eye", _off_percent(told, true), MOST_OFF_PERCENT)
    elif output == WEIGHTS and output in channels:
        moving = [channel.correlation for channel in channels[output] if np.isfinite(channel.correlation)]
        if moving:
            yield Row(output, "mean correlation", float(np.mean(moving)), LEAST_CORRELATION, at_most=False)
    elif output.startswith(SOUNDS):
        same = float(np.mean(told.argmax(1) == true.argmax(1)))
        yield Row(output, "likeliest viseme the same", same, LEAST_AGREEMENT, at_most=False)


def _channels(told: Float32, true: Float32, names: Sequence[str], sounds: bool) -> list[Channel]:
    likeliest = true.argmax(1)
    found = []
    for index, name in enumerate(names):
        error = float(np.abs(told[:, index] - true[:, index]).mean())
        said = likeliest == index
        same = float(np.mean(told[said].argmax(1) == index)) if sounds and said.any() else float("nan")
        found.append(Channel(name, error, _correlation(told[:, index], true[:, index]), same))
    return found


def _correlation(told: Float32, true: Float32) -> float:
    """Correlation; 0 where INT8 stands still and FP32 does not, NaN where FP32 hardly moves or calls are few."""
    if len(true) < LEAST_CALLS or true.std() < LEAST_SPREAD:
        return float("nan")
    return float(np.corrcoef(told, true)[0, 1]) if told.std() > 0 else 0.0


def _off_percent(told: Float32, true: Float32) -> float:
    """How far points are off in the picture's plane, of the distance of the outer corners of the eyes."""
    eyes = np.linalg.norm(true[:, LEFT_EYE_OUTER, :2] - true[:, RIGHT_EYE_OUTER, :2], axis=1)
    off = np.linalg.norm(told[..., :2] - true[..., :2], axis=2).mean(1)
    return float(np.mean(100 * off / np.maximum(eyes, 1e-6)))


def _stacked(calls: Sequence[Tensors]) -> dict[str, Float32]:
    """Outputs of all calls, batch first; the memory that a network carries is nobody's output."""
    carried = STATE.replace("state", "next")
    return {
        name: np.concatenate([call[name] for call in calls])
        for name in (calls[0] if calls else {})
        if not name.startswith(carried)
    }
