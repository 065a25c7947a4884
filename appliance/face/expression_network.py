"""Blendshapes by a network: ours, of landmarks and the face's picture, or that of a task file its owner brought.

Head pose and gaze, and the shapes that a network does not know, stay those of the geometric reader.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance.avatar.channels import BLENDSHAPES
from appliance.face import canonical as face
from appliance.face.expression import ExpressionReader
from appliance.values import Expression, Float32, Image
from engines.brought import PICTURE, brought_model
from engines.manifest import Preprocessing, Shape
from engines.preprocess import Matrix, sample
from engines.runners import Outputs, Runner
from engines.squares import SquareReader

OWN_MODEL = "expression"
"""The name of our network in ``engines/models``."""

PICTURE_PX, PICTURE_EYES, PICTURE_BELOW = 96, 1.8, 0.38
"""The square picture of a face: its side in pixels, its side and how far it hangs under the eyes in eye distances."""

PREPROCESSING = Preprocessing(PICTURE_PX, low=0.0, high=1.0, outside="edge")
PICTURE_INPUT = "picture"

# What our teacher does not know, so neither does a network that sees landmarks alone: geometry reads some of it.
UNTAUGHT = (
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "jawForward",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
)


@dataclass(frozen=True, slots=True)
class Square:
    """The upright square picture of a face that a network sees."""

    preprocessing: Preprocessing
    eyes: float = PICTURE_EYES  # its side, in distances of the outer corners of the eyes
    below: float = PICTURE_BELOW  # how far it hangs under them, in the same

    def matrix(self, points_px: Float32) -> Matrix:
        """Map pixel positions of one face's square to those of the whole picture; 2 x 3."""
        return _square_matrix(points_px, self.preprocessing.size_px, self.eyes, self.below)


@dataclass(frozen=True, slots=True)
class ExpressionNetwork:
    """How one network is spoken to."""

    given: str  # the name of the input that takes points; empty where there is none
    points: int  # how many
    seen: Callable[[Float32], Float32]  # 478 x 3 points of one face in picture pixels to points x 2
    picture: str | None  # the name of the input that takes the face's square picture, where there is one
    columns: npt.NDArray[np.intp]  # of its output: those that are weights we take
    targets: npt.NDArray[np.intp]  # which of the 52 each of them is
    reach: Float32  # what brings each to ARKit's scale
    square: Square = Square(PREPROCESSING)  # what that picture shows


@dataclass(frozen=True, slots=True)
class Look:
    """One face to be read, and what was read of it in the picture before."""

    points_px: Float32  # 478 x 3
    image: Image  # the whole picture
    horizontal_fov_deg: float
    previous: Expression | None = None


class NetworkExpressionReader:
    """Reads faces with one call of a network for all of them."""

    def __init__(self, runner: Runner, network: ExpressionNetwork) -> None:
        self._runner = runner
        self._network = network
        self._geometry = ExpressionReader()
        preprocessing = network.square.preprocessing
        self._squares = SquareReader(runner, network.picture, preprocessing) if network.picture else None
        self._points = np.zeros((1, network.points, 2), np.float32)

    def read_all(self, looks: Sequence[Look]) -> list[Expression | None]:
        """Read every face; ``None`` for points that are no face."""
        if not looks:
            return []
        outputs = self._begin(looks)
        faces = [self._geometry_of(look) for look in looks]  # while a GPU works
        told = np.minimum(outputs()["blendshapes"][:, self._network.columns] * self._network.reach, 1)
        return [face and self._join(face, weights) for face, weights in zip(faces, told, strict=True)]

    def _begin(self, looks: Sequence[Look]) -> Outputs:
        """Show the network each face; what it is given lies in a buffer that grows to the most faces seen at once."""
        if len(looks) > len(self._points):
            self._points = np.zeros((len(looks), *self._points.shape[1:]), np.float32)
        given = {self._network.given: self._points[: len(looks)]} if self._network.given else {}
        if given:
            for look, points in zip(looks, self._points, strict=False):
                points[:] = self._network.seen(look.points_px)
        if self._squares is None:
            return partial(self._runner, given)
        matrix = self._network.square.matrix
        return self._squares.begin([(look.image, matrix(look.points_px)) for look in looks], given)

    def _geometry_of(self, look: Look) -> Expression | None:
        height_px, width_px = look.image.shape[:2]
        return self._geometry.read(look.points_px, (width_px, height_px), look.horizontal_fov_deg, look.previous)

    def _join(self, read: Expression, weights: Float32) -> Expression:
        blendshapes = read.blendshapes.copy()
        blendshapes[self._network.targets] = weights
        return replace(read, blendshapes=blendshapes)


