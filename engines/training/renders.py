"""Draw faces whose 52 ARKit weights are known, in batches, with nothing but PyTorch.

A fixed, dense set of points on the morphable face moves with it, is projected and splatted, the nearest point winning;
each pixel then meets its triangle exactly and is shaded on its own. ``FaceRenderer(path, device, names).render(
renderer.sample(64, rng))`` gives pictures and what is known of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engines.training import renders_faces as faces
from engines.training.renders_camera import background, photograph, put_before_background, put_hands
from engines.training.renders_scenes import HEAD_CM, Scenes, sample_scenes
from engines.training.renders_shading import Noise, Surface, hair_cover, shade
from engines.training.renders_weights import gaze_deg, lid_weights

OVERSAMPLED = 2
NOWHERE = 2**62
SHADOW_PX, SHADOW_CM, SHADOW_BIAS_CM, SHADOW_EACH = 320, 34.0, 0.45, 2
BARE_LASHES = 0.5  # lashes paler than this do not show
EYEBALL_BEHIND_CM = 0.08  # the model's corneas are larger than life: lids stay before them


Steps = tuple[Callable[..., Any], ...]


@dataclass(frozen=True)
class Truth:
    """What is known of each picture, as numpy arrays; pixels count from the corner of the first pixel."""

    landmarks: npt.NDArray[np.float32]  # n x 68 x 3: pixels, and cm nearer than the eyes' middle
    rotation: npt.NDArray[np.float32]  # n x 3 x 3, as in the scenes
    eyes_cm: npt.NDArray[np.float32]  # n x 2 x 3, centres of the left and right eyeball before the camera
    gaze_deg: npt.NDArray[np.float32]  # n x 2 x 2: left and right eye, yaw to the head's left and pitch up
    box_px: npt.NDArray[np.float32]  # n x 4, left, top, right, bottom of the 68 landmarks


class FaceRenderer:
    """The face on its device, ready to draw.

    ``blendshapes`` are the 52 names in the order of the weights. Pictures are ``size_px`` each way, drawn
    ``oversampled`` times as large, each way, and averaged down. ``compiled`` for each size of batch when it is first
    drawn, a CUDA device takes half of the time for the next ones.
    """

    def __init__(
        self,
        ict: Path,
        device: str,
        blendshapes: Sequence[str],
        size_px: int = 256,
        oversampled: int = OVERSAMPLED,
        compiled: bool = False,
    ) -> None:
        self._names = tuple(blendshapes)
        self._size_px, self._oversampled = size_px, oversampled
        self._device = torch.device(device)
        model = faces.load_face(ict, blendshapes, size_px)
        place = self._place
        self._neutral = place(model.neutral_cm)
        shapes = np.concatenate([model.identities_cm, model.expressions_cm])
        self._shapes = place(shapes.reshape(len(shapes), -1))
        self._triangles, self._materials = place(model.triangles), place(model.materials)
        self._samples, self._barycentric = place(model.samples), place(model.barycentric)
        self._landmarks, self._paint = place(model.landmarks), place(model.paint)
        self._noise = Noise(self._device)
        self._head = place(np.array(HEAD_CM, np.float32))
        self._behind = place(np.where(model.materials == faces.EYEBALL, EYEBALL_BEHIND_CM, 0).astype(np.float32))
        steps: Steps = (self._meet, self._lit, shade, put_before_background)
        self._steps = tuple(map(_compiled, steps)) if compiled and self._device.type == "cuda" else steps

    def _place(self, array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def sample(self, n: int, rng: np.random.Generator, identity: npt.NDArray[np.int64] | None = None) -> Scenes:
        """Draw ``n`` scenes at random; ``identity`` names a person for each. Neutral pictures of the same people:
        ``dataclasses.replace(scenes, weights=np.zeros_like(scenes.weights))``."""
        return sample_scenes(n, self._size_px, self._names, rng, identity)

    def render(self, scenes: Scenes) -> tuple[npt.NDArray[np.uint8], Truth]:
        """Draw the scenes: n x size x size x 3 RGB pictures, and what is true of them."""
        pictures, truth = self.render_tensor(scenes)
        return pictures.cpu().numpy(), truth

    def render_tensor(self, scenes: Scenes) -> tuple[Tensor, Truth]:
        """As ``render``, with the pictures left on the device."""
        with torch.inference_mode():
            return self._render(scenes)

    def _render(self, scenes: Scenes) -> tuple[Tensor, Truth]:
        looks = {name: self._place(values) for name, values in scenes.looks.items()}
        random = torch.Generator(self._device).manual_seed(scenes.seed)
        head_cm, centres_cm = self._deform(scenes, looks)
        rotation, position = self._place(scenes.rotation), self._place(scenes.position_cm)
        camera_cm = (head_cm - self._head) @ rotation.transpose(1, 2) + position[:, None]
        focal, centre = (self._place(values) * self._oversampled for values in (scenes.focal_px, scenes.centre_px))
        screen = project(camera_cm, focal, centre)
        side = self._size_px * self._oversampled
        triangle_of = self._splat(screen, side, looks["lashes"] > BARE_LASHES)
        meet, light, paint, put_before = self._steps
        surface = meet(triangle_of, screen, camera_cm, side)
        surface.look_from(rotation, position, focal, centre, self._head, side)
        surface.lip_z_cm = head_cm[:, self._landmarks[48:60], 2].mean(1)
        surface.lit = light(surface, camera_cm - position[:, None], looks["light"], position)
        weights = {name: self._place(scenes.weights[:, i]) for i, name in enumerate(self._names)}
        colours = paint(surface, looks, weights, self._noise)
        behind = background(len(colours), side, random)
        colours = put_before(colours, behind, surface, looks, self._noise).view(-1, side, side, 3)
        pictures = photograph(put_hands(colours, looks, random), looks, self._oversampled, random)
        return pictures, self._truth(scenes, screen, camera_cm, centres_cm, rotation, position)

    def _deform(self, scenes: Scenes, looks: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Vertices in the head's own space, n x v x 3 cm, and the eyes' centres, n x 2 x 3."""
        mix = np.concatenate([scenes.shape, lid_weights(scenes.weights, self._names)], axis=1)
        vertices = self._neutral + (self._place(mix) @ self._shapes).view(len(mix), -1, 3)
        gaze = torch.deg2rad(self._place(gaze_deg(scenes.weights, self._names)))
        centres = []
        for eye, (first, end) in enumerate(faces.EYEBALL_VERTICES):
            ball, still = vertices[:, first:end], self._neutral[first:end]
            centre = ball.mean(1) + self._neutral.new_tensor(faces.EYEBALL_CENTRES_CM[eye]) - still.mean(0)
            turned = (ball - centre[:, None]) @ eye_rotation(gaze[:, eye]).transpose(1, 2)
            vertices[:, first:end] = turned + centre[:, None]
            centres.append(centre)
        normals = self._vertex_normals(vertices)
        cover = hair_cover(self._neutral[None], self._paint[None, :, 3], looks, self._noise)
        wavy = 0.7 + 0.6 * self._noise(self._neutral[None] * 0.25, looks["skin"])[..., 0]
        of_skin = torch.zeros(len(self._neutral), device=self._device)
        of_skin[:11248] = 1
        thickness = looks["hair_cm"][:, None] * (cover * of_skin) ** 2 * wavy
        return vertices + normals * thickness[..., None], torch.stack(centres, 1)

    def _vertex_normals(self, vertices: Tensor) -> Tensor:
        a, b, c = (vertices[:, self._triangles[:, corner]] for corner in range(3))
        across = torch.linalg.cross(b - a, c - a)
        normals = torch.zeros_like(vertices)
        for corner in range(3):
            normals.index_add_(1, self._triangles[:, corner], across)
        return torch.nn.functional.normalize(normals, dim=-1)

    def _splat(self, screen: Tensor, side: int, lashes: Tensor) -> Tensor:
        """The triangle that each pixel shows, n x side*side, or -1."""
        shown = self._facing(screen) & (lashes[:, None] | (self._materials != faces.LASHES))
        seen = shown[:, self._samples]
        points = self._spread(screen)
        depth = points[..., 2] + self._behind[self._samples]
        key = (depth.clamp(0, 1000) * 4000).long() << 32 | self._samples
        buffer = torch.full((len(screen), side * side), NOWHERE, dtype=torch.int64, device=self._device)
        corner_px = (points[..., :2] - 0.5).floor().long()
        for right in (0, 1):
            for down in (0, 1):
                x, y = corner_px[..., 0] + right, corner_px[..., 1] + down
                inside = seen & (x >= 0) & (x < side) & (y >= 0) & (y < side)
                where = y % side * side + x % side  # what hides changes nothing, wherever it lands
                buffer.scatter_reduce_(1, where, torch.where(inside, key, NOWHERE), "amin")
        return fill_holes(torch.where(buffer == NOWHERE, -1, buffer & 0xFFFFFFFF), side)

    def _spread(self, vertices: Tensor, each: int = 1) -> Tensor:
        """What is known at vertices, n x v x 3, at each (or each second) point to splat, n x s x 3."""
        corners, shares = self._triangles[self._samples[::each]], self._barycentric[::each]
        points = torch.zeros((len(vertices), len(corners), 3), device=self._device)
        for corner in range(3):
            points += vertices[:, corners[:, corner]] * shares[:, corner, None]
        return points

    def _facing(self, screen: Tensor) -> Tensor:
        """Which triangles show their front; the mouth's lining, the sockets and lashes count from both sides."""
        a, b, c = (screen[:, self._triangles[:, corner], :2] for corner in range(3))
        area = (b - a)[..., 0] * (c - a)[..., 1] - (b - a)[..., 1] * (c - a)[..., 0]
        both = (self._materials == faces.MOUTH) | (self._materials == faces.SOCKET) | (self._materials == faces.LASHES)
        return (area < 0) | both

    def _meet(self, triangle_of: Tensor, screen: Tensor, camera_cm: Tensor, side: int) -> Surface:
        """Where each pixel's ray meets its triangle, with all that is known there."""
        covered = triangle_of >= 0
        corners = self._triangles[triangle_of.clamp(min=0)]
        batch = torch.arange(len(triangle_of), device=self._device)[:, None]
        y, x = torch.meshgrid(*[torch.arange(side, device=self._device) + 0.5] * 2, indexing="ij")
        at = torch.stack([x.reshape(-1), y.reshape(-1)], -1)
        a, b, c = (screen[batch, corners[..., k]] for k in range(3))
        shares = perspective_barycentric(at, a, b, c)
        normals = self._vertex_normals(camera_cm)

        def blend(values: Tensor) -> Tensor:
            rows = [values[batch, corners[..., k]] if values.dim() == 3 else values[corners[..., k]] for k in range(3)]
            return rows[0] * shares[..., :1] + rows[1] * shares[..., 1:2] + rows[2] * shares[..., 2:]

        depth = a[..., 2] * shares[..., 0] + b[..., 2] * shares[..., 1] + c[..., 2] * shares[..., 2]
        return Surface(
            side_px=side,
            covered=covered,
            material=torch.where(covered, self._materials[triangle_of.clamp(min=0)], -1),
            rest_cm=blend(self._neutral),
            normal=torch.nn.functional.normalize(blend(normals), dim=-1),
            paint=blend(self._paint),
            depth_cm=depth,
        )

    def _lit(self, surface: Surface, vertices_cm: Tensor, light: Tensor, position: Tensor) -> Tensor:
        """How much of the main light reaches each pixel, 0..1, by a map of what the light sees."""
        up = torch.tensor([0.0, 1.0, 0.0], device=self._device).expand_as(light)
        u = torch.nn.functional.normalize(torch.linalg.cross(up, light), dim=-1)
        axes = torch.stack([u, torch.linalg.cross(light, u), light], -1)
        points = self._spread(vertices_cm @ axes, SHADOW_EACH)
        solid = (self._materials[self._samples[::SHADOW_EACH]] != faces.LASHES)[None]
        scale = SHADOW_PX / SHADOW_CM
        cell = (points[..., :2] * scale + SHADOW_PX / 2).floor().long()
        inside = solid & (cell >= 0).all(-1) & (cell < SHADOW_PX).all(-1)
        heights = torch.full((len(light), SHADOW_PX * SHADOW_PX), -1e3, device=self._device)
        where = cell[..., 1] % SHADOW_PX * SHADOW_PX + cell[..., 0] % SHADOW_PX
        heights.scatter_reduce_(1, where, torch.where(inside, points[..., 2], -1e3), "amax")
        at = (surface.camera_cm - position[:, None]) @ axes
        lit = torch.zeros_like(at[..., 0])
        for dx, dy in ((0, 0), (0.25, 0.1), (-0.1, 0.25), (-0.25, -0.1), (0.1, -0.25)):
            shifted = at[..., :2] + at.new_tensor([dx, dy])
            cell = (shifted * scale + SHADOW_PX / 2).floor().long().clamp(0, SHADOW_PX - 1)
            height = heights.gather(1, cell[..., 1] * SHADOW_PX + cell[..., 0])
            lit += ((height - at[..., 2] - SHADOW_BIAS_CM) / 0.3).clamp(0, 1)
        return 1 - lit / 5

    def _truth(
        self, scenes: Scenes, screen: Tensor, camera_cm: Tensor, centres_cm: Tensor, rotation: Tensor, position: Tensor
    ) -> Truth:
        marks_px = screen[:, self._landmarks, :2] / self._oversampled
        nearer_cm = camera_cm[:, self._landmarks, 2:] - position[:, None, 2:]
        eyes_cm = (centres_cm - self._head) @ rotation.transpose(1, 2) + position[:, None]
        return Truth(
            landmarks=torch.cat([marks_px, nearer_cm], -1).cpu().numpy(),
            rotation=scenes.rotation,
            eyes_cm=eyes_cm.cpu().numpy(),
            gaze_deg=gaze_deg(scenes.weights, self._names),
            box_px=torch.cat([marks_px.amin(1), marks_px.amax(1)], 1).cpu().numpy(),
        )


