"""The one-euro filter, for many channels at once.

Casiez, Roussel and Vogel, "1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input
in Interactive Systems", CHI 2012: a low-pass whose cut-off rises with speed, so that what rests
is still and what moves is not late.
"""

from dataclasses import dataclass

import numpy as np

from appliance.values import Float32

_SPEED_CUTOFF_HZ = 3.0
_LONGEST_STEP_S = 0.25  # after a longer gap the past says nothing


@dataclass(frozen=True, slots=True)
class Smoothed:
    """What the filter remembers: n channels and how fast each moves, in units a second."""

    at_ns: int
    value: Float32
    speed: Float32


def start(value: Float32, at_ns: int) -> Smoothed:
    """Begin at a value, at rest."""
    return Smoothed(at_ns, value, np.zeros_like(value))


def one_euro(past: Smoothed, value: Float32, at_ns: int, min_cutoff_hz: Float32, beta: Float32) -> Smoothed:
    """Filter one sample of n channels.

    ``min_cutoff_hz`` and ``beta`` (Hz per unit a second) are arrays of n: the smoothing at rest,
    and how quickly movement lifts it.
    """
    step_s = (at_ns - past.at_ns) / 1e9
    if step_s <= 0:
        return past
    if step_s > _LONGEST_STEP_S:
        return start(value, at_ns)
    speed = _low_pass(past.speed, (value - past.value) / np.float32(step_s), _SPEED_CUTOFF_HZ, step_s)
    cutoff_hz = min_cutoff_hz + beta * np.abs(speed)
    return Smoothed(at_ns, _low_pass(past.value, value, cutoff_hz, step_s), speed)


def _low_pass(past: Float32, value: Float32, cutoff_hz: Float32 | float, step_s: float) -> Float32:
    turn = 2 * np.pi * cutoff_hz * step_s
    filtered: Float32 = (past + (value - past) * (turn / (turn + 1))).astype(np.float32)
    return filtered
