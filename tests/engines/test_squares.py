"""Who cuts a network's squares."""

from collections.abc import Sequence

import numpy as np

from engines.manifest import Preprocessing
from engines.preprocess import Cut
from engines.runners import Outputs, Tensors
from engines.squares import SquareReader

SEEN = Preprocessing(4, 0.0, 255.0, "edge")
IMAGE = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
SHIFTED = np.array([[1.0, 0, 3], [0, 1, 2]])


class Echo:
    """A network that gives back what it was shown."""

    def __call__(self, inputs: Tensors) -> Tensors:
        return dict(inputs)


class CutsOne(Echo):
    """One that cuts a square by itself, and no more at once."""

    def cut(self, cuts: Sequence[Cut], others: Tensors) -> Outputs | None:
        return (lambda: {"cut": np.array([len(cuts)]), **others}) if len(cuts) == 1 else None


def test_the_processor_cuts_where_the_runner_does_not() -> None:
    read = SquareReader(Echo(), "image", SEEN)

    outputs = read([(IMAGE, SHIFTED), (IMAGE, np.eye(2, 3))], {"more": np.ones((2, 1), np.float32)})

    np.testing.assert_array_equal(outputs["image"][0], IMAGE[2:6, 3:7, ::-1].transpose(2, 0, 1))
    np.testing.assert_array_equal(outputs["image"][1], IMAGE[:4, :4, ::-1].transpose(2, 0, 1))
    np.testing.assert_array_equal(outputs["more"], np.ones((2, 1)))


def test_a_runner_that_cuts_is_given_pictures() -> None:
    outputs = SquareReader(CutsOne(), "image", SEEN)([(IMAGE, SHIFTED)], {"more": np.ones((1, 1), np.float32)})

    assert set(outputs) == {"cut", "more"}


def test_what_such_a_runner_cannot_cut_the_processor_does() -> None:
    outputs = SquareReader(CutsOne(), "image", SEEN)([(IMAGE, SHIFTED), (IMAGE, SHIFTED)], {})

    assert outputs["image"].shape == (2, 3, 4, 4)
