"""What is around the drawn face and before it, and what a camera makes of it all."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from engines.training.renders_shading import Noise, Surface, linear, mix, row, step

EYE_LINE_CM, LENS_APART_CM, LENS_PLANE_CM = 3.6, 3.35, 11.1
TEMPLE_ASIDE_CM = 7.3
METERED = 0.85  # how far the camera's exposure follows the light, 0..1
COARSE_STEPS = (1.0, 1.5, 2.0, 2.6)
# JPEG's luminance table (ITU T.81, K.1), as its rows' shape: quantisation grows with frequency.
QUANTISATION_BASE, QUANTISATION_SLOPE = 12.0, 7.0


def put_before_background(
    colours: Tensor, behind: Tensor, surface: Surface, looks: dict[str, Tensor], noise: Noise
) -> Tensor:
    """Join the face with what is behind and before it, but for hands; linear, n x pixels x 3."""
    depth = torch.where(surface.covered, surface.depth_cm, 1e6)
    behind = _hair_and_shoulders(behind, surface, looks, noise)
    picture = torch.where(surface.covered[..., None], colours, behind)
    picture = _front_hair(picture, depth, surface, looks, noise)
    return _glasses(picture, depth, surface, looks)


def _uniform(shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=random, device=random.device)


def background(n: int, side: int, random: torch.Generator) -> Tensor:
    """Gradients, blocks and blobs, out of focus or not: linear, n x pixels x 3."""
    channels = 3
    picture = functional.interpolate(_uniform((n, channels, 2, 2), random), size=side, mode="bilinear")
    for cells, often in ((4, 0.75), (9, 0.75), (40, 0.35)):
        blocks = functional.interpolate(_uniform((n, channels, cells, cells), random), size=side, mode="nearest")
        blobs = functional.interpolate(_uniform((n, channels, cells, cells), random), size=side, mode="bicubic")
        kind = _uniform((n, 1, 1, 1), random)
        layer = torch.where(kind < 0.4 * often, blocks, blobs)
        picture = torch.lerp(picture, layer, 0.6 * _uniform((n, 1, 1, 1), random) * (kind < often))
    grey = picture.mean(1, keepdim=True)
    picture = torch.lerp(grey, picture, _uniform((n, 1, 1, 1), random)) * (0.25 + 0.75 * _uniform((n, 1, 1, 1), random))
    return linear(picture).permute(0, 2, 3, 1).reshape(n, side * side, channels)


def _on_plane(surface: Surface, axis: int, at_cm: float | Tensor) -> tuple[Tensor, Tensor]:
    """Where each pixel's ray meets a plane of the head's own space: the place, n x p x 3, and its depth."""
    depth = (at_cm - surface.eye_cm[..., axis]) / surface.ray[..., axis]
    return surface.eye_cm + surface.ray * depth[..., None], depth


def _hair_and_shoulders(behind: Tensor, surface: Surface, looks: dict[str, Tensor], noise: Noise) -> Tensor:
    at, _ = _on_plane(surface, 2, -2.0)
    x, y = at[..., 0].abs(), at[..., 1]
    wavy = noise(at * 0.5, looks["clothes"])
    shoulders = step(-y, 14.0 + 0.12 * x.clamp(min=6) + wavy[..., 0] * 0.5, 15.0 + 0.12 * x.clamp(min=6)) * (x < 26)
    behind = mix(behind, row(linear(looks["clothes"])) * (0.5 + 0.12 * wavy[..., 1:2]), shoulders)
    reach, wide = row(looks["long_hair_cm"]), row(looks["hair_wide_cm"]) + row(looks["hair_cm"])
    outline = (x / wide) ** 2 + ((y - 4.5).clamp(min=0) / (9.5 + row(looks["hair_cm"]))) ** 2 + 0.15 * wavy[..., 2]
    hair = step(-outline, -1.05, -0.9) * step(y + reach + wavy[..., 0], -0.5, 0.5) * (reach > 0)
    flow = noise(at * at.new_tensor([4.0, 0.4, 1.0]), looks["hair"])[..., :1]
    return mix(behind, row(linear(looks["hair"])) * (0.45 + 0.25 * flow), hair * (row(looks["hair_cm"]) > 0))


def _front_hair(picture: Tensor, depth: Tensor, surface: Surface, looks: dict[str, Tensor], noise: Noise) -> Tensor:
    """Long hair that falls beside the face, before the ears."""
    at, plane_depth = _on_plane(surface, 2, 3.5)
    x, y = at[..., 0].abs(), at[..., 1]
    wavy = noise(at * 0.4, looks["hair"])
    inner = row(looks["hair_wide_cm"]) - 1.3 + 0.5 * wavy[..., 0]
    reach, thick = row(looks["long_hair_cm"]), 2.0 + 0.8 * row(looks["hair_cm"])
    strip = step(x, inner, inner + 0.5) * step(inner + thick - x, 0, 0.4) * step(y + reach, -0.5, 1.0)
    strip = strip * step(9.0 - y, 0, 3.0) * (reach > 8) * (row(looks["hair_cm"]) > 0) * (plane_depth < depth + 2.5)
    flow = noise(at * at.new_tensor([5.0, 0.5, 1.0]), looks["hair"])[..., :1]
    lit = row(looks["ambient"]) + 0.5 * row(looks["light_colour"])
    return mix(picture, row(linear(looks["hair"])) * (1 + 0.6 * flow) * lit, strip)


def _glasses(picture: Tensor, depth: Tensor, surface: Surface, looks: dict[str, Tensor]) -> Tensor:
    """Lenses, rims and bridge on a plane before the eyes, and a temple to each ear."""
    at, plane_depth = _on_plane(surface, 2, LENS_PLANE_CM)
    worn = row(looks["glasses"])
    shows = worn * (plane_depth < depth + 0.3) * (plane_depth > 0)
    x, y = at[..., 0].abs(), at[..., 1] - EYE_LINE_CM + row(looks["lens_drop_cm"])
    half, power = looks["lens_cm"], row(looks["lens_square"])
    inside = ((x - LENS_APART_CM).abs() / row(half[:, 0])) ** power + (y.abs() / row(half[:, 1])) ** power
    edge_cm = (inside.clamp(min=1e-6) ** (1 / power) - 1) * row(half.amin(1))
    width = row(looks["frame_cm"])
    lens = step(-edge_cm, -0.05, 0.05) * shows
    tint = row(linear(looks["frame"])) * 0.3
    picture = mix(picture, tint, lens * row(looks["lens_tint"]))
    sheen = step((at[..., 0] + y * 0.7).remainder(3.2), 0.0, 1.4) * lens * 0.10 * row(looks["lens_square"] % 1)
    picture = picture + sheen[..., None] * row(looks["light_colour"])
    rim = step(edge_cm, -0.03, 0.03) * step(width - edge_cm, -0.03, 0.03)
    bridge = step(LENS_APART_CM - row(half[:, 0]) - x, -0.1, 0) * step(0.5 * width - (y - 0.5).abs(), -0.03, 0.03)
    lit = row(looks["ambient"]) + 0.5 * row(looks["light_colour"])
    hinge = step(x, LENS_APART_CM + row(half[:, 0]), LENS_APART_CM + row(half[:, 0]) + 0.05) * (x < TEMPLE_ASIDE_CM)
    hinge = hinge * step(0.35 * width + 0.1 - (at[..., 1] - EYE_LINE_CM - 0.4).abs(), -0.03, 0.03)
    metal = torch.maximum(torch.maximum(rim, bridge), hinge)
    picture = mix(picture, row(linear(looks["frame"])) * lit, metal * shows)
    for side in (-TEMPLE_ASIDE_CM, TEMPLE_ASIDE_CM):
        at, plane_depth = _on_plane(surface, 0, side)
        band = step(0.35 * width + 0.1 - (at[..., 1] - EYE_LINE_CM - 0.4).abs(), -0.03, 0.03)
        band = (
            band * (at[..., 2] > 0.5) * (at[..., 2] < LENS_PLANE_CM) * (plane_depth < depth + 0.3) * (plane_depth > 0)
        )
        picture = mix(picture, row(linear(looks["frame"])) * lit, band * worn)
    return picture


def put_hands(picture: Tensor, looks: dict[str, Tensor], random: torch.Generator) -> Tensor:
    """Now and then fingers reach into the picture from one side, in the colour of skin."""
    n, side = picture.shape[:2]
    span = torch.linspace(0, 1, side, device=picture.device)
    at = torch.stack(torch.meshgrid(span, span, indexing="xy"), -1)
    angle = 2 * math.pi * _uniform((n, 1, 1), random)
    inward = torch.stack([angle.cos(), angle.sin()], -1)
    tip = 0.5 + inward * (0.25 + 0.2 * _uniform((n, 1, 1, 1), random))
    offset = at - tip
    out = (offset * inward).sum(-1)
    across = offset[..., 0] * inward[..., 1] - offset[..., 1] * inward[..., 0]
    finger_wide = 0.028 + 0.02 * _uniform((n, 1, 1), random)
    fingers = 2 + 3 * _uniform((n, 1, 1), random)
    lane = (across / finger_wide / 2).round().clamp(-1, 1) if n else across
    within = across - lane * finger_wide * 2
    from_tip = (-(out + 0.02 * lane.abs() * fingers)).clamp(min=0)
    distance = (within**2 + from_tip**2).sqrt() / finger_wide
    cover = step(-distance, -1.0, -0.93) * looks["hand"].view(-1, 1, 1)
    round_light = (1 - 0.5 * distance.clamp(0, 1) ** 2)[..., None]
    colour = linear(looks["skin"]).view(-1, 1, 1, 3) * (looks["ambient"] + 0.5 * looks["light_colour"]).view(
        -1, 1, 1, 3
    )
    return mix(picture, colour * round_light, cover)


def photograph(colours: Tensor, looks: dict[str, Tensor], oversampled: int, random: torch.Generator) -> Tensor:
    """Linear light, n x side x side x 3, to uint8 RGB pictures with what a cheap camera adds."""
    light = functional.avg_pool2d(colours.permute(0, 3, 1, 2), oversampled)
    bright = (looks["ambient"] + looks["light_colour"] + 0.4 * looks["second_colour"]).mean(1)
    exposure = looks["exposure"] * (1.25 / bright) ** METERED
    light = light * (exposure[:, None] * looks["gain"])[..., None, None]
    grey = light.mean(1, keepdim=True)
    light = torch.lerp(grey, light, looks["saturation"].view(-1, 1, 1, 1)).clamp(min=1e-5)
    light = torch.where(light > 0.7, 0.7 + 0.3 * torch.tanh((light - 0.7) / 0.3), light)  # a shoulder, not a cliff
    picture = light ** (looks["gamma"].view(-1, 1, 1, 1) / 2.2)
    picture = _coarsen(_blur(picture, looks["blur_px"]), looks["coarse"])
    grain = torch.randn(picture.shape, generator=random, device=picture.device)
    picture = picture + grain * looks["noise"].view(-1, 1, 1, 1)
    picture = _compress(picture, looks["jpeg"])
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _blur(picture: Tensor, sigma_px: Tensor) -> Tensor:
    n, channels, side, _ = picture.shape
    reach = 4
    offsets = torch.arange(-reach, reach + 1, device=picture.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma_px.clamp(0.15, 2.2)[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = functional.pad(picture.reshape(1, n * channels, side, side), (reach,) * 4, "replicate")
    flat = functional.conv2d(flat, kernel[:, None, None, :], groups=n * channels)
    flat = functional.conv2d(flat, kernel[:, None, :, None], groups=n * channels)
    return flat.view(n, channels, side, side)


def _coarsen(picture: Tensor, factors: Tensor) -> Tensor:
    """A face that was small on the sensor, enlarged."""
    side = picture.shape[-1]
    steps = torch.tensor(COARSE_STEPS, device=picture.device)
    nearest = (factors[:, None] - steps).abs().argmin(1)
    for index, factor in enumerate(COARSE_STEPS[1:], 1):
        of_step = torch.nonzero(nearest == index)[:, 0]
        if len(of_step):
            small = functional.interpolate(picture[of_step], size=round(side / factor), mode="area")
            picture[of_step] = functional.interpolate(small, size=side, mode="bilinear")
    return picture


def _compress(picture: Tensor, strength: Tensor) -> Tensor:
    """What JPEG loses: each block of 8 x 8 in cosines, luminance and colour, rounded to steps."""
    n, _, side, _ = picture.shape
    size = 8
    k = torch.arange(size, device=picture.device, dtype=picture.dtype)
    cosines = torch.cos(math.pi * (2 * k + 1) * k[:, None] / (2 * size)) * math.sqrt(2 / size)
    cosines[0] /= math.sqrt(2)
    to_ycc = picture.new_tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
    ycc = torch.einsum("ij,njhw->nihw", to_ycc, picture)
    blocks = ycc.reshape(n, 3, side // size, size, side // size, size).transpose(3, 4)
    waves = cosines @ blocks @ cosines.T
    table = (QUANTISATION_BASE + QUANTISATION_SLOPE * (k + k[:, None])) / 255
    steps = table * strength.view(-1, 1, 1, 1, 1, 1) * picture.new_tensor([1.0, 1.8, 1.8]).view(1, 3, 1, 1, 1, 1)
    rounded = torch.where(steps > 0, (waves / steps.clamp(min=1e-6)).round() * steps, waves)
    ycc = (cosines.T @ rounded @ cosines).transpose(3, 4).reshape(n, 3, side, side)
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_ycc), ycc)