def _compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    """Hundreds of small operations as a few, each of which passes over the picture once."""
    compiled: Callable[..., Any] = torch.compile(step, dynamic=False)
    return compiled


def fill_holes(triangle_of: Tensor, side: int) -> Tensor:
    """Give pixels that show nothing between two that do what their neighbour shows: where thick hair spreads."""
    grid = triangle_of.view(-1, side, side)
    filled = grid
    for reach, axis in ((1, 1), (1, 2), (2, 1), (2, 2)):
        before, after = grid.roll(reach, axis), grid.roll(-reach, axis)
        filled = torch.where((filled < 0) & (before >= 0) & (after >= 0), before, filled)
    return filled.view_as(triangle_of)


def project(camera_cm: Tensor, focal_px: Tensor, centre_px: Tensor) -> Tensor:
    """Pixels and depth in cm, n x v x 3, of points before a pinhole camera."""
    depth = -camera_cm[..., 2:]
    slope = camera_cm[..., :2] / depth * camera_cm.new_tensor([1.0, -1.0])
    return torch.cat([slope * focal_px[:, None, None] + centre_px[:, None], depth], -1)


def perspective_barycentric(at: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Shares of three corners (pixels and depth) where a pixel's ray meets their plane, held inside the triangle."""

    def area(p: Tensor, q: Tensor) -> Tensor:
        return (p[..., 0] - at[..., 0]) * (q[..., 1] - at[..., 1]) - (p[..., 1] - at[..., 1]) * (q[..., 0] - at[..., 0])

    shares = torch.stack([area(b, c), area(c, a), area(a, b)], -1)
    total = shares.sum(-1, keepdim=True)
    shares = (shares / torch.where(total.abs() < 1e-6, 1e-6, total)).clamp(0, 1)
    shares = shares / torch.stack([a[..., 2], b[..., 2], c[..., 2]], -1)
    return shares / shares.sum(-1, keepdim=True).clamp(min=1e-9)


def eye_rotation(gaze_rad: Tensor) -> Tensor:
    """Rotations, n x 3 x 3, that turn +Z by a yaw to +X and then a pitch to +Y, n x 2."""
    yaw, pitch = gaze_rad.T
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    aside = torch.stack([yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos()], -1)
    up = torch.stack([one, zero, zero, zero, pitch.cos(), pitch.sin(), zero, -pitch.sin(), pitch.cos()], -1)
    return aside.view(-1, 3, 3) @ up.view(-1, 3, 3)
