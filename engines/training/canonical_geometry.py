"""Make the average face in metric space that head pose and expression measure on.

The neutral face of ICT-FaceKit is drawn from several angles, the landmark network reads each picture, and
every landmark is lifted back onto the mesh along its pixel's ray. A view counts more the squarer it sees the
surface and the closer it comes to the network's own depth, aligned to the mesh; at the face's edge, where no
view is square, that depth takes over. The two halves are then made mirror images. Irises are set by anatomy,
not by the drawing. Needs ``scipy``.

    python -m engines.training.canonical_geometry ict_light.npz appliance/face/canonical.npz \\
        --landmarks package.module:function

``function(picture)`` takes height x width x 3 RGB and returns 478 x 3 pixels, as float32: the landmark
network with its crop.

The mesh and what is derived from it, this script's output included, come under this notice:

    MIT License. Copyright (c) 2020 USC Institute for Creative Technologies. Permission is hereby granted,
    free of charge, to any person obtaining a copy of this software and associated documentation files (the
    "Software"), to deal in the Software without restriction, including without limitation the rights to use,
    copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
    persons to whom the Software is furnished to do so, subject to the following conditions: The above
    copyright notice and this permission notice shall be included in all copies or substantial portions of the
    Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING
    BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
    NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR
    OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
    CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Picture = npt.NDArray[np.uint8]
Landmarker = Callable[[Picture], npt.NDArray[np.float32]]

PICTURE_PX = 640
FOCAL_PX = 1500.0
DISTANCE_M = 0.75

SKIN_QUADS = (0, 11144)
PARTS = (  # first quad, quad after the last, colour: skin, mouth, gums, teeth, eyeballs with their shells
    (0, 11144, (205, 160, 135)),
    (11144, 13226, (70, 20, 20)),
    (14034, 17006, (170, 70, 70)),
    (17006, 21496, (235, 230, 215)),
    (21496, 22296, (240, 240, 240)),
    (22296, 23094, (60, 40, 25)),
    (23094, 23894, (240, 240, 240)),
    (23894, 24692, (60, 40, 25)),
)
EYEBALL_QUADS = ((21496, 22296), (23094, 23894))
LIP_TINT = (0.85, 0.62, 0.62)
BROW_COLOUR = (60, 45, 35)

# The mesh's eyeballs are larger than life, so only the line of sight and the cornea's front are taken from
# it. The eye turns about a point 13.5 mm behind the cornea (Fry and Hill 1962); the iris lies 3.5 mm behind
# it and is 11.7 mm wide.
EYE_CENTRE_M = (0.0315, 0.0360, 0.0965 - 0.0135)
IRIS_DEPTH_M = 0.0100
IRIS_RADIUS_M = 0.00585
FIRST_IRIS = 468
OWN_DEPTH_WEIGHT = 0.3  # of the network's own depth, where one square view weighs 1
VIEWS_DEG = [(yaw, pitch) for yaw in (-24, -12, 0, 12, 24) for pitch in (-12, 0, 12)]


@dataclass(frozen=True)
class Mesh:
    """A head in metres, origin midway between the eyes' centres, +X to its left, +Y up, +Z out of the face."""

    vertices_m: Floats
    quads: Ints
    quad_ids: Ints  # each quad's number in the file
    colours: Floats  # quads x 3, RGB
    brows: list[Ints]  # vertices along each brow


def load_head(path: Path, expression: str = "") -> Mesh:
    """Read the neutral head and paint it: lips, irises, pupils and brows, which the network looks for.

    With an ``expression``, the head makes it in full; the paint stays where it was.
    """
    with np.load(path) as file:
        vertices_m = file["neutral"].astype(float) / 100 - [0, EYE_CENTRE_M[1], EYE_CENTRE_M[2]]
        quads, marks = file["faces"].astype(int), file["lm"]
        offsets_m = file["E"][list(file["ex"]).index(expression)].astype(float) / 100 if expression else 0.0
    ids = np.concatenate([np.arange(first, end) for first, end, _ in PARTS])
    colours = np.concatenate([np.tile(np.array(colour, float), (end - first, 1)) for first, end, colour in PARTS])
    centres_m = vertices_m[quads[ids]].mean(1)
    outline_m = vertices_m[marks[48:60], :2].astype(np.float32).reshape(-1, 1, 2)
    for i in np.nonzero((ids < SKIN_QUADS[1]) & (centres_m[:, 2] > -0.03))[0]:
        if cv2.pointPolygonTest(outline_m, (float(centres_m[i, 0]), float(centres_m[i, 1])), False) >= 0:
            colours[i] *= LIP_TINT
    for first, end in EYEBALL_QUADS:
        ball = np.nonzero((ids >= first) & (ids < end))[0]
        offset_m = centres_m[ball] - centres_m[ball].mean(0)
        angle_deg = np.degrees(np.arccos(offset_m[:, 2] / np.linalg.norm(offset_m, axis=1)))
        colours[ball[angle_deg < 28]] = (60, 40, 25)
        colours[ball[angle_deg < 12]] = (10, 10, 10)
    return Mesh(vertices_m + offsets_m, quads[ids], ids, colours, [marks[17:22], marks[22:27]])


