"""The morphable face that training pictures are drawn from: its shapes, its materials, and where it is painted.

The face is ICT-FaceKit's light model, whose expressions were sculpted to mean ARKit's. Its licence (MIT, (c) 2020
USC Institute for Creative Technologies) stands in full in ``canonical_geometry`` and covers what is drawn from it.
Coordinates are the model's: centimetres, +X to the head's own left, +Y up, +Z out of the face.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from engines.errors import EngineError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SKIN, MOUTH, SOCKET, GUMS, TEETH, EYEBALL, LASHES, TONGUE = range(8)
PARTS = (  # first quad, quad after the last, material; the eyeballs' inner shells and the fluids are left out
    (0, 11144, SKIN),
    (11144, 13226, MOUTH),
    (13226, 14034, SOCKET),
    (14034, 17006, GUMS),
    (17006, 21496, TEETH),
    (21496, 22296, EYEBALL),
    (23094, 23894, EYEBALL),
    (25304, 26384, LASHES),
)
USUAL_PX = 256
SPACING_CM = {SKIN: 0.10, MOUTH: 0.2, SOCKET: 0.2, GUMS: 0.16, TEETH: 0.14, EYEBALL: 0.1, LASHES: 0.05}
BACK_OF_HEAD = (9230, 11144)
BACK_SPACING_CM = 0.15  # neck and hair have no fine detail
EYEBALL_VERTICES = ((21451, 22221), (23021, 23791))  # left, right
EYEBALL_CENTRES_CM = ((3.12, 3.605, 7.93), (-3.12, 3.605, 7.93))  # of the spheres behind the corneas
TONGUE_VERTICES = (14062, 17039)
LASH_STRIPS = ((25351, 25465), (26035, 26149))  # vertices; the others lie close by
LASHES_PER_CM, LASH_SHARE, LASH_REACH_CM = 5.0, 0.2, 2.25  # from the eye's centre: the strips are too long
BROW_DROP_CM = 0.45  # from the landmarks, which run along the brow's upper edge, to its middle
LEFT_BROW, RIGHT_BROW, OUTER_LIPS = slice(22, 27), slice(17, 22), slice(48, 60)  # of the 68 landmarks


@dataclass(frozen=True)
class FaceModel:
    """The mesh, its shapes and what does not change from face to face."""

    neutral_cm: Floats  # v x 3, the average face
    identities_cm: Floats  # 30 x v x 3
    expressions_cm: Floats  # weights x v x 3
    triangles: Ints  # t x 3
    materials: Ints  # t
    samples: Ints  # s, the triangle of each point that is splatted
    barycentric: Floats  # s x 3
    landmarks: Ints  # 68
    paint: Floats  # v x 4: lips 0..1; along the brow 0..1 from the nose; across it in cm, up; ears 0..1


def load_face(path: Path, blendshapes: Sequence[str], size_px: int = USUAL_PX) -> FaceModel:
    """Read ``ict_light.npz`` and order its shapes as ``blendshapes``, ARKit's names; the tongue's is our own.

    Points are dense enough for a face that fills a picture of ``size_px``.
    """
    if not path.exists():
        raise EngineError(f"no morphable face at {path}; give the path of ict_light.npz")
    with np.load(path) as file:
        neutral_cm = file["neutral"].astype(np.float32)
        identities_cm = file["I"].astype(np.float32)
        offsets_cm = dict(zip((str(name) for name in file["ex"]), file["E"].astype(np.float32), strict=True))
        quads, landmarks = file["faces"].astype(np.int64), file["lm"].astype(np.int64)
    offsets_cm["tongueOut"] = tongue_offsets(neutral_cm, offsets_cm["jawOpen"])
    expressions_cm = np.stack([expression_offsets(name, offsets_cm) for name in blendshapes])
    agape_cm = neutral_cm + offsets_cm["jawOpen"] + offsets_cm["tongueOut"]
    triangles, materials, samples, barycentric = sample_surface(neutral_cm, agape_cm, quads, USUAL_PX / size_px)
    tongue = _tongue_share(neutral_cm, offsets_cm["jawOpen"])[triangles].min(1) > 0
    materials = np.where(tongue & (materials == GUMS), TONGUE, materials)
    paint = paint_vertices(neutral_cm, landmarks)
    return FaceModel(
        neutral_cm, identities_cm, expressions_cm, triangles, materials, samples, barycentric, landmarks, paint
    )


def expression_offsets(name: str, offsets_cm: dict[str, Floats]) -> Floats:
    """One of ARKit's shapes from the model's: same name, same side, or both sides together."""
    if name in offsets_cm:
        return offsets_cm[name]
    for side in ("Left", "Right"):
        split = f"{name.removesuffix(side)}_{side[0]}"
        if name.endswith(side) and split in offsets_cm:
            return offsets_cm[split]
    if f"{name}_L" not in offsets_cm:
        raise EngineError(f"the morphable face has no shape {name}; use ARKit's 52 names")
    return np.asarray(offsets_cm[f"{name}_L"] + offsets_cm[f"{name}_R"], np.float32)


def _tongue_share(neutral_cm: Floats, jaw_cm: Floats) -> Floats:
    """How far along the tongue each vertex lies, from 0 at its root (and off the tongue) to 1 at its tip."""
    x, y, z = neutral_cm.T
    inside = (x / 1.75) ** 2 + (np.maximum(z - 6.5, 0) / 3.15) ** 2 < 1
    moves = np.linalg.norm(jaw_cm, axis=1) > 0.3
    of_part = np.zeros(len(neutral_cm), bool)
    of_part[slice(*TONGUE_VERTICES)] = True
    floor = -4.85 + (0.5 + 0.55 * np.abs(x)) * np.clip((z - 7.8) / 1.3, 0, 1.3)  # below lie the gums
    share = np.clip((z - 4.0) / 5.4, 0, 1)
    return np.asarray(np.where(inside & moves & of_part & (y > floor), share, 0), np.float32)


def tongue_offsets(neutral_cm: Floats, jaw_cm: Floats) -> Floats:
    """Put the tongue out: over the lower teeth and lip, then down."""
    share = _tongue_share(neutral_cm, jaw_cm)
    forward = 4.6 * share
    reach = neutral_cm[:, 2] + forward
    lift = 1.15 * np.clip((reach - 7.5) / 3, 0, 1) - 0.4 * np.maximum(reach - 11.6, 0) ** 2
    wider = 0.55 * share * neutral_cm[:, 0]
    return np.asarray(np.stack([wider, lift * (share > 0), forward], axis=1), np.float32)


def sample_surface(
    neutral_cm: Floats, agape_cm: Floats, quads: Ints, coarseness: float = 1.0
) -> tuple[Ints, Ints, Ints, Floats]:
    """Cut the quads into triangles and lay a regular grid of points on each, as dense as its material asks.

    Where the widest mouth, ``agape_cm``, stretches them they lie as much closer. Returns the triangles, their
    materials, each point's triangle and its barycentric coordinates.
    """
    triangles, materials, samples, barycentric = [], [], [], []
    first_triangle = 0
    for first, end, material in PARTS:
        part = quads[first:end]
        halves = np.stack([part[:, [0, 1, 2]], part[:, [0, 2, 3]]], axis=1).reshape(-1, 3)
        spacing_cm = np.full(len(halves), SPACING_CM[material])
        if material == SKIN:
            spacing_cm[2 * BACK_OF_HEAD[0] :] = BACK_SPACING_CM
        corners_cm = np.stack([neutral_cm[halves], agape_cm[halves]])
        edges_cm = np.linalg.norm(corners_cm - np.roll(corners_cm, 1, axis=2), axis=3).max(axis=(0, 2))
        steps = np.maximum(np.ceil(edges_cm / (coarseness * spacing_cm)), 1).astype(int)
        for step in np.unique(steps):
            grid = triangle_grid(int(step))
            of_step = np.nonzero(steps == step)[0] + first_triangle
            samples.append(np.repeat(of_step, len(grid)))
            barycentric.append(np.tile(grid, (len(of_step), 1)))
        triangles.append(halves)
        materials.append(np.full(len(halves), material))
        first_triangle += len(halves)
    all_triangles, all_materials, of_sample = (np.concatenate(lists) for lists in (triangles, materials, samples))
    shares = np.concatenate(barycentric).astype(np.float32)
    kept = _is_hair(neutral_cm, all_triangles[of_sample], shares) | (all_materials[of_sample] != LASHES)
    return all_triangles, all_materials, of_sample[kept], shares[kept]


def _is_hair(neutral_cm: Floats, corners: Ints, barycentric: Floats) -> npt.NDArray[np.bool_]:
    """Which points of the strips that lashes are modelled on are hairs, and which the gaps between."""
    at_cm = (neutral_cm[corners] * barycentric[..., None]).sum(1)
    reach_cm = np.min([np.linalg.norm(at_cm - centre, axis=1) for centre in EYEBALL_CENTRES_CM], axis=0)
    of_strip = np.any([(corners[:, 0] >= first) & (corners[:, 0] < end) for first, end in LASH_STRIPS], axis=0)
    hairs = ((at_cm[:, 0] * LASHES_PER_CM) % 1 < LASH_SHARE) & (reach_cm < LASH_REACH_CM)
    return np.asarray(of_strip & hairs, np.bool_)


def triangle_grid(steps: int) -> Floats:
    """The middles of the ``steps`` squared like triangles that a triangle is cut into, barycentric."""
    i, j = np.mgrid[0:steps, 0:steps]
    up = np.stack([i, j], -1).reshape(-1, 2)
    first = up[up.sum(1) < steps] + 1 / 3
    second = up[up.sum(1) < steps - 1] + 2 / 3
    corner = np.concatenate([first, second]) / steps
    grid: Floats = np.concatenate([corner, 1 - corner.sum(1, keepdims=True)], axis=1).astype(np.float32)
    return grid


def paint_vertices(neutral_cm: Floats, landmarks: Ints) -> Floats:
    """Where lips, brows and ears are, for every vertex of the average face."""
    lips_cm = neutral_cm[landmarks[OUTER_LIPS], :2].reshape(-1, 1, 2)
    inside_cm = np.array([cv2.pointPolygonTest(lips_cm, (float(x), float(y)), True) for x, y, _ in neutral_cm])
    lips = np.clip(inside_cm / 0.25 + 0.5, 0, 1) * (neutral_cm[:, 2] > 8)
    drop_cm = np.array([0, BROW_DROP_CM, 0], np.float32)
    right = neutral_cm[landmarks[RIGHT_BROW]][::-1] - drop_cm
    left = neutral_cm[landmarks[LEFT_BROW]] - drop_cm
    along, across = np.where(neutral_cm[:, :1] > 0, _along_curve(left, neutral_cm), _along_curve(right, neutral_cm)).T
    x, y, z = np.abs(neutral_cm[:, 0]), neutral_cm[:, 1], neutral_cm[:, 2]
    ears = np.clip(3 - 3 * ((z + 0.3) / 2.3) ** 2 - 3 * ((y - 1.1) / 3.4) ** 2, 0, 1) * (x > 6)
    return np.stack([lips, along, across, ears], axis=1).astype(np.float32)


def _along_curve(curve_cm: Floats, points_cm: Floats) -> Floats:
    """Each point's place along a curve seen from the front, 0..1 from end to end, and its height above it."""
    before, after = 2 * curve_cm[0] - curve_cm[1], 2 * curve_cm[-1] - curve_cm[-2]  # straight on beyond both ends
    path_cm = np.concatenate([[before], curve_cm, [after]])
    places = (np.arange(len(path_cm)) - 1) / (len(curve_cm) - 1)
    knots = np.linspace(places[0], places[-1], 90)
    dense = np.stack([np.interp(knots, places, path_cm[:, axis]) for axis in (0, 1)], 1)
    offsets = points_cm[:, None, :2] - dense
    nearest = np.linalg.norm(offsets, axis=2).argmin(1)
    offset = offsets[np.arange(len(offsets)), nearest]
    return np.stack([knots[nearest], np.copysign(np.linalg.norm(offset, axis=1), offset[:, 1])], axis=1)
