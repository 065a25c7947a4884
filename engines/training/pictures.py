"""Faces as pictures, sampled without end: what the expression network learns to see.

A sample begins with a picture of a filmed person (CC BY clips) or of a drawn one whose weights are known. It is bent
by the deformations that landmarks get, photographed anew (light, colour, blur, noise), and then read as the program
reads it: our landmark network finds the points and with them the square that the student sees; the teacher, with its
own landmark network, says which weights it takes the face to have. So the student learns what the two landmark
networks differ by, on faces of any shape.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from appliance.avatar.channels import BLENDSHAPES
from appliance.face.expression_network import PICTURE_BELOW, PICTURE_EYES, PICTURE_PX, UNTAUGHT
from appliance.face.regions import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, SCALE
from engines.training.deformations import Deformations
from engines.training.expression_bank import SOURCE_PX
from engines.training.expression_samples import upright
from engines.training.graph import Graph
from engines.training.mirror import other_side, turned_landmarks, turned_pictures
from engines.training.teacher import Teacher

GRID = 48  # nodes of a deformation each way
REACH = 0.07  # how far a landmark moves the picture around it, in eye distances
OTHERS = 0.75  # how large the deformation of a drawn person is at most: more hides a jaw that is pushed forward
OWN_PX, TEACHER_PX = 192, 256  # what the two landmark networks take
TAKING_TOO_LONG_S = 120.0
FACE_FROM = 0.5  # a landmark network's presence
STILL = 0.3  # a face with no taught weight above this, eyes aside, is taken to show no untaught shape either
_UNTAUGHT = [BLENDSHAPES.index(name) for name in UNTAUGHT]
_FACE = [
    i for i, name in enumerate(BLENDSHAPES) if name not in UNTAUGHT and not name.startswith(("eyeLook", "eyeBlink"))
]


@dataclass(frozen=True)
class Squares:
    """Turned squares of pictures, one a row: middles n x 2 and sides n in pixels, angles n in radians."""

    middle_px: Tensor
    side_px: Tensor
    angle_rad: Tensor

    def mirrored(self, width_px: int) -> "Squares":
        """Where they are in the mirror image."""
        x, y = self.middle_px.unbind(1)
        return Squares(torch.stack([width_px - x, y], 1), self.side_px, -self.angle_rad)

    def shaken(self, by: float, random: torch.Generator) -> "Squares":
        """As a tracker has them, that takes them from the picture before."""
        shape = (len(self.side_px), 4)
        dx, dy, size, turn = (by * torch.randn(shape, device=self.side_px.device, generator=random)).unbind(1)
        middle = self.middle_px + torch.stack([dx, dy], 1) * self.side_px[:, None]
        return Squares(middle, self.side_px * (1 + size), self.angle_rad + turn)


@dataclass(frozen=True)
class Samples:
    """What a batch of pictures is: to the student, to the teacher, and in truth."""

    landmarks: Tensor  # n x 478 x 2, of our network, upright
    pictures: Tensor  # n x 3 x 96 x 96, 8 bits
    taught: Tensor  # n x 52, what the teacher says
    truth: Tensor  # n x 52, NaN where nobody knows


class Networks:
    """The landmark networks, ours and the teacher's, and the teacher; ``models`` is a folder of fetched models."""

    def __init__(self, models: Path, device: str) -> None:
        self._own = Graph(models / "face_landmarks.onnx", device)
        self._theirs = Graph(models / "face_landmarks_256.onnx", device)
        self.teacher = Teacher(models / "face_blendshapes.onnx", device)

    def own_points(self, pictures: Tensor, squares: Squares, bend: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Our 478 points in picture pixels, n x 478 x 3, and how sure the network is that there is a face, n."""
        return _read(self._own, OWN_PX, pictures, squares, bend)

    def teacher_points(self, pictures: Tensor, squares: Squares, bend: Tensor | None = None) -> Tensor:
        """The teacher's 478 points in picture pixels, n x 478 x 3."""
        return _read(self._theirs, TEACHER_PX, pictures, squares, bend)[0]


class Pictures:
    """Draws samples from pictures n x 3 x 256 x 256 (8 bits, RGB) of people, ``points`` n x 478 x 2 their landmarks.

    Those whose weights are known (``truth``, n x 52) are bent smoothly, which makes other people of them and leaves
    their weights; all others get other expressions too. A filmed face that keeps still shows nothing of what the
    teacher does not know.
    """

    def __init__(
        self,
        pictures: Tensor,
        points: Tensor,
        truth: Tensor | None,
        networks: Networks,
        deformations: Deformations,
        random: torch.Generator,
        filmed: bool = False,
    ) -> None:
        self._pictures, self._points, self._truth, self._filmed = pictures, points, truth, filmed
        self._networks, self._deformations, self._random = networks, deformations, random
        self._oldest = 0

    def renew(self, pictures: Tensor, points: Tensor, truth: Tensor) -> None:
        """Put people in place of the oldest."""
        places = (torch.arange(len(pictures), device=pictures.device) + self._oldest) % len(self._pictures)
        self._pictures[places], self._points[places] = pictures, points
        if self._truth is not None:
            self._truth[places] = truth
        self._oldest = (self._oldest + len(pictures)) % len(self._pictures)

    def draw(self, count: int) -> Samples:
        """Choose ``count`` pictures, bend and photograph them anew, and read them."""
        device = self._pictures.device
        which = torch.randint(len(self._pictures), (count,), device=device, generator=self._random)
        pictures = photographed(self._pictures[which].float() / 255, self._random)
        points = self._points[which]
        eyes_px = _eye_distance(points)[:, None, None]
        bent = self._deformations
        moves_px = (bent.draw(count) if self._truth is None else bent.draw_smooth(count, OTHERS)) * eyes_px
        moved = points + moves_px
        bend = bend_grid(moved, moves_px, eyes_px)
        squares = squares_around(moved)
        own, _ = self._networks.own_points(pictures, squares.shaken(0.02, self._random), bend)
        theirs = self._networks.teacher_points(pictures, squares.shaken(0.02, self._random), bend)
        taught = self._networks.teacher(upright(theirs))
        return Samples(
            landmarks=upright(own),
            pictures=(255 * cut(pictures, picture_squares(own), PICTURE_PX, bend)).round().byte(),
            taught=taught,
            truth=self._at_rest(taught) if self._truth is None else self._truth[which],
        )

    def _at_rest(self, taught: Tensor) -> Tensor:
        """What is known of faces by the teacher's word alone: NaN, and 0 of untaught shapes where a real face rests."""
        moves = taught[:, _FACE].amax(1) >= STILL
        known = torch.full_like(taught, torch.nan)
        known[:, _UNTAUGHT] = torch.where(moves[:, None] | (not self._filmed), torch.nan, 0.0)
        return known


class Stream:
    """Draws samples without end in a thread of its own, for a device that learns.

    ``renew`` is called in that thread before each batch: new people for a source.
    """

    def __init__(self, sources: Sequence[Pictures], count: int, home: str, renew: Callable[[], None]) -> None:
        self._sources, self._count, self._home, self._renew = sources, count, home, renew
        self._ready: queue.Queue[Samples] = queue.Queue(maxsize=2)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self) -> Samples:
        """``count`` samples of each source, on the device that learns; waits for them."""
        return self._ready.get(timeout=TAKING_TOO_LONG_S)

    def close(self) -> None:
        """Draw no more."""
        self._ended.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._ready.get(timeout=0.1)

    def _run(self) -> None:
        with torch.no_grad():
            while not self._ended.is_set():
                self._renew()
                fresh = joined([source.draw(self._count) for source in self._sources])
                self._ready.put(Samples(**{name: values.to(self._home) for name, values in vars(fresh).items()}))