def upright(points_px: Float32) -> Float32:
    """Bring one face's points to its eyes: 478 x 2, y down, roll and size removed; one unit is from eye to eye."""
    middle, axes, length = _eyes(points_px)
    seen: Float32 = ((points_px[:, :2] - middle) @ axes / length).astype(np.float32)
    return seen


def picture_matrix(points_px: Float32) -> Matrix:
    """Map pixel positions of one face's square picture, ``PICTURE_PX`` wide, to those of the whole picture; 2 x 3.

    The square stands on the line of the eyes as ``upright`` does and is ``PICTURE_EYES`` of its units wide, its middle
    ``PICTURE_BELOW`` under that of the outer corners of the eyes. Its pixels are points in their middle: the first of
    a row lies half a pixel from the square's edge.
    """
    return _square_matrix(points_px, PICTURE_PX, PICTURE_EYES, PICTURE_BELOW)


def _square_matrix(points_px: Float32, size_px: int, eyes: float, below: float) -> Matrix:
    middle, axes, length = _eyes(points_px.astype(np.float64))
    step_px = eyes * length / size_px
    first = np.array([-eyes / 2, below - eyes / 2]) * length + step_px / 2
    return np.column_stack([axes * step_px, middle + axes @ first])


def take_picture(image: Image, points_px: Float32, target: Float32) -> None:
    """Fill ``target``, 3 x ``PICTURE_PX`` x ``PICTURE_PX``, RGB, 0..1, with the square picture of one face."""
    sample(image, picture_matrix(points_px), PREPROCESSING, target)


def _eyes(points_px: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], float]:
    """Of the outer corners of the eyes: their middle, the axes right and down as columns, their distance in pixels."""
    right, left = points_px[face.EYE_OUTER_RIGHT, :2], points_px[face.EYE_OUTER_LEFT, :2]
    across = left - right
    length = max(float(np.hypot(*across)), 1e-6)
    cos, sin = across / length
    return (left + right) / 2, np.array([[cos, -sin], [sin, cos]], points_px.dtype), length


# How far our teacher's scale falls short of ARKit's: shut lids read as 0.6 to 0.9, a mouth wide open as 0.8.
_REACH = {"eyeBlinkLeft": 1.45, "eyeBlinkRight": 1.45, "jawOpen": 1.3}


def own_network(inputs: Collection[str]) -> ExpressionNetwork:
    """How ours is spoken to (``engines.training.expression``): its manifest says whether it sees the picture too.

    One that does not leaves what its teacher does not know to geometry.
    """
    pixels = PICTURE_INPUT in inputs
    known = np.array([index for index, name in enumerate(BLENDSHAPES) if pixels or name not in UNTAUGHT])
    return ExpressionNetwork(
        given="landmarks",
        points=478,
        seen=upright,
        picture=PICTURE_INPUT if pixels else None,
        columns=known,
        targets=known,
        reach=np.array([_REACH.get(BLENDSHAPES[index], 1.0) for index in known], np.float32),
    )


def brought_network(path: Path, inputs: Mapping[str, Shape]) -> ExpressionNetwork:
    """How a network is spoken to that somebody brought: a picture in, the weights that its manifest names out.

    Shapes that it does not name stay geometry's.
    """
    model = brought_model(path, BLENDSHAPES)
    columns = [column for column, name in enumerate(model.output.channels) if name]
    size_px = int(inputs[PICTURE][-1])
    preprocessing = Preprocessing(size_px, low=0.0, high=1.0, outside=model.input.outside)
    return ExpressionNetwork(
        given="",
        points=0,
        seen=upright,
        picture=PICTURE,
        columns=np.array(columns),
        targets=np.array([BLENDSHAPES.index(model.output.channels[column]) for column in columns]),
        reach=np.ones(len(columns), np.float32),
        square=Square(preprocessing, model.input.side_eyes, model.input.below_eyes),
    )
