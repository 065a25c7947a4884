"""Expressions to draw: which of ARKit's 52 shapes go together, and how often each is shown."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

NEUTRAL_SHARE, BLINK_SHARE, GAZE_SHARE, TALK_SHARE, RARE_SHARE = 0.2, 0.2, 0.75, 0.25, 0.45
COUNTED = 20_000  # expressions, to know how often a shape is shown
BOTH_SIDES = 0.75  # of sided shapes: both move, and nearly alike
ASIDE_DEG, UP_DEG, DOWN_DEG = 30.0, 25.0, 30.0  # of an eye at weight 1
LID_FOLLOWS_DOWN = 0.65  # of the mesh's own shape
# Shapes that teachers trained on photographs hardly ever fire: shown more often than their turn.
RARE = ("cheekPuff", "noseSneer", "cheekSquint", "jawForward", "tongueOut")
FAMILIES = (  # one choice each, sided shapes named without their side
    "browDown", "browInnerUp", "browOuterUp", "cheekPuff", "cheekSquint", "eyeBlink", "eyeSquint", "eyeWide",
    "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthDimple", "mouthFrown", "mouthFunnel",
    "mouthLeft", "mouthRight", "mouthLowerDown", "mouthPress", "mouthPucker", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer", "tongueOut",
)  # fmt: skip
SIDES = ("Left", "Right")
SIDED = frozenset((
    "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown",
    "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer",
))  # fmt: skip
# Which shapes come along: follower, chance, share of the leader's weight.
COMPANIONS: Mapping[str, tuple[tuple[str, float, float], ...]] = {
    "mouthSmile": (
        ("cheekSquint", 0.6, 0.7), ("eyeSquint", 0.4, 0.6), ("mouthDimple", 0.3, 0.4), ("jawOpen", 0.3, 0.5),
    ),
    "cheekSquint": (("eyeSquint", 0.4, 0.7), ("mouthSmile", 0.3, 0.8)),
    "noseSneer": (("mouthUpperUp", 0.4, 0.7), ("browDown", 0.4, 0.7), ("eyeSquint", 0.3, 0.5)),
    "browDown": (("eyeSquint", 0.4, 0.6), ("noseSneer", 0.2, 0.6)),
    "browInnerUp": (("browOuterUp", 0.5, 0.9),),
    "browOuterUp": (("browInnerUp", 0.5, 0.9), ("eyeWide", 0.3, 0.7)),
    "mouthFunnel": (("jawOpen", 0.4, 0.5), ("mouthPucker", 0.3, 0.6)),
    "mouthFrown": (("mouthShrugLower", 0.4, 0.7), ("browDown", 0.3, 0.6)),
    "mouthShrugLower": (("mouthShrugUpper", 0.6, 0.7),),
    "mouthLowerDown": (("jawOpen", 0.4, 0.5), ("mouthUpperUp", 0.4, 0.8)),
    "mouthStretch": (("mouthLowerDown", 0.4, 0.6), ("jawOpen", 0.3, 0.6)),
    "mouthRollLower": (("mouthRollUpper", 0.5, 0.9), ("mouthPress", 0.4, 0.7)),
    "cheekPuff": (("mouthPress", 0.25, 0.6), ("mouthPucker", 0.35, 0.6), ("mouthRollLower", 0.15, 0.5)),
    "mouthClose": (("jawOpen", 0.9, 1.2),),
    "eyeWide": (("browOuterUp", 0.4, 0.7), ("browInnerUp", 0.4, 0.7)),
}  # fmt: skip
# What gives way to each shape, because no face does both at once.
OPPOSED: Mapping[str, tuple[str, ...]] = {
    "jawLeft": ("jawRight",),
    "mouthLeft": ("mouthRight",),
    "browDown": ("browOuterUp",),
    "eyeBlink": ("eyeWide",),
    "mouthFunnel": ("mouthRollLower", "mouthRollUpper"),
    "mouthPucker": ("mouthStretch", "mouthRollLower", "mouthRollUpper", "mouthSmile"),
    "mouthRollLower": ("mouthLowerDown",),
    "mouthRollUpper": ("mouthUpperUp",),
    "cheekPuff": (
        "jawOpen", "tongueOut", "mouthLowerDown", "mouthUpperUp", "mouthFunnel", "mouthStretch",
    ),
    "tongueOut": (
        "mouthClose", "mouthPress", "mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
    ),
}  # fmt: skip


def sample_weights(
    n: int, blendshapes: Sequence[str], rng: np.random.Generator, rare_share: float = RARE_SHARE
) -> Floats:
    """Draw ``n`` expressions, n x 52, 0..1: about 0 to 6 shapes each with those that come along, a gaze, now and then a
    blink or a talking mouth; a fifth near neutral. ``rare_share`` of the others show a rare shape out of its turn."""
    return np.stack([_expression(blendshapes, rng, rare_share) for _ in range(n)])


def overshown(blendshapes: Sequence[str]) -> Floats:
    """How much more each of 52 shapes is shown, in logits of its mean weight, than if rare ones waited their turn."""
    shown, due = (
        sample_weights(COUNTED, blendshapes, np.random.default_rng(0), share).mean(0) for share in (RARE_SHARE, 0.0)
    )
    return np.asarray(np.log(shown / (1 - shown)) - np.log(due / (1 - due)), np.float32)


def _expression(blendshapes: Sequence[str], rng: np.random.Generator, rare_share: float) -> Floats:
    pose: dict[str, float] = {}
    if rng.random() < NEUTRAL_SHARE:
        for family in rng.choice(FAMILIES, 2, replace=False):
            _show(pose, str(family), float(rng.uniform(0, 0.08)), rng)
    else:
        for family in _leaders(rng, rare_share):
            weight = float(rng.beta(1.4, 1.1))
            _show(pose, family, weight, rng)
            for follower, chance, share in COMPANIONS.get(family, ()):
                if rng.random() < chance:
                    _show(pose, follower, weight * share * float(rng.uniform(0.4, 1.3)), rng)
        if rng.random() < TALK_SHARE:
            _talk(pose, rng)
    if rng.random() < BLINK_SHARE:
        _blink(pose, rng)
    if rng.random() < GAZE_SHARE:
        _look(pose, rng)
    _reconcile(pose, rng)
    return np.array([np.clip(pose.get(name, 0.0), 0, 1) for name in blendshapes], np.float32)


def _leaders(rng: np.random.Generator, rare_share: float) -> list[str]:
    count = int(rng.integers(0, 6))
    leaders = [str(family) for family in rng.choice(FAMILIES, count, replace=False)]
    if rng.random() < rare_share:
        leaders.append(str(rng.choice(RARE)))
    return leaders


def _show(pose: dict[str, float], family: str, weight: float, rng: np.random.Generator) -> None:
    """Set a shape, or both sides of it; a stronger weight that is there already stays."""
    names = {family: weight}
    if family in SIDED:
        left, right = weight, weight * float(np.clip(rng.normal(1, 0.12), 0.6, 1.4))
        if rng.random() > BOTH_SIDES:
            left, right = (left, right * float(rng.uniform(0, 0.4)))[:: 1 if rng.random() < 0.5 else -1]
        names = {f"{family}Left": left, f"{family}Right": right}
    for name, value in names.items():
        pose[name] = max(pose.get(name, 0.0), value)


def _talk(pose: dict[str, float], rng: np.random.Generator) -> None:
    _show(pose, "jawOpen", float(rng.beta(1.2, 3)), rng)
    for family in rng.choice(
        ("mouthFunnel", "mouthPucker", "mouthLowerDown", "mouthUpperUp", "mouthClose"), 2, replace=False
    ):
        _show(pose, str(family), float(rng.uniform(0, 0.5)), rng)


def _blink(pose: dict[str, float], rng: np.random.Generator) -> None:
    left = right = 1.0 if rng.random() < 0.4 else float(rng.uniform(0.1, 1))
    if rng.random() < 0.35:  # a wink: the other eye stays open, or nearly
        left, right = ((left, 0.2 * right), (0.2 * left, right))[int(rng.integers(2))]
    pose["eyeBlinkLeft"], pose["eyeBlinkRight"] = left, right


def _look(pose: dict[str, float], rng: np.random.Generator) -> None:
    yaw_deg, pitch_deg = rng.normal(0, 13), rng.normal(-2, 10)
    converged_deg = abs(rng.normal(0, 4)) if rng.random() < 0.5 else 0.0
    for side, outward in (("Left", 1), ("Right", -1)):
        out_deg = outward * yaw_deg - converged_deg / 2 + rng.normal(0, 0.5)
        pose[f"eyeLookOut{side}"] = max(out_deg, 0) / ASIDE_DEG
        pose[f"eyeLookIn{side}"] = max(-out_deg, 0) / ASIDE_DEG
        pose[f"eyeLookUp{side}"] = max(pitch_deg, 0) / UP_DEG
        pose[f"eyeLookDown{side}"] = max(-pitch_deg, 0) / DOWN_DEG


def _reconcile(pose: dict[str, float], rng: np.random.Generator) -> None:
    """What no face can do at once, and what needs what."""
    for strong, losers in OPPOSED.items():
        for side in ends(strong):
            left_over = max(0.0, 1 - 1.5 * pose.get(f"{strong}{side}", 0.0))
            names = [f"{loser}{end}" for loser in losers for end in ends(loser, side)]
            pose.update({name: pose[name] * left_over for name in names if name in pose})
    if pose.get("tongueOut", 0) > 0.05:
        pose["jawOpen"] = max(pose.get("jawOpen", 0), 0.18 + 0.35 * pose["tongueOut"] * float(rng.uniform(0.7, 1.4)))
    pose["mouthClose"] = min(pose.get("mouthClose", 0), pose.get("jawOpen", 0))
    if pose.get("cheekPuff", 0) > 0.3 and pose.get("jawOpen", 0) < 0.1:
        pose["jawOpen"] = pose["mouthClose"] = 0.0


def ends(family: str, side: str = "") -> tuple[str, ...]:
    """How a shape's name ends: with a side, both sides, or not at all."""
    if family not in SIDED:
        return ("",)
    return (side,) if side else SIDES


