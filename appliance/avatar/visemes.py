"""From visemes to mouth shapes: what the lips and the jaw do for each sound, and how sounds blend.

The visemes are OpenXR's (``XrFaceTrackingVisemeMETA``), the shapes ARKit's. Sounds blend as in Cohen
and Massaro, "Modeling coarticulation in synthetic visual speech", 1993: each sound rules each part
of the mouth with a dominance that falls off exponentially before and after it, and a part takes the mean
of what the sounds want, weighted by dominance. Here a sound's presence in each 10 ms is its probability.
Who dominates what are the rules of Edwards, Landreth, Fiume and Singh, "JALI: an animator-centric viseme
model for expressive lip synchronization", SIGGRAPH 2016: lips meet for P, B, M whatever is around;
the lower lip meets the teeth for F, V; sibilants narrow the jaw; sounds of the tongue alone leave the
lips to their neighbours; sounds of the lips (U, O, sh, ch) begin early and end late.
"""

import numpy as np
import numpy.typing as npt

from appliance.avatar.channels import BLENDSHAPES, VISEMES
from appliance.values import SPEECH_STEP_NS, Float32, Speech

# How far each sound moves each part, said clearly at this voice's usual loudness. ``seal`` is lips
# together, whatever the jaw does. Levels are those of ARKit mouths that speak: a loud "ah" opens the
# jaw by two thirds, teeth that nearly meet leave it nearly shut.
_TARGETS: dict[str, dict[str, float]] = {
    "sil": {},
    "PP": {"jawOpen": 0.08, "seal": 1.0, "mouthPress": 0.3, "mouthRollLower": 0.15, "mouthRollUpper": 0.1},
    "FF": {"jawOpen": 0.1, "mouthRollLower": 0.6, "mouthUpperUp": 0.2, "mouthShrugLower": 0.1},
    "TH": {"jawOpen": 0.18, "mouthLowerDown": 0.2, "mouthUpperUp": 0.12, "tongueOut": 0.25},
    "DD": {"jawOpen": 0.18, "mouthLowerDown": 0.2, "mouthUpperUp": 0.1},
    "kk": {"jawOpen": 0.24, "mouthLowerDown": 0.15, "mouthUpperUp": 0.1},
    "CH": {"jawOpen": 0.13, "mouthFunnel": 0.5, "mouthPucker": 0.3, "mouthLowerDown": 0.15, "mouthUpperUp": 0.1},
    "SS": {"jawOpen": 0.08, "mouthStretch": 0.25, "mouthLowerDown": 0.25, "mouthUpperUp": 0.15},
    "nn": {"jawOpen": 0.18, "mouthLowerDown": 0.15, "mouthUpperUp": 0.05},
    "RR": {"jawOpen": 0.18, "mouthFunnel": 0.3, "mouthPucker": 0.25, "mouthLowerDown": 0.1},
    "aa": {"jawOpen": 0.66, "mouthLowerDown": 0.3, "mouthUpperUp": 0.2},
    "E": {"jawOpen": 0.42, "mouthStretch": 0.25, "mouthLowerDown": 0.25, "mouthUpperUp": 0.15},
    "I": {"jawOpen": 0.26, "mouthStretch": 0.4, "mouthLowerDown": 0.2, "mouthUpperUp": 0.1},
    "O": {"jawOpen": 0.5, "mouthFunnel": 0.5, "mouthPucker": 0.4},
    "U": {"jawOpen": 0.22, "mouthFunnel": 0.25, "mouthPucker": 0.8},
}

_PARTS: dict[str, tuple[str, ...]] = {
    "jaw": ("jawOpen",),
    "seal": ("seal",),
    "round": ("mouthFunnel", "mouthPucker"),
    "spread": ("mouthStretch",),
    "lips": ("mouthLowerDown", "mouthUpperUp"),
    "tuck": ("mouthRollLower", "mouthRollUpper", "mouthPress", "mouthShrugLower"),
    "tongue": ("tongueOut",),
}

# Dominance where it is not 1. Those of the lips hold them, those of the tongue leave them alone.
_TONGUE_ALONE = {"round": 0.1, "spread": 0.15, "lips": 0.4}
_DOMINANCE: dict[str, dict[str, float]] = {
    "PP": {"seal": 6.0, "tuck": 4.0, "lips": 3.0, "round": 0.15, "spread": 0.15},
    "FF": {"seal": 2.0, "tuck": 6.0, "lips": 2.0, "round": 0.3, "spread": 0.3},
    "TH": {"round": 0.2, "spread": 0.3, "tongue": 2.0},
    "DD": _TONGUE_ALONE,
    "kk": _TONGUE_ALONE | {"jaw": 0.6},
    "nn": _TONGUE_ALONE,
    "CH": {"jaw": 2.0, "round": 2.5},
    "SS": {"jaw": 3.0, "round": 0.4},
    "RR": {"round": 1.0, "jaw": 0.7},
    "O": {"round": 3.0},
    "U": {"round": 3.0},
}

