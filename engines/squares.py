"""Squares of pictures as a network's input: cut by the processor, or by the GPU where the network's runner can."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np

from engines.manifest import Preprocessing
from engines.preprocess import Cut, sample
from engines.runners import Float32, Outputs, Runner, Tensors


@runtime_checkable
class Cropping(Protocol):
    """A runner that also cuts: see ``engines.gpu_crop``."""

    def cut(self, cuts: Sequence[Cut], others: Tensors) -> Outputs | None:
        """Begin to run the network on squares of pictures; ``None`` where it cannot cut these."""
        ...


class SquareReader:
    """A network with one input that is a square of a picture, called once for all squares.

    Outputs are views: they hold until the next call.
    """

    def __init__(self, runner: Runner, tensor: str, preprocessing: Preprocessing) -> None:
        self._runner = runner
        self._cropping = runner if isinstance(runner, Cropping) else None
        self._tensor = tensor
        self._preprocessing = preprocessing
        size = preprocessing.size_px
        self._squares = np.zeros((1, 3, size, size), np.float32)

    def __call__(self, cuts: Sequence[Cut], others: Mapping[str, Float32]) -> Tensors:
        """Run the network on at least one square; ``others`` are its other inputs."""
        return self.begin(cuts, others)()

    def begin(self, cuts: Sequence[Cut], others: Mapping[str, Float32]) -> Outputs:
        """Begin such a run, so that who calls can do something else beside a GPU; pictures stay until it is done."""
        if self._cropping is not None and (outputs := self._cropping.cut(cuts, others)) is not None:
            return outputs
        if len(cuts) > len(self._squares):  # grows to the most faces ever seen at once, then stays
            self._squares = np.zeros((len(cuts), *self._squares.shape[1:]), np.float32)
        for (image, square_to_picture), target in zip(cuts, self._squares, strict=False):
            sample(image, square_to_picture, self._preprocessing, target)
        return partial(self._runner, {self._tensor: self._squares[: len(cuts)], **others})
