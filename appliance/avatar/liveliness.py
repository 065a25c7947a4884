"""What an excited or a tired voice adds to a face: within a limit, and never to what lips and lids do."""

import numpy as np

from appliance.avatar.channels import BLENDSHAPES
from appliance.values import Float32

_EXPRESSIVE = np.array([name.startswith(("brow", "cheek", "nose", "mouthSmile", "mouthFrown")) for name in BLENDSHAPES])
_EXPRESSIVE |= np.array([name.startswith(("eyeWide", "eyeSquint")) for name in BLENDSHAPES])
_RAISED = [BLENDSHAPES.index(name) for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")]
_LOWERED = [BLENDSHAPES.index(name) for name in ("browDownLeft", "browDownRight")]
_LIFT, _DROOP = 0.6, 0.3  # of the brows, at the most excited and the most tired, for a limit of 1


def excess(arousal: float, limit: float) -> float:
    """What a voice's arousal, 0..1, may do to the expression: -limit..limit, 0 where it is calm."""
    return limit * min(max(2 * arousal - 1, -1.0), 1.0)


def enliven(blendshapes: Float32, excess: float) -> Float32:
    """Lift or lower the brows, and strengthen or weaken every expression, of 52 shapes; 52 come back, 0..1.

    Raised brows go with raised pitch and emphasis (Cave et al., "About the relationship between eyebrow
    movements and F0 variations", ICSLP 1996).
    """
    if excess == 0:
        return blendshapes
    lively = blendshapes.copy()
    lively[_EXPRESSIVE] *= np.float32(1 + excess)
    lively[_RAISED] += np.float32(_LIFT * max(excess, 0.0))
    lively[_LOWERED] += np.float32(_DROOP * max(-excess, 0.0))
    return np.asarray(np.clip(lively, 0, 1), np.float32)