# For how long dominance lasts before a sound and after it: the time in which it falls to 1/e, seconds.
_REACH_S: dict[str, tuple[float, float]] = {
    "PP": (0.012, 0.012),
    "FF": (0.015, 0.015),
    "CH": (0.06, 0.04),
    "O": (0.09, 0.04),
    "U": (0.09, 0.04),
}
_USUAL_REACH_S = (0.02, 0.025)

# Lips are apart or together, hardly ever between: so dominant a closure is none, and one that is whole.
_APART, _TOGETHER = 0.35, 0.75

# Jaws open wider in loud speech (Schulman, "Articulatory dynamics of loud and normal speech", 1989).
_OPENING_PER_DB = 0.03
_LEAST_OPENING, _MOST_OPENING = 0.55, 1.4

Indices = npt.NDArray[np.intp]


def _sides(shape: str) -> Indices:
    """Where a shape lies among the 52: once, or left and right."""
    names = (shape, f"{shape}Left", f"{shape}Right")
    return np.array([index for index, name in enumerate(BLENDSHAPES) if name in names], np.intp)


_COLUMNS = [(part, shape) for part, shapes in _PARTS.items() for shape in shapes]
_TARGET: Float32 = np.array([[_TARGETS[v].get(shape, 0.0) for _, shape in _COLUMNS] for v in VISEMES], np.float32)
_RULE: Float32 = np.array([[_DOMINANCE.get(v, {}).get(part, 1.0) for part, _ in _COLUMNS] for v in VISEMES], np.float32)
_BEFORE_S, _AFTER_S = np.array([_REACH_S.get(v, _USUAL_REACH_S) for v in VISEMES], np.float32).T

_SEAL = [shape for _, shape in _COLUMNS].index("seal")
_PLACES = [(column, _sides(shape)) for column, (_, shape) in enumerate(_COLUMNS) if column != _SEAL]
_OPENERS = np.concatenate([_sides(shape) for shape in ("mouthLowerDown", "mouthUpperUp", "mouthFunnel", "tongueOut")])
JAW_OPEN, MOUTH_CLOSE = BLENDSHAPES.index("jawOpen"), BLENDSHAPES.index("mouthClose")

SPOKEN: Indices = np.unique(np.concatenate([[MOUTH_CLOSE], *(sides for _, sides in _PLACES)]))
"""The shapes that speech moves, among the 52; the others are left to the face."""

ROUNDED: Indices = np.concatenate([_sides("mouthFunnel"), _sides("mouthPucker")])
"""Those of them that round the lips."""


def articulate(speech: Speech, at_ns: int) -> Float32:
    """Return the mouth of a moment: 52 weights, 0..1, of which only ``SPOKEN`` are not 0.

    No moment is later than the newest that is known of, or earlier than the first that is remembered.
    What is known beyond the moment is to come: it already shapes the mouth.
    """
    rows_ns = speech.newest_ns + SPEECH_STEP_NS * np.arange(1 - len(speech.visemes), 1)
    moment_ns = max(min(at_ns, speech.newest_ns), int(rows_ns[0]))
    since_s = ((moment_ns - rows_ns) / 1e9).astype(np.float32)[:, None]
    near = np.exp(-np.where(since_s < 0, -since_s / _BEFORE_S, since_s / _AFTER_S))
    near /= np.maximum(near.sum(axis=0), 1e-9)
    present = (near * speech.visemes).sum(axis=0)
    ruling = present[:, None] * _RULE
    wanted = (ruling * _TARGET).sum(axis=0) / np.maximum(ruling.sum(axis=0), 1e-9)
    opening = _opening(float(near[:, 0] @ speech.loudness_db))
    return _mouth(wanted, opening)


def close(shapes: Float32, seal: float) -> Float32:
    """Bring the lips of a mouth together, ``seal`` 0..1 of the way.

    ARKit's ``mouthClose`` is lips together over an open jaw: as much of it as of ``jawOpen`` shuts them.
    """
    sealed = shapes.copy()
    sealed[_OPENERS] *= np.float32(1 - seal)
    sealed[MOUTH_CLOSE] = max(shapes[MOUTH_CLOSE], shapes[JAW_OPEN] * np.float32(seal))
    return sealed


def seal_of(shapes: Float32) -> float:
    """How far the lips of a spoken mouth are together, 0..1; 0 where the jaw is shut and nothing needs sealing."""
    return float(shapes[MOUTH_CLOSE] / shapes[JAW_OPEN]) if shapes[JAW_OPEN] > 1e-3 else 0.0


def _mouth(wanted: Float32, opening: float) -> Float32:
    shapes = np.zeros(len(BLENDSHAPES), np.float32)
    for column, sides in _PLACES:
        shapes[sides] = wanted[column]
    shapes[JAW_OPEN] *= np.float32(opening)
    way = min(max((float(wanted[_SEAL]) - _APART) / (_TOGETHER - _APART), 0.0), 1.0)
    return np.clip(close(shapes, way * way * (3 - 2 * way)), 0, 1)


def _opening(loudness_db: float) -> float:
    """By how much a jaw opens more, or less, than usual."""
    return min(max(1 + _OPENING_PER_DB * loudness_db, _LEAST_OPENING), _MOST_OPENING)
