"""The ordered names of every channel that leaves the appliance.

The blendshapes are the 52 of Apple's ``ARFaceAnchor.BlendShapeLocation``; the visemes are the
15 of OpenXR's ``XrFaceTrackingVisemeMETA``. Order is part of the contract (topic ``info``).
"""

BLENDSHAPES: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight",
    "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight",
    "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip


def _other_side(name: str) -> str:
    if name.endswith("Left"):
        return f"{name[:-4]}Right"
    return f"{name[:-5]}Left" if name.endswith("Right") else name


OTHER_SIDE: tuple[int, ...] = tuple(BLENDSHAPES.index(_other_side(name)) for name in BLENDSHAPES)
"""Of each blendshape, which one it is in a mirror."""

VISEMES: tuple[str, ...] = (
    "sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "I", "O", "U",
)  # fmt: skip

MOODS: tuple[str, ...] = ("neutral", "happy", "sad", "angry", "surprised")
