"""Mood from blendshapes, by the action units of the published tables.

Ekman and Friesen's EMFACS prototypes (happy 6+12, sad 1+4+15, angry 4+5+7+23, surprised 1+2+5+26),
each action unit read from the ARKit shapes that name the same movement.
"""

import numpy as np

from appliance.avatar.channels import BLENDSHAPES, MOODS
from appliance.values import Float32

_UNITS: dict[str, dict[str, float]] = {
    "happy": {"mouthSmile": 1.2, "cheekSquint": 0.2, "mouthFrown": -0.5},
    "sad": {"mouthFrown": 0.8, "browInnerUp": 0.5, "mouthShrugLower": 0.2, "mouthSmile": -0.8},
    "angry": {"browDown": 0.9, "noseSneer": 0.4, "mouthPress": 0.2, "mouthSmile": -0.6},
    "surprised": {"browInnerUp": 0.5, "browOuterUp": 0.4, "eyeWide": 0.4, "jawOpen": 0.3, "browDown": -0.6},
}


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


def read_mood(blendshapes: Float32) -> Float32:
    """Five weights that sum to 1, in the order of channels.MOODS, from 52 blendshapes."""
    felt = np.clip(_TABLE @ blendshapes, 0, 1)
    total = max(float(felt.sum()), 1.0)
    mood = np.zeros(len(MOODS), np.float32)
    mood[1:] = felt / total
    mood[0] = 1 - mood[1:].sum()
    return mood
