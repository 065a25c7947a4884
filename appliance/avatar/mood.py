"""Mood from blendshapes, by the action units of the published tables, and how it comes and goes.

Ekman and Friesen's EMFACS prototypes (happy 6+12, sad 1+4+15, angry 4+5+7+23, surprised 1+2+5+26;
table 10-1 of the FACS Investigator's Guide, Ekman, Friesen and Hager 2002), each action unit read
from the ARKit shapes that name the same movement: 1 browInnerUp, 2 browOuterUp, 4 browDown,
5 eyeWide, 6 cheekSquint, 9 noseSneer, 12 mouthSmile, 15 mouthFrown, 17 mouthShrugLower,
23 mouthPress, 26 jawOpen. What speaks against a mood has a negative weight.
"""

from dataclasses import dataclass

import numpy as np

from appliance.avatar.channels import BLENDSHAPES, MOODS
from appliance.values import Float32

_UNITS: dict[str, dict[str, float]] = {
    "happy": {"mouthSmile": 1.2, "cheekSquint": 0.2, "mouthFrown": -0.5},
    "sad": {"mouthFrown": 0.8, "browInnerUp": 0.5, "mouthShrugLower": 0.2, "mouthSmile": -0.8},
    "angry": {"browDown": 0.9, "noseSneer": 0.4, "mouthPress": 0.2, "mouthSmile": -0.6},
    "surprised": {"browInnerUp": 0.5, "browOuterUp": 0.4, "eyeWide": 0.4, "jawOpen": 0.3, "browDown": -0.6},
}
# What excitement says for or against each mood, where it shows: the vertical axis of Russell's circumplex (Journal of
# Personality and Social Psychology 39(6), 1980). It makes a mood that shows more or less so, and makes none.
_EXCITED: Float32 = np.array([1.0, -1.0, 1.0, 1.0], np.float32)
_RISE_S, _FALL_S = 0.3, 0.8  # a mood shows at once and is slow to leave: time constants


@dataclass(frozen=True, slots=True)
class Mood:
    """What one avatar feels."""

    at_ns: int
    weights: Float32  # 5, sum to 1, in the order of channels.MOODS


def _table() -> Float32:
    """4 x 52: what each shape says for or against each mood; left and right share the weight."""
    table = np.zeros((len(_UNITS), len(BLENDSHAPES)), np.float32)
    for row, shapes in enumerate(_UNITS.values()):
        for shape, weight in shapes.items():
            sides = [
                index for index, name in enumerate(BLENDSHAPES) if name in (shape, f"{shape}Left", f"{shape}Right")
            ]
            table[row, sides] = weight / len(sides)
    return table


_TABLE = _table()


def read_mood(blendshapes: Float32, excess: float = 0.0) -> Float32:
    """Five weights that sum to 1, in the order of channels.MOODS, from 52 blendshapes.

    ``excess`` is how far an excited voice (above 0) or a tired one may change them, -1..1.
    """
    return _whole(np.clip(_TABLE @ blendshapes * (1 + np.float32(excess) * _EXCITED), 0, 1))


def feel(past: Mood | None, shown: Float32, at_ns: int) -> Mood:
    """Follow what is shown at a moment, five weights that sum to 1, whatever they were read from."""
    if past is None:
        return Mood(at_ns, shown)
    step_s = max((at_ns - past.at_ns) / 1e9, 0.0)
    pace_s = np.where(shown > past.weights, _RISE_S, _FALL_S)
    felt = past.weights + (shown - past.weights) * (1 - np.exp(-step_s / pace_s))
    return Mood(at_ns, _whole(felt[1:]))


def _whole(felt: Float32) -> Float32:
    """Add neutral to the four moods, which are lessened where they are more than a whole."""
    mood = np.zeros(len(MOODS), np.float32)
    mood[1:] = felt / max(float(felt.sum()), 1.0)
    mood[0] = 1 - mood[1:].sum()
    return mood
