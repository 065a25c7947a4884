"""What to draw: people, their expressions, how they stand before the camera, and how they are lit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.training.renders_weights import sample_weights

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

HEAD_CM = (0.0, 3.6, 8.0)  # the origin of heads: midway between the eyes' centres
SHAPE_SPREAD = 0.75  # standard deviation of an identity's coefficients
FACE_CM = 20.0  # from chin to hairline, with the turn of a head


@dataclass(frozen=True)
class Scenes:
    """A batch of pictures to draw, each field with one row a picture; colours are sRGB, 0..1."""

    weights: Floats  # n x 52, 0..1
    identity: Ints  # n; the same number is the same person: shape, skin, brows, beard, hair
    shape: Floats  # n x 30, coefficients of the morphable face
    rotation: Floats  # n x 3 x 3, from the head to the camera: +X right, +Y up, +Z to the viewer
    position_cm: Floats  # n x 3, of the point midway between the eyes' centres, seen from the camera
    focal_px: Floats  # n
    centre_px: Floats  # n x 2, where the lens points, often outside the picture
    looks: dict[str, Floats]  # n or n x k, by name: see ``_person`` and ``_moment``
    seed: int  # of noise, background and camera


def sample_scenes(
    n: int, size_px: int, blendshapes: Sequence[str], rng: np.random.Generator, identity: Ints | None = None
) -> Scenes:
    """Draw ``n`` scenes at random; ``identity`` names a person for each, or everyone is new."""
    people = rng.integers(0, 2**31, n) if identity is None else np.broadcast_to(np.asarray(identity, np.int64), (n,))
    looks, shapes = [], []
    for person in people:
        own = np.random.default_rng([int(person), 52])
        shapes.append(own.normal(0, SHAPE_SPREAD, 30))
        looks.append(_person(own) | _moment(rng))
    rotation, position_cm, focal_px, centre_px = sample_view(n, size_px, rng)
    return Scenes(
        weights=sample_weights(n, blendshapes, rng),
        identity=np.asarray(people, np.int64),
        shape=np.array(shapes, np.float32),
        rotation=rotation,
        position_cm=position_cm,
        focal_px=focal_px,
        centre_px=centre_px,
        looks={name: np.array([look[name] for look in looks], np.float32) for name in looks[0]},
        seed=int(rng.integers(0, 2**31)),
    )


def sample_view(n: int, size_px: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats, Floats]:
    """Heads turned by up to 40, 30 and 25 degrees, 0.35 to 1.5 m away, off the lens's axis by what a lens of 30 to 80
    degrees sees; the picture is the part of the view that holds the face.

    Returns rotations, positions in cm, focal lengths in pixels and principal points in pixels.
    """
    yaw, pitch, roll = (np.radians(_bounded(rng, n, limit)) for limit in (40, 30, 25))
    rotation = turn(yaw, pitch, roll)
    distance_cm = np.exp(rng.uniform(np.log(35), np.log(150), n))
    half_view = np.radians(rng.uniform(30, 80, n) / 2)
    aside = np.tan(half_view)[:, None] * rng.uniform(-0.6, 0.6, (n, 2))
    position_cm = np.concatenate([aside * distance_cm[:, None], -distance_cm[:, None]], axis=1)
    focal_px = size_px * rng.uniform(0.62, 0.95, n) * distance_cm / FACE_CM
    middle_cm = rotation @ np.array([0, -2.0, 1.0]) + position_cm
    middle_px = size_px / 2 + rng.normal(0, 0.04, (n, 2)) * size_px
    slope = middle_cm[:, :2] / -middle_cm[:, 2:] * [1, -1]
    centre_px = middle_px - focal_px[:, None] * slope
    return (
        rotation.astype(np.float32),
        position_cm.astype(np.float32),
        focal_px.astype(np.float32),
        centre_px.astype(np.float32),
    )


def _bounded(rng: np.random.Generator, n: int, limit: float) -> npt.NDArray[np.float64]:
    return np.clip(rng.normal(0, 0.45 * limit, n), -limit, limit)


def turn(yaw: npt.NDArray[np.float64], pitch: npt.NDArray[np.float64], roll: npt.NDArray[np.float64]) -> Floats:
    """Rotations, n x 3 x 3, by angles in radians: the face to the picture's right, then up, then clockwise."""
    zero, one = np.zeros_like(yaw), np.ones_like(yaw)

    def rows(*values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.stack(values, axis=-1).reshape(*yaw.shape, 3, 3)

    right = rows(np.cos(yaw), zero, np.sin(yaw), zero, one, zero, -np.sin(yaw), zero, np.cos(yaw))
    up = rows(one, zero, zero, zero, np.cos(pitch), np.sin(pitch), zero, -np.sin(pitch), np.cos(pitch))
    clockwise = rows(np.cos(roll), np.sin(roll), zero, -np.sin(roll), np.cos(roll), zero, zero, zero, one)
    return np.asarray(clockwise @ up @ right, np.float32)


SKINS = np.array(  # sRGB of light to dark skin, lit evenly
    [
        [0.96, 0.82, 0.74],
        [0.90, 0.72, 0.60],
        [0.80, 0.61, 0.47],
        [0.66, 0.46, 0.33],
        [0.47, 0.31, 0.22],
        [0.30, 0.19, 0.14],
    ]
)
HAIRS = np.array(
    [
        [0.07, 0.05, 0.04],
        [0.18, 0.11, 0.07],
        [0.34, 0.21, 0.12],
        [0.62, 0.46, 0.26],
        [0.50, 0.22, 0.10],
        [0.60, 0.60, 0.60],
    ]
)
IRISES = np.array([[0.25, 0.14, 0.07], [0.38, 0.24, 0.12], [0.35, 0.40, 0.22], [0.36, 0.50, 0.62], [0.45, 0.50, 0.52]])


def _person(rng: np.random.Generator) -> dict[str, npt.ArrayLike]:
    """What stays with a person."""
    tone = float(rng.uniform(0, len(SKINS) - 1))
    skin = np.array([np.interp(tone, range(len(SKINS)), SKINS[:, channel]) for channel in range(3)])
    darkest = tone > 2.5
    hair = HAIRS[int(rng.integers(2 if darkest else len(HAIRS)))] * rng.uniform(0.6, 1.2)
    bearded = rng.random() < 0.3
    redness = rng.uniform(0.2, 1)
    return {
        "skin": skin * rng.uniform(0.92, 1.05, 3),
        "mottle": rng.uniform(0.02, 0.10),
        "freckles": rng.uniform(0, 0.5) if rng.random() < 0.25 else 0.0,
        "blush": rng.uniform(0, 0.25),
        "lips": skin * (1 - redness * np.array([0.10, 0.38, 0.32])) * rng.uniform(0.75, 1.0),
        "iris": IRISES[int(rng.integers(2 if darkest else len(IRISES)))] * rng.uniform(0.6, 1.3),
        "iris_deg": rng.uniform(21, 24.5),
        "sclera": rng.uniform(0.4, 0.68),
        "brow": np.minimum(hair * rng.uniform(0.5, 1.1), skin * 0.7),
        "brow_cm": rng.uniform(0.28, 0.62),
        "brow_full": rng.uniform(0.4, 1),
        "lashes": rng.uniform(0, 1),
        "beard": rng.uniform(0.15, 1) if bearded else 0.0,
        "moustache_only": float(rng.random() < 0.2),
        "hair": hair,
        "hair_cm": rng.choice([0, 0.3, 0.8, 1.8, 3.0], p=[0.1, 0.2, 0.25, 0.25, 0.2]) * rng.uniform(0.7, 1.2),
        "hairline_cm": rng.uniform(9.0, 11.0) - (rng.uniform(1, 3.2) if rng.random() < 0.25 else 0),
        "long_hair_cm": rng.uniform(6, 22) if rng.random() < 0.4 else 0.0,
        "hair_wide_cm": rng.uniform(7.6, 9.5),
        "teeth": np.array([0.93, 0.89, 0.80]) * rng.uniform(0.75, 1.02),
        "wrinkles": rng.uniform(0, 1) ** 1.5,
        "gloss": rng.uniform(0.05, 0.5),
    }


def _moment(rng: np.random.Generator) -> dict[str, npt.ArrayLike]:
    """What changes from one picture of a person to the next."""
    harsh = rng.random() < 0.3
    glasses = rng.random() < 0.22
    light = np.array([rng.normal(0, 0.7), rng.normal(0.35, 0.5), 1.0])
    second = np.array([rng.normal(0, 1), rng.normal(0, 0.7), rng.uniform(-0.3, 1)])
    return {
        "light": light / np.linalg.norm(light),
        "light_colour": np.clip(rng.normal(1, 0.08, 3), 0.75, 1.2) * rng.uniform(0.6, 1.3),
        "second": second / np.linalg.norm(second),
        "second_colour": np.clip(rng.normal(1, 0.15, 3), 0.5, 1.5) * rng.uniform(0, 0.5),
        "ambient": np.clip(rng.normal(1, 0.06, 3), 0.8, 1.2)
        * (rng.uniform(0.12, 0.3) if harsh else rng.uniform(0.3, 0.7)),
        "hardness": float(harsh),
        "glasses": float(glasses),
        "frame": rng.choice(np.array([[0.05, 0.05, 0.05], [0.3, 0.2, 0.12], [0.6, 0.55, 0.45], [0.5, 0.1, 0.1]])),
        "frame_cm": rng.uniform(0.1, 0.5),
        "lens_cm": np.array([rng.uniform(2.1, 2.7), rng.uniform(1.5, 2.3)]),
        "lens_square": rng.uniform(2, 5),
        "lens_tint": rng.uniform(0.3, 0.93) if glasses and rng.random() < 0.25 else rng.uniform(0, 0.12),
        "lens_drop_cm": rng.uniform(0.0, 0.7),
        "clothes": rng.uniform(0.02, 0.9, 3),
        "hand": float(rng.random() < 0.06),
        "exposure": np.exp(rng.normal(0.1, 0.22)),
        "gamma": rng.uniform(0.85, 1.2),
        "gain": rng.uniform(0.93, 1.07, 3),
        "saturation": rng.uniform(0.6, 1.2) if rng.random() < 0.9 else 0.0,
        "blur_px": rng.exponential(0.5),
        "coarse": rng.uniform(1, 2.6) if rng.random() < 0.45 else 1.0,
        "noise": rng.exponential(0.012),
        "jpeg": rng.uniform(0.02, 0.5) if rng.random() < 0.5 else 0.0,
    }
