"""Visemes by a network of ours that is told one block of sound at a time and carries its state along."""

from collections.abc import Mapping

import numpy as np

from appliance.listening.features import FeatureState, features
from appliance.values import Float32
from engines.manifest import Shape
from engines.runners import Runner, close

MODEL = "viseme"
"""The name of the network in ``engines/models``."""

SURE_BLOCKS = 6
"""So many blocks after a sound the network names it."""
GUESS_BLOCKS = 4
"""So many blocks after a sound the network has a first guess."""

_HEARD = "features"


class VisemeNetwork:
    """Names sounds, one block after the other. One microphone has it for itself.

    The network's own memory goes in as ``state_0``, ``state_1`` and so on, and comes out as ``next_0``, ``next_1``.
    """

    def __init__(self, runner: Runner, inputs: Mapping[str, Shape]) -> None:
        self._runner = runner
        self._given = {name: np.zeros((1, *map(int, shape[1:])), np.float32) for name, shape in inputs.items()}
        self._memory = {name: name.replace("state", "next") for name in inputs if name != _HEARD}
        self.forget()

    def forget(self) -> None:
        """Begin anew: what comes next does not follow what was heard so far."""
        self._heard: FeatureState | None = None
        for name in self._memory:
            self._given[name].fill(0)

    def rest(self) -> None:
        """Let the runner go until the next ``name``: it must be one that comes back."""
        close(self._runner)
        self.forget()

    def name(self, samples: Float32) -> tuple[Float32, Float32]:
        """Take whole blocks; return the 15 visemes of ``SURE_BLOCKS`` before each, and of ``GUESS_BLOCKS`` before it.

        Both are blocks x 15.
        """
        self._heard, seen = features(self._heard, samples)
        sure, guessed = zip(*map(self._step, seen.T), strict=True)
        return np.stack(sure), np.stack(guessed)

    def _step(self, seen: Float32) -> tuple[Float32, Float32]:
        self._given[_HEARD][0, :, 0, 0] = seen
        outputs = self._runner(self._given)
        for name, following in self._memory.items():
            np.copyto(self._given[name], outputs[following])
        return outputs["visemes"][0].copy(), outputs["visemes_40ms"][0].copy()