def gaze_deg(weights: Floats, blendshapes: Sequence[str]) -> Floats:
    """Each eye's yaw to the head's own left and pitch up, n x 2 eyes (left, right) x 2, from the eyeLook weights."""

    def column(name: str) -> Floats:
        return np.asarray(weights[:, list(blendshapes).index(name)], np.float32)

    eyes = []
    for side, outward in (("Left", 1), ("Right", -1)):
        aside = outward * (column(f"eyeLookOut{side}") - column(f"eyeLookIn{side}")) * ASIDE_DEG
        up = column(f"eyeLookUp{side}") * UP_DEG - column(f"eyeLookDown{side}") * DOWN_DEG
        eyes.append(np.stack([aside, up], axis=1))
    return np.asarray(np.stack(eyes, axis=1), np.float32)


def lid_weights(weights: Floats, blendshapes: Sequence[str]) -> Floats:
    """The weights to deform the mesh by: its lids add up past closed, so that a blink takes the others back, and at
    the lowest gaze they would hide the iris, which in life still shows."""
    order = {name: index for index, name in enumerate(blendshapes)}
    deforming = weights.copy()
    for side in ("Left", "Right"):
        blink = weights[:, order[f"eyeBlink{side}"]]
        deforming[:, order[f"eyeLookDown{side}"]] *= LID_FOLLOWS_DOWN
        for name, share in (("eyeLookDown", 0.9), ("eyeLookUp", 1.0), ("eyeWide", 1.0), ("eyeSquint", 0.5)):
            deforming[:, order[f"{name}{side}"]] *= 1 - share * blink
    return np.asarray(deforming, np.float32)