def turn(yaw_deg: float, pitch_deg: float) -> Floats:
    """Rotation that turns the face to the picture's right by yaw, then up by pitch."""
    right = cv2.Rodrigues(np.array([0.0, np.radians(yaw_deg), 0.0]))[0]
    up = cv2.Rodrigues(np.array([-np.radians(pitch_deg), 0.0, 0.0]))[0]
    return np.asarray(up @ right, float)


def draw(mesh: Mesh, rotation: Floats, light: Floats) -> tuple[Picture, Ints]:
    """Paint the quads from back to front, from ``DISTANCE_M`` away; return the RGB picture and each pixel's quad."""
    seen_m = mesh.vertices_m @ rotation.T - [0, 0, DISTANCE_M]
    pixels = PICTURE_PX / 2 + FOCAL_PX * seen_m[:, :2] * [1, -1] / -seen_m[:, 2:]
    corners_m = seen_m[mesh.quads]
    normals = np.cross(corners_m[:, 2] - corners_m[:, 0], corners_m[:, 3] - corners_m[:, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    shade = 0.35 + 0.65 * np.clip(normals @ (light / np.linalg.norm(light)), 0, 1)
    colours = np.clip(mesh.colours * shade[:, None], 0, 255)
    inside_out = (mesh.quad_ids >= SKIN_QUADS[1]) & (mesh.quad_ids < PARTS[1][1])
    facing = (np.einsum("qi,qi->q", normals, corners_m.mean(1)) < 0) | inside_out
    fixed = np.rint(pixels[mesh.quads] * 16).astype(
        np.int32
    )  # sixteenths of a pixel, as OpenCV's shift of 4 reads them
    picture = np.full((PICTURE_PX, PICTURE_PX, 3), 120, np.uint8)
    quad_of = np.full((PICTURE_PX, PICTURE_PX), -1, np.int32)
    for quad in np.argsort(corners_m[:, :, 2].mean(1)):
        if facing[quad]:
            cv2.fillConvexPoly(picture, fixed[quad], colours[quad].tolist(), cv2.LINE_8, 4)
            cv2.fillConvexPoly(quad_of, fixed[quad], int(quad), cv2.LINE_8, 4)
    for brow in mesh.brows:
        line = np.rint(pixels[brow] * 16).astype(np.int32)
        cv2.polylines(picture, [line], False, BROW_COLOUR, PICTURE_PX // 60, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(picture, (3, 3), 0), np.uint8), quad_of.astype(np.int64)


def lift(mesh: Mesh, rotation: Floats, quad_of: Ints, points_px: Floats) -> tuple[Floats, Floats]:
    """Meet each pixel's ray with the skin it shows; beside the skin (outline, open eye), with the nearest that shows.

    Returns the points in head metres and the cosine at which each ray meets the surface.
    """
    shown = np.isin(quad_of, np.nonzero(mesh.quad_ids < SKIN_QUADS[1])[0])
    rows, columns = np.nonzero(shown)
    skin_px = np.stack([columns, rows], 1).astype(float)
    found_px = points_px[:, :2].copy()
    quads = np.empty(len(points_px), int)
    for i, point_px in enumerate(found_px):
        nearest = int(np.argmin(((skin_px - point_px) ** 2).sum(1)))
        quads[i] = quad_of[rows[nearest], columns[nearest]]
        if np.abs(skin_px[nearest] - point_px).max() > 1:
            found_px[i] = skin_px[nearest]
    corners_m = mesh.vertices_m[mesh.quads[quads]] @ rotation.T - [0, 0, DISTANCE_M]
    normals = np.cross(corners_m[:, 2] - corners_m[:, 0], corners_m[:, 3] - corners_m[:, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    rays = np.c_[(found_px - PICTURE_PX / 2) / FOCAL_PX * [1, -1], -np.ones(len(found_px))]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    cosine = np.abs(np.einsum("pi,pi->p", rays, normals))
    along_m = np.einsum("pi,pi->p", corners_m.mean(1), normals) / np.einsum("pi,pi->p", rays, normals)
    met_m = rays * along_m[:, None]
    # At a grazing ray the quad's plane runs away from the quad: the quad's own middle is the truer answer.
    astray = np.linalg.norm(met_m - corners_m.mean(1), axis=1) > 0.006
    met_m[astray] = corners_m[astray].mean(1)
    return (met_m + [0, 0, DISTANCE_M]) @ rotation, cosine


def align(source: Floats, target: Floats, weights: Floats) -> Floats:
    """Bring ``source`` onto ``target`` by the weighted similarity of least squares (Umeyama, PAMI 1991)."""
    share = weights / weights.sum()
    source_mean, target_mean = share @ source, share @ target
    spread = (target - target_mean).T @ (share[:, None] * (source - source_mean))
    left, stretch, right = np.linalg.svd(spread)
    signs = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    scale = (stretch * signs).sum() / (share @ ((source - source_mean) ** 2).sum(1))
    return np.asarray(target_mean + scale * (source - source_mean) @ (left * signs @ right).T, float)


def network_depth(points_px: Floats, lifted_m: Floats, cosine: Floats) -> Floats:
    """The network's own 3D points brought onto the lifted ones, by those that are seen squarely and agree."""
    upright = points_px * [1, -1, -1]
    weights = (cosine > 0.6).astype(float)
    for _ in range(4):
        aligned_m = align(upright, lifted_m, weights)
        astray_m = np.linalg.norm(aligned_m - lifted_m, axis=1)
        weights = (cosine > 0.4) * np.exp(-((astray_m / 0.008) ** 2)) + 1e-9
    return aligned_m


def average_face(mesh: Mesh, landmarks: Landmarker) -> tuple[Floats, Floats]:
    """The 468 points of the surface in metres, and the same by the network's own depth alone."""
    lights = np.random.default_rng(1)
    lifted_m, own_m, cosines = [], [], []
    for yaw_deg, pitch_deg in VIEWS_DEG:
        rotation = turn(yaw_deg, pitch_deg)
        picture, quad_of = draw(mesh, rotation, np.array([lights.uniform(-0.5, 0.5), lights.uniform(0, 0.6), 1]))
        points_px = landmarks(picture)[:FIRST_IRIS].astype(float)
        points_m, cosine = lift(mesh, rotation, quad_of, points_px)
        lifted_m.append(points_m)
        own_m.append(network_depth(points_px, points_m, cosine))
        cosines.append(cosine)
    own = np.mean(own_m, axis=0)
    astray_m = np.linalg.norm(np.array(lifted_m) - own, axis=2)
    weights = (np.array(cosines) ** 2 * np.exp(-((astray_m / 0.010) ** 2)))[..., None]
    total = (weights * lifted_m).sum(0) + OWN_DEPTH_WEIGHT * own
    return total / (weights.sum(0) + OWN_DEPTH_WEIGHT), own


def mirror_of(*faces_m: Floats) -> Ints:
    """For each point its mirror image, by the assignment of least squares over several faces of the same person.

    An open mouth must be among them: closed lips lie on each other.
    """
    cost = np.zeros((len(faces_m[0]), len(faces_m[0])))
    for face_m in faces_m:
        cost += ((face_m[None] - (face_m * [-1, 1, 1])[:, None]) ** 2).sum(2)
    mirror = np.asarray(linear_sum_assignment(cost + cost.T)[1], int)
    if (mirror[mirror] != np.arange(len(mirror))).any():
        raise ValueError("the landmarks do not pair up left and right; look at what the landmark network returned")
    return mirror


def irises() -> Floats:
    """Both irises of eyes that look straight ahead: centre, then the picture's right, top, left, bottom."""
    ring = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]) * IRIS_RADIUS_M
    return np.concatenate([ring + [side * EYE_CENTRE_M[0], 0, IRIS_DEPTH_M] for side in (-1, 1)])


def make(mesh: Mesh, open_jaw: Mesh, landmarks: Landmarker) -> tuple[Floats, Ints]:
    """The 478 points in metres, and the mirror image of each."""
    average_m, own_m = average_face(mesh, landmarks)
    picture, _ = draw(open_jaw, np.eye(3), np.array([0, 0.3, 1]))
    open_m = (landmarks(picture)[:FIRST_IRIS] * [1, -1, -1] - [PICTURE_PX / 2, 0, 0]) * DISTANCE_M / FOCAL_PX
    mirror = mirror_of(own_m, open_m)
    symmetric_m = (average_m + average_m[mirror] * [-1, 1, 1]) / 2
    # Right iris, left iris: centre to centre, and the picture's right of one is the picture's left of the other.
    iris_mirror = FIRST_IRIS + np.array([5, 8, 7, 6, 9, 0, 3, 2, 1, 4])
    return np.concatenate([symmetric_m, irises()]), np.concatenate([mirror, iris_mirror])


def main() -> None:
    """Read the arguments, make the face, write it."""
    parser = argparse.ArgumentParser(description="Make the average face in metric space from a neutral head mesh.")
    parser.add_argument("mesh", type=Path, help="ICT-FaceKit's light head: neutral, faces, ex, E, lm in one .npz")
    parser.add_argument("out", type=Path, help="the .npz to write")
    parser.add_argument("--landmarks", required=True, help="module:function that reads 478 landmarks from a picture")
    options = parser.parse_args()
    module, function = options.landmarks.split(":")
    points_m, mirror = make(
        load_head(options.mesh), load_head(options.mesh, "jawOpen"), getattr(import_module(module), function)
    )
    np.savez_compressed(
        options.out,
        points_m=points_m.astype(np.float32),
        mirror=mirror.astype(np.int16),
        eyes_m=np.array([[-EYE_CENTRE_M[0], 0, 0], [EYE_CENTRE_M[0], 0, 0]], np.float32),
        notice="Derived from ICT-FaceKit, MIT License, Copyright (c) 2020 USC Institute for Creative Technologies",
    )


if __name__ == "__main__":
    main()
