"""The seam between stages and the libraries that run networks."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[Any]
Tensors = Mapping[str, Tensor]
Float32 = npt.NDArray[np.float32]


class Runner(Protocol):
    """A loaded model: named arrays in, named arrays out, batch first.

    Outputs are views: they hold until the next call. One thread calls at a time.
    """

    def __call__(self, inputs: Tensors) -> Tensors:
        """Run the model once over the whole batch."""
        ...