class Reservoir:
    """The last samples that were drawn: reading a picture costs thirty times what learning from it does."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: dict[str, Tensor] = {}
        self._filled = self._next = 0

    def add(self, samples: Samples) -> None:
        """Keep these in place of the oldest."""
        fresh = vars(samples)
        if not self._rows:
            self._rows = {name: values.new_empty((self._size, *values.shape[1:])) for name, values in fresh.items()}
        count = len(samples.truth)
        places = (torch.arange(count) + self._next) % self._size
        for name, values in fresh.items():
            self._rows[name][places] = values
        self._next = (self._next + count) % self._size
        self._filled = min(self._filled + count, self._size)

    def draw(self, count: int, random: torch.Generator) -> Samples:
        """Choose ``count`` of them."""
        which = torch.randint(self._filled, (count,), device=random.device, generator=random)
        return Samples(**{name: values[which] for name, values in self._rows.items()})


def mirrored(samples: Samples) -> Samples:
    """The same faces in a mirror."""
    return Samples(
        turned_landmarks(samples.landmarks),
        turned_pictures(samples.pictures),
        other_side(samples.taught),
        other_side(samples.truth),
    )


def some_mirrored(samples: Samples, random: torch.Generator) -> Samples:
    """Half of them in a mirror: what was learnt of a face by heart is of no use there."""
    count = len(samples.truth)
    turned = torch.rand(count, device=samples.truth.device, generator=random) < 0.5
    pairs = zip(vars(samples).items(), vars(mirrored(samples)).values(), strict=True)
    return Samples(
        **{
            name: torch.where(turned.view(count, *[1] * (plain.dim() - 1)), other, plain)
            for (name, plain), other in pairs
        }
    )


def joined(parts: Sequence[Samples]) -> Samples:
    """All of them as one batch."""
    rows = [vars(part) for part in parts]
    return Samples(**{name: torch.cat([row[name] for row in rows]) for name in rows[0]})


def find_points(
    pictures: Tensor, squares: Squares, networks: Networks, rounds: int = 2, batch: int = 256
) -> tuple[Tensor, Tensor]:
    """Our landmarks of pictures (8 bits), n x 478 x 3 pixels, from rough squares, and whether a face was seen, n."""
    found, seen = [], []
    for first in range(0, len(pictures), batch):
        some = pictures[first : first + batch].float() / 255
        inside = Squares(
            *(field[first : first + batch] for field in (squares.middle_px, squares.side_px, squares.angle_rad))
        )
        for _ in range(rounds):
            points, presence = networks.own_points(some, inside)
            inside = squares_around(points)
        found.append(points)
        seen.append(presence > FACE_FROM)
    return torch.cat(found), torch.cat(seen)


def squares_around(points: Tensor) -> Squares:
    """The squares in which a landmark network looks for faces whose points are known, as ``appliance.face.regions``."""
    low, high = points[..., :2].amin(1), points[..., :2].amax(1)
    return Squares((low + high) / 2, SCALE * (high - low).amax(1), _eye_angle(points))


def picture_squares(points: Tensor) -> Squares:
    """The squares that the student sees, as ``appliance.face.expression_network.picture_matrix``."""
    right, left = points[:, RIGHT_EYE_OUTER, :2], points[:, LEFT_EYE_OUTER, :2]
    across = left - right
    down = torch.stack([-across[:, 1], across[:, 0]], 1)
    middle = (left + right) / 2 + PICTURE_BELOW * down
    side = PICTURE_EYES * across.norm(dim=1)
    return Squares(middle, side, _eye_angle(points))


def rough_squares(landmarks_px: Tensor) -> Squares:
    """Squares around the usual 68 landmarks, n x 68 x 2, which end at the brows."""
    low, high = landmarks_px.amin(1), landmarks_px.amax(1)
    size = high - low
    up = torch.stack([torch.zeros_like(size[:, 0]), 0.14 * size[:, 1]], 1)
    side = SCALE * torch.maximum(size[:, 0], 1.28 * size[:, 1])
    across = landmarks_px[:, 45] - landmarks_px[:, 36]
    return Squares((low + high) / 2 - up, side, torch.atan2(across[:, 1], across[:, 0]))


def cut(pictures: Tensor, squares: Squares, size_px: int, bend: Tensor | None = None) -> Tensor:
    """Cut squares out of pictures n x 3 x h x w, bent where a bend is given: n x 3 x size x size."""
    height, width = pictures.shape[2:]
    steps = (torch.arange(size_px, device=pictures.device) + 0.5) / size_px - 0.5
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    cos, sin = (
        (value * squares.side_px)[:, None, None] for value in (squares.angle_rad.cos(), squares.angle_rad.sin())
    )
    at = torch.stack([cos * x - sin * y, sin * x + cos * y], -1) + squares.middle_px[:, None, None]
    half = torch.tensor([width / 2, height / 2], device=pictures.device)
    if bend is not None:
        at = at - functional.grid_sample(bend, at / half - 1, align_corners=True, padding_mode="border").permute(
            0, 2, 3, 1
        )
    return functional.grid_sample(pictures, at / half - 1, align_corners=False, padding_mode="border")


def bend_grid(moved: Tensor, moves_px: Tensor, eyes_px: Tensor) -> Tensor:
    """How far a picture is bent, n x 2 x grid x grid pixels, from where landmarks came to lie and how far they moved.

    Nadaraya and Watson's kernel average over landmarks, fading to nothing away from the face.
    """
    nodes = torch.linspace(0, SOURCE_PX, GRID, device=moved.device)
    y, x = torch.meshgrid(nodes, nodes, indexing="ij")
    at = torch.stack([x, y], -1).reshape(1, -1, 2).expand(len(moved), -1, -1)
    near = torch.exp(-((torch.cdist(at, moved) / (REACH * eyes_px)) ** 2))
    total = near.sum(2, keepdim=True)
    bend = (near @ moves_px) / (total + 0.05)
    return bend.transpose(1, 2).reshape(len(moved), 2, GRID, GRID)


def photographed(pictures: Tensor, random: torch.Generator) -> Tensor:
    """The same pictures, 0..1, in other light, by another camera."""
    count, device = len(pictures), pictures.device

    def rand(*shape: int) -> Tensor:
        return torch.rand(count, *shape, device=device, generator=random)

    def randn(*shape: int) -> Tensor:
        return torch.randn(count, *shape, device=device, generator=random)

    grey = pictures.mean(1, keepdim=True)
    saturated = grey + (pictures - grey) * (0.4 + 0.9 * rand(1, 1, 1)) * (rand(1, 1, 1) > 0.08)
    side = torch.linspace(-1, 1, pictures.shape[3], device=device)
    slope = 0.18 * randn(1, 1, 1) * side + 0.12 * randn(1, 1, 1) * side[:, None]
    lit = saturated * (1 + 0.18 * randn(1, 1, 1) + 0.06 * randn(3, 1, 1) + slope) + 0.04 * randn(1, 1, 1)
    toned = lit.clamp(1e-3, 1) ** torch.exp(0.2 * randn(1, 1, 1))
    blurred = _blurred(toned)
    share = rand(1, 1, 1) * (rand(1, 1, 1) < 0.6)
    softened = toned + share * (blurred - toned)
    noisy = softened + 0.03 * rand(1, 1, 1) ** 2 * randn(3, *pictures.shape[2:])
    return noisy.clamp(0, 1)


def restyled(pictures: Tensor, random: torch.Generator) -> Tensor:
    """The same faces, 0..1, in other colours and textures, some partly covered: what is left is their shape.

    Half of them pass a random filter each (Xu et al., "Robust and Generalizable Visual Representation Learning via
    Random Convolutions", ICLR 2021); a third get a plain patch (DeVries and Taylor, "Cutout", 2017).
    """
    count, _, side, _ = pictures.shape
    device = pictures.device

    def rand(*shape: int) -> Tensor:
        return torch.rand(count, *shape, device=device, generator=random)

    size = (1, 3, 5)[int(torch.randint(3, (1,), device=device, generator=random))]
    filters = torch.randn(3 * count, 3, size, size, device=device, generator=random) / size / 3**0.5
    around = functional.pad(pictures - 0.5, [size // 2] * 4, "replicate").reshape(1, 3 * count, *[side + size - 1] * 2)
    filtered = functional.conv2d(around, filters, groups=count).reshape_as(pictures) + 0.5
    share = 0.8 * rand(1, 1, 1) * (rand(1, 1, 1) < 0.5)
    styled = (pictures + share * (filtered - pictures)).clamp(0, 1)
    at = torch.arange(side, device=device)
    across, down = ((at - side * rand(1)).abs() < side * (0.03 + 0.15 * rand(1)) * (rand(1) < 0.33) for _ in range(2))
    covered = (down[:, :, None] & across[:, None, :])[:, None]
    return torch.where(covered, rand(3, 1, 1), styled)


def _blurred(pictures: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=pictures.device)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, 5)
    across = functional.conv2d(functional.pad(pictures, (2, 2, 0, 0), "replicate"), kernel, groups=3)
    return functional.conv2d(functional.pad(across, (0, 0, 2, 2), "replicate"), kernel.transpose(2, 3), groups=3)


def _read(
    network: Graph, size_px: int, pictures: Tensor, squares: Squares, bend: Tensor | None
) -> tuple[Tensor, Tensor]:
    told = network(image=cut(pictures, squares, size_px, bend))
    points = told["landmarks"]
    scale = (squares.side_px / size_px)[:, None]
    x, y = ((points[..., axis] - size_px / 2) * scale for axis in (0, 1))
    cos, sin = squares.angle_rad.cos()[:, None], squares.angle_rad.sin()[:, None]
    middle_x, middle_y = squares.middle_px[:, :1], squares.middle_px[:, 1:]
    inside = torch.stack([cos * x - sin * y + middle_x, sin * x + cos * y + middle_y, points[..., 2] * scale], -1)
    return inside, told["presence"][:, 0]


def _eye_distance(points: Tensor) -> Tensor:
    return (points[:, LEFT_EYE_OUTER, :2] - points[:, RIGHT_EYE_OUTER, :2]).norm(dim=1)


def _eye_angle(points: Tensor) -> Tensor:
    across = points[:, LEFT_EYE_OUTER] - points[:, RIGHT_EYE_OUTER]
    return torch.atan2(across[:, 1], across[:, 0])
