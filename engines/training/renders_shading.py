"""What each pixel of a drawn face looks like: skin, lips, brows, hair, eyes, teeth, and the light on them.

Colours are linear light from here to the camera. Places are in the average face's own coordinates, in cm, so
that paint sticks to the skin.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from engines.training import renders_faces as faces

LATTICE = 48


class Noise:
    """Smooth noise that repeats every ``LATTICE`` units, three channels, about -1..1."""

    def __init__(self, device: torch.device) -> None:
        random = torch.Generator().manual_seed(7)
        volume = torch.rand((3, LATTICE, LATTICE, LATTICE), generator=random) * 2 - 1
        self._volume = functional.pad(volume[None], (0, 1, 0, 1, 0, 1), "circular")[0].to(device)

    def __call__(self, at: Tensor, seed: Tensor) -> Tensor:
        """Noise at n (or 1) x p x 3 places, shifted by each row of ``seed``, any n x k; n x p x 3."""
        shift = (seed[:, :3] * 977.0) % LATTICE
        grid = torch.add(shift[:, None] * (2 / LATTICE), at, alpha=2 / LATTICE).remainder(2) - 1
        volume = self._volume[None].expand(len(grid), -1, -1, -1, -1)
        out = functional.grid_sample(volume, grid[:, None, None], align_corners=True)
        return out[:, :, 0, 0].transpose(1, 2)


@dataclass
class Surface:
    """What every pixel of the batch shows; n x pixels, row by row."""

    side_px: int
    covered: Tensor
    material: Tensor  # -1 where nothing is
    rest_cm: Tensor  # x 3, the place on the average face
    normal: Tensor  # x 3, before the camera
    paint: Tensor  # x 4, as in the face model
    depth_cm: Tensor
    camera_cm: Tensor = field(init=False)  # x 3
    head_cm: Tensor = field(init=False)  # x 3, in the head's own space
    eye_cm: Tensor = field(init=False)  # n x 1 x 3, the camera in the head's own space
    ray: Tensor = field(init=False)  # x 3, in the head's own space, one cm of depth long
    lip_z_cm: Tensor = field(init=False)  # n
    lit: Tensor = field(init=False)  # 0..1

    def look_from(
        self, rotation: Tensor, position: Tensor, focal_px: Tensor, centre_px: Tensor, head: Tensor, side: int
    ) -> None:
        """Work out each pixel's ray and place."""
        pixel = torch.arange(side * side, device=position.device)
        at = torch.stack([pixel % side, pixel // side], -1) + 0.5
        slope = (at - centre_px[:, None]) / focal_px[:, None, None]
        ray = torch.cat([slope * slope.new_tensor([1.0, -1.0]), -torch.ones_like(slope[..., :1])], -1)
        self.camera_cm = ray * self.depth_cm[..., None]
        self.ray = ray @ rotation
        self.eye_cm = head + (-position[:, None]) @ rotation
        self.head_cm = self.eye_cm + self.ray * self.depth_cm[..., None]


def linear(srgb: Tensor) -> Tensor:
    """Linear light from sRGB values."""
    return srgb.clamp(min=0) ** 2.2


def step(value: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """0 at ``low``, 1 at ``high``, smooth between."""
    share = ((value - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def row(values: Tensor) -> Tensor:
    """One value, or one colour, a picture, ready to meet n x pixels (x 3)."""
    return values[:, None] if values.dim() == 1 else values[:, None, :]


def mix(below: Tensor, above: Tensor, share: Tensor) -> Tensor:
    """Lay a colour over another."""
    return torch.lerp(below, above.expand_as(below), share[..., None])


def hair_cover(rest_cm: Tensor, ears: Tensor, looks: dict[str, Tensor], noise: Noise) -> Tensor:
    """How much of each place hair covers, 0..1: above a line that falls from the forehead to behind the ears."""
    y, z = rest_cm[..., 1], rest_cm[..., 2]
    wavy = noise(rest_cm * 0.6, looks["hair"])[..., 1] * 0.5
    line = (row(looks["hairline_cm"]) - 1.5 * (8.2 - z).clamp(min=0)).clamp(min=-6.0)
    return step(y - line + wavy, -0.4, 1.6) * (1 - ears) * (row(looks["hair_cm"]) > 0)


def shade(surface: Surface, looks: dict[str, Tensor], weights: dict[str, Tensor], noise: Noise) -> Tensor:
    """Linear colours, n x pixels x 3, of what the face covers."""
    albedo, gloss = _skin(surface, looks, weights, noise)
    shadow = _occlusion(surface)
    inside = (surface.head_cm[..., 2] - row(surface.lip_z_cm) + 0.5).clamp(max=0)
    for material, paint in ((faces.MOUTH, _lining), (faces.SOCKET, _lining), (faces.GUMS, _gums), (faces.TONGUE, _gums),
                            (faces.TEETH, _teeth), (faces.EYEBALL, _eyes), (faces.LASHES, _lashes)):  # fmt: skip
        here = surface.material == material
        colour, shine = paint(surface, looks, noise)
        albedo = torch.where(here[..., None], colour, albedo)
        gloss = torch.where(here, shine, gloss)
        if material in (faces.MOUTH, faces.GUMS, faces.TONGUE, faces.TEETH):
            shadow = torch.where(here, shadow * torch.exp(inside / 1.4), shadow)
    return _light(surface, looks, albedo, gloss, shadow)


def _skin(
    surface: Surface, looks: dict[str, Tensor], weights: dict[str, Tensor], noise: Noise
) -> tuple[Tensor, Tensor]:
    rest, paint = surface.rest_cm, surface.paint
    x, y, z = rest.unbind(-1)
    coarse, fine = noise(rest * 0.5, looks["skin"]), noise(rest * 6.0, looks["skin"])
    colour = row(linear(looks["skin"])) * (1 + row(looks["mottle"])[..., None] * (2 * coarse + fine))
    cheeks = torch.exp(-(((x.abs() - 4) / 2) ** 2) - ((y - 0.3) / 1.8) ** 2) + torch.exp(-(x**2) - (y - 0.4) ** 2)
    blush = row(looks["blush"]) * cheeks * (z > 5)
    colour = colour * (1 - blush[..., None] * colour.new_tensor([0.1, 0.8, 0.7]))
    spots = step(noise(rest * 2.7, looks["lips"])[..., 0], 0.45, 0.8) * row(looks["freckles"]) * (y < 4.5) * (y > -3)
    colour = colour * (1 - spots[..., None] * colour.new_tensor([0.5, 0.65, 0.75]))
    hollow = torch.exp(-(((x.abs() - 2.9) / 1.3) ** 2) - ((y - 2.1) / 0.7) ** 2)
    colour = colour * (1 - 0.25 * (hollow * row(looks["wrinkles"]))[..., None])
    colour = colour * (1 - wrinkles(rest, weights, row(looks["wrinkles"]), noise, looks["skin"]))[..., None]
    lips = step(paint[..., 0], 0.25, 0.75)
    creases = 1 + 0.12 * noise(rest * rest.new_tensor([7.0, 1.5, 1.5]), looks["lips"])[..., :1]
    colour = mix(colour, row(linear(looks["lips"])) * creases, lips)
    strands = noise(rest * rest.new_tensor([8.0, 3.0, 3.0]), looks["brow"])[..., 0]
    colour = mix(colour, row(linear(looks["hair"])), _beard(rest, looks, strands) * (1 - lips))
    colour = mix(colour, row(linear(looks["brow"])), _brows(paint, looks, noise))
    hair = hair_cover(rest, paint[..., 3], looks, noise)
    flow = noise(rest * rest.new_tensor([5.0, 0.8, 0.8]), looks["hair"])[..., :1]
    cover = step(hair + 0.25 * strands, 0.15, 0.5)
    colour = mix(colour, row(linear(looks["hair"])) * (1 + 0.6 * flow), cover)
    clothes = step(y, -12.5, -13.0)
    colour = mix(colour, row(linear(looks["clothes"])) * (1 + 0.1 * coarse), clothes)
    gloss = row(looks["gloss"]) * (1 + 1.5 * lips) * (1 - clothes) * (1 - 0.5 * cover)
    return colour.clamp(min=0.001), gloss


def _brows(paint: Tensor, looks: dict[str, Tensor], noise: Noise) -> Tensor:
    along, across = paint[..., 1], paint[..., 2]
    half_cm = row(looks["brow_cm"]) * (0.75 + 0.6 * along - 1.1 * along**2).clamp(min=0.2)
    lean = torch.stack([along * 24 - across * 2.0, across * 1.5, torch.zeros_like(along)], -1)
    strands = noise(lean, looks["brow"])[..., 1]
    ends = step(along, -0.06, 0.06) * step(-along, -1.08, -0.85)
    band = ends * step(half_cm - across.abs() + 0.12 * strands, -0.06, 0.14)
    return band * row(looks["brow_full"]) * (0.85 + 0.3 * strands).clamp(0, 1)


def _beard(rest: Tensor, looks: dict[str, Tensor], strands: Tensor) -> Tensor:
    x, y, z = rest.unbind(-1)
    aside = x.abs()
    line = -2.7 + 0.75 * (aside - 2.5).clamp(min=0)
    cheeks = step(line - y, 0, 1.2) * step(y, -9.5, -7.5) * step(z, 0.5, 2.0)
    cheeks = cheeks * (1 - row(looks["moustache_only"]))
    lip = step(y, -2.9, -2.4) * step(-y, 1.3, 1.7) * step(3.0 - aside, 0, 0.7) * (z > 9)
    return torch.maximum(cheeks, lip) * row(looks["beard"]) * (0.6 + 0.5 * strands).clamp(0, 1)


def wrinkles(rest: Tensor, weights: dict[str, Tensor], age: Tensor, noise: Noise, seed: Tensor) -> Tensor:
    """How much folds darken the skin, 0..1: lines that the mesh is too coarse to have, where each muscle gathers it."""
    x, y, z = rest.unbind(-1)
    aside, left = x.abs(), step(x, -0.6, 0.6)
    warp = noise(rest * 0.7, seed)

    def sided(name: str) -> Tensor:
        return left * row(weights[f"{name}Left"]) + (1 - left) * row(weights[f"{name}Right"])

    def lines(phase: Tensor, sharpness: float) -> Tensor:
        return torch.exp(sharpness * (torch.cos(phase) - 1))

    brow = torch.maximum(
        row(weights["browInnerUp"]) * step(4 - aside, 0, 2), sided("browOuterUp") * step(aside, 1.5, 3)
    )
    forehead = lines(6.28 * (y / 0.85 + 0.35 * warp[..., 0]), 3) * step(y, 6.6, 7.2) * step(-y, -9.8, -9) * brow
    frown = lines(6.28 * (aside - 0.45) / 1.5 + warp[..., 1], 12) * step(1.1 - aside, 0, 0.3) * step(y, 4.2, 5)
    frown = frown * step(-y, -7.2, -6.4) * sided("browDown")
    bridge = step(aside, 0.15, 0.6) * step(2.0 - aside, 0, 0.6) * step(y, 1.4, 2.0) * step(-y, -4.0, -3.4) * (z > 8)
    nose = lines(6.28 * ((y + 0.9 * aside) / 0.62 + 0.25 * warp[..., 2]), 4) * bridge * sided("noseSneer")
    angle = torch.atan2(y - 3.3, aside - 4.2)
    corner = step(aside, 4.75, 5.1) * step(6.6 - aside, 0, 0.9) * step(1.4 - (y - 3.2).abs(), 0, 0.5)
    gathered = torch.maximum(sided("cheekSquint"), 0.7 * sided("eyeSquint"))
    gathered = torch.maximum(gathered, 0.5 * sided("mouthSmile"))
    feet = lines(angle * 11 + warp[..., 0], 4) * corner * gathered
    bag = ((aside - 3.1) / 2.1) ** 2 + ((y - 3.4) / 1.75) ** 2
    under = torch.exp(-(((bag - 1) / 0.12) ** 2)) * (y < 2.6) * (z > 7)
    under = under * torch.maximum(sided("cheekSquint"), 0.5 * sided("eyeSquint"))
    folds = forehead + frown + nose + feet + under
    return (folds * (0.12 + 0.38 * age)).clamp(0, 0.6)


def _lining(surface: Surface, looks: dict[str, Tensor], noise: Noise) -> tuple[Tensor, Tensor]:
    colour = row(linear(looks["lips"])) * surface.rest_cm.new_tensor([0.45, 0.25, 0.25])
    return colour.expand_as(surface.rest_cm), torch.full_like(surface.depth_cm, 0.3)


def _gums(surface: Surface, looks: dict[str, Tensor], noise: Noise) -> tuple[Tensor, Tensor]:
    bumps = noise(surface.rest_cm * 4, looks["teeth"])[..., :1]
    colour = surface.rest_cm.new_tensor([0.46, 0.15, 0.15]) * (1 + 0.2 * bumps)
    return colour, torch.full_like(surface.depth_cm, 0.5)


def _teeth(surface: Surface, looks: dict[str, Tensor], noise: Noise) -> tuple[Tensor, Tensor]:
    return row(linear(looks["teeth"])).expand_as(surface.rest_cm), torch.full_like(surface.depth_cm, 0.6)


def _eyes(surface: Surface, looks: dict[str, Tensor], noise: Noise) -> tuple[Tensor, Tensor]:
    centres = surface.rest_cm.new_tensor(faces.EYEBALL_CENTRES_CM)
    offset = surface.rest_cm - torch.where(surface.rest_cm[..., :1] > 0, centres[0], centres[1])
    away = torch.linalg.norm(offset[..., :2], dim=-1)
    angle_deg = torch.rad2deg(torch.atan2(away, offset[..., 2]))
    iris_deg = row(looks["iris_deg"])
    around = torch.atan2(offset[..., 1], offset[..., 0])
    rays = torch.stack([around.cos() * 9, around.sin() * 9, angle_deg * 0.12], -1)
    fibres = noise(rays, looks["iris"])[..., :1]
    veins = noise(surface.rest_cm * 2, looks["iris"])[..., 0]
    sclera = row(looks["sclera"])[..., None] * (
        1 - (0.12 + 0.1 * veins)[..., None] * offset.new_tensor([0.2, 1.0, 1.0])
    )
    iris = (
        row(linear(looks["iris"]))
        * (1 + 0.45 * fibres)
        * (1 - 0.5 * step(angle_deg, iris_deg - 4, iris_deg))[..., None]
    )
    colour = mix(sclera, iris, step(-angle_deg, -iris_deg - 1, -iris_deg + 1))
    colour = mix(colour, torch.full_like(colour, 0.004), step(-angle_deg, -10.5, -8.5))
    return colour, torch.full_like(angle_deg, 3.0)


def _lashes(surface: Surface, looks: dict[str, Tensor], noise: Noise) -> tuple[Tensor, Tensor]:
    strength = row(looks["lashes"])[..., None]
    return torch.lerp(0.4 * row(linear(looks["skin"])), 0.01 * strength, strength), torch.zeros_like(surface.depth_cm)


def _occlusion(surface: Surface) -> Tensor:
    """Light that reaches a place, 0..1, by how deep it lies among its neighbours on the picture."""
    side = surface.side_px
    known = surface.covered.float().view(-1, 1, side, side)
    depth = surface.depth_cm.view(-1, 1, side, side) * known
    open_share = torch.ones_like(depth)
    for reach in (side // 64, side // 20):
        window = 2 * reach + 1
        mean = functional.avg_pool2d(depth, window, 1, reach) / functional.avg_pool2d(known, window, 1, reach).clamp(
            min=0.01
        )
        open_share = open_share * (1 - 0.55 * (depth - mean).clamp(0, 0.9))
    return open_share.view_as(surface.depth_cm)


def _light(surface: Surface, looks: dict[str, Tensor], albedo: Tensor, gloss: Tensor, shadow: Tensor) -> Tensor:
    """Diffuse light that bleeds a little around edges, most in red, and highlights (Blinn, 1977)."""
    normal, view = surface.normal, -functional.normalize(surface.camera_cm, dim=-1)
    wrap = normal.new_tensor([0.30, 0.16, 0.12])
    total = row(looks["ambient"]) * (0.75 + 0.25 * normal[..., 1:2]) * shadow[..., None]
    shine = torch.zeros_like(total)
    lit = surface.lit * (0.35 + 0.65 * row(looks["hardness"])) + 0.65 * (1 - row(looks["hardness"]))
    for name, reaching in (("light", lit), ("second", shadow)):
        light, colour = row(looks[name]), row(looks[f"{name}_colour"])
        facing = (normal * light).sum(-1, keepdim=True)
        diffuse = ((facing + wrap) / (1 + wrap)).clamp(min=0) ** 1.2
        total = total + colour * diffuse * (reaching * shadow.sqrt())[..., None]
        half = functional.normalize(light + view, dim=-1)
        sharp = torch.where(gloss > 2, 220.0, 22.0)
        spot = (normal * half).sum(-1).clamp(min=0) ** sharp * gloss * (facing[..., 0] > 0) * reaching
        shine = shine + colour * (0.2 * spot)[..., None]
    return albedo * total + shine
