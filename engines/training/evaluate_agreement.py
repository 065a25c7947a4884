"""How well weights agree: with the teacher on filmed people, with the truth on drawn ones."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from appliance.avatar.channels import BLENDSHAPES
from appliance.face.expression_network import ExpressionNetwork
from appliance.values import Float32
from engines.runners import Runner, Tensors

FIRES = 0.02  # a shape that varies less than this says nothing
NEVER_FIRED = (
    "cheekPuff",
    "noseSneerLeft",
    "noseSneerRight",
    "cheekSquintLeft",
    "cheekSquintRight",
    "jawForward",
    "tongueOut",
)
"""The shapes that the teacher never fires, or does not know."""

NEUTRAL = 0.25
"""A face at rest: no weight of the teacher's is above this, those of lids and looks apart, which never rest."""

_RESTLESS = ("eyeLook", "eyeBlink", "eyeSquint")
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Agreement:
    """Correlation and mean absolute error by shape, NaN where the truth does not move."""

    correlation: Float32
    error: Float32

    @property
    def shapes(self) -> npt.NDArray[np.intp]:
        """Those that move."""
        return np.flatnonzero(np.isfinite(self.correlation))


def agreement(told: Float32, truth: Float32) -> Agreement:
    """Compare n x 52 weights with the truth; what never moves though the truth does correlates at 0."""
    correlation, error = np.full(52, np.nan, np.float32), np.full(52, np.nan, np.float32)
    for shape in np.flatnonzero(truth.std(0) > FIRES):
        moves = told[:, shape].std() > 1e-6
        correlation[shape] = np.corrcoef(told[:, shape], truth[:, shape])[0, 1] if moves else 0
        error[shape] = np.abs(told[:, shape] - truth[:, shape]).mean()
    return Agreement(correlation, error)


def tell(
    runner: Runner, network: ExpressionNetwork, points_px: Float32, pictures: npt.NDArray[np.uint8] | None = None
) -> Float32:
    """What a network says of n faces, n x 52, on its own scale; what it does not know is 0.

    ``points_px`` are n x 478 x 3; ``pictures`` n x 96 x 96 x 3, RGB, as ``expression_network.take_picture`` cuts them.
    """
    weights = np.zeros((len(points_px), len(BLENDSHAPES)), np.float32)
    given = shown(network, points_px, pictures)
    for first in range(0, len(points_px), _BATCH):
        batch = {name: values[first : first + _BATCH] for name, values in given.items()}
        output = runner(batch)["blendshapes"]
        weights[first : first + _BATCH, network.targets] = output[:, network.columns]
    return weights


def shown(network: ExpressionNetwork, points_px: Float32, pictures: npt.NDArray[np.uint8] | None) -> Tensors:
    """The network's inputs for n faces."""
    given = {network.given: np.stack([network.seen(points) for points in points_px])}
    if network.picture:
        if pictures is None:
            raise ValueError("this network sees pictures, and the bank has none; write it anew with expression_bank")
        planes = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
        given[network.picture] = planes.astype(np.float32) / np.float32(255)
    return given


def at_arkits_scale(weights: Float32, network: ExpressionNetwork) -> Float32:
    """Weights, n x 52, as the program takes them from the network."""
    scaled = weights.copy()
    scaled[:, network.targets] = np.minimum(weights[:, network.targets] * network.reach, 1)
    return scaled


def at_rest(labels: Float32) -> npt.NDArray[np.bool_]:
    """Which of n pictures show a face near its rest, by the teacher's weights, n x 52."""
    telling = [index for index, name in enumerate(BLENDSHAPES) if not name.startswith(_RESTLESS)]
    return np.asarray((labels[:, telling] < NEUTRAL).all(1))


def never_fired() -> npt.NDArray[np.intp]:
    """The shapes that the teacher never fires, as places in the 52."""
    return np.array([BLENDSHAPES.index(name) for name in NEVER_FIRED])
