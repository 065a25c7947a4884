"""Hold what the product published for the demo clip against the clip's truth: pure functions of arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.floating[Any]]

SETTLE_S = 0.5  # after a face has come back, before its channels count
FULLY = 0.999
WITH_A_FACE = ("tracking", "acquiring")
CHANNELS = {
    "jawOpen": "jawOpen",
    "eyeBlinkLeft": "eyeBlinkLeft",
    "eyeBlinkRight": "eyeBlinkRight",
    "mouthSmileLeft": "mouthSmile",
    "mouthSmileRight": "mouthSmile",
    "roll_deg": "roll_deg",
}
"""Output channel -> the truth it is held against."""


@dataclass(frozen=True, slots=True)
class Score:
    """How well the outputs follow the truth.

    ``correlation`` by output channel, NaN where either does not vary; ``found_s`` and ``lost_s`` are delays in clip
    time, one for each time the face came back or went, infinite where the state never followed.
    """

    correlation: Mapping[str, float]
    found_s: tuple[float, ...]
    lost_s: tuple[float, ...]


def score(outputs: Mapping[str, Series], states: Sequence[str], frames: npt.NDArray[Any], truth: Any) -> Score:
    """Compare outputs, one row a published frame, with the truth of the clip.

    ``outputs`` maps the names in ``CHANNELS`` to values; ``states`` are the contract's; ``frames`` is the number of
    the picture behind each row, ascending, counted on through the loops of the clip; ``truth`` maps the names in
    ``truth.npz`` to arrays. Only rows with the face fully in the picture, tracked and settled count for correlation.
    """
    frames = np.asarray(frames)
    if len(frames) == 0 or np.any(np.diff(frames) <= 0):
        raise ValueError("frames must be ascending and not empty")
    length, fps = len(truth["visible"]), float(truth["fps"])
    visible = truth["visible"][frames % length]
    held = np.isin(np.asarray(states), WITH_A_FACE)
    counts = settled(truth["visible"], fps)[frames % length] & (np.asarray(states) == "tracking")
    return Score(
        correlation={
            name: correlation(np.asarray(outputs[name])[counts], truth[true][frames % length][counts])
            for name, true in CHANNELS.items()
        },
        found_s=delays(frames / fps, visible >= FULLY, held),
        lost_s=delays(frames / fps, visible <= 0, ~held),
    )


def correlation(first: Series, second: Series) -> float:
    """Return Pearson's correlation; NaN where there are under two values or one side is constant."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def settled(visible: Series, fps: float) -> npt.NDArray[np.bool_]:
    """Return the frames of a looping clip at which the face has been fully in the picture for ``SETTLE_S``."""
    twice = np.concatenate([visible, visible]) >= FULLY
    since = np.arange(len(twice)) - np.maximum.accumulate(np.where(twice, -1, np.arange(len(twice))))
    long_enough: npt.NDArray[np.bool_] = since[len(visible) :] > SETTLE_S * fps
    return long_enough


def delays(times_s: Series, expected: npt.NDArray[np.bool_], given: npt.NDArray[np.bool_]) -> tuple[float, ...]:
    """Return, for each time ``expected`` becomes true, how long until ``given`` is.

    Infinite where ``given`` stays false until ``expected`` ends again. A stretch that is already under way in the
    first row does not count, for nobody saw its beginning; nor does one that the last row cuts before ``given``.
    """
    starts = np.flatnonzero(expected[1:] & ~expected[:-1]) + 1
    found = []
    for start in starts:
        ends = np.flatnonzero(~expected[start:])
        end = start + ends[0] if len(ends) else len(expected)
        hits = np.flatnonzero(given[start:end])
        if len(hits):
            found.append(float(times_s[start + hits[0]] - times_s[start]))
        elif len(ends):
            found.append(float("inf"))
    return tuple(found)


def roll_deg(quaternion: Sequence[float]) -> float:
    """Return the roll of a head rotation x, y, z, w: degrees, positive counter-clockwise as seen in the picture.

    It is the direction in the picture of the head's own x axis (+X right, +Y up, +Z towards the camera), so turning
    and nodding alone leave it at 0.
    """
    x, y, z, w = quaternion
    return float(np.degrees(np.arctan2(2 * (x * y + z * w), 1 - 2 * (y * y + z * z))))
