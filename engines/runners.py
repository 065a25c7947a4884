"""The seam between stages and the libraries that run networks."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[Any]
Tensors = Mapping[str, Tensor]
Float32 = npt.NDArray[np.float32]

Outputs = Callable[[], Tensors]
"""Waits for a run that was begun and returns what came out; called once."""


class Runner(Protocol):
    """A loaded model: named arrays in, named arrays out, batch first.

    Outputs are views: they hold until the next call. One thread calls at a time.
    """

    def __call__(self, inputs: Tensors) -> Tensors:
        """Run the model once over the whole batch."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A runner that holds what does not go with the object alone."""

    def close(self) -> None:
        """Give it back; the runner is not called again."""
        ...


def close(runner: Runner) -> None:
    """Let a runner go; what else it holds goes with the last reference to it."""
    if isinstance(runner, Closing):
        runner.close()


class Returning:
    """A runner that ``close`` lets go of, with all its memory, and that the next call loads again."""

    def __init__(self, load: Callable[[], Runner]) -> None:
        self._load = load
        self._runner: Runner | None = load()

    def __call__(self, inputs: Tensors) -> Tensors:
        """Run the model once over the whole batch; ``EngineError`` where it does not load."""
        if self._runner is None:
            self._runner = self._load()
        return self._runner(inputs)

    def close(self) -> None:
        """Let the runner go."""
        if self._runner is not None:
            close(self._runner)
        self._runner = None
