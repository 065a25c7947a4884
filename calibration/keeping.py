"""Keeps some of what a network is shown while the appliance runs, spread over the time of a recording."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from calibration.folder import CalibrationFolder
from engines.runners import Runner, Tensors

STATE = "state_"
"""Inputs so named carry a network's memory from call to call; its output ``next_0`` is the next call's ``state_0``."""

Worth = Callable[[Tensors, int], bool]

_LEAST_SHARE = 5  # one in so many


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is kept of one network."""

    seconds: float
    count: int
    blocks: int  # of time; see ``folder.is_held_out``

    @property
    def step_ns(self) -> int:
        """From one sample to the next: so far apart that they differ."""
        return round(self.seconds / self.count * 1e9)

    def block(self, elapsed_ns: int) -> int:
        """In which block of time a moment lies, from 0."""
        return min(int(elapsed_ns * self.blocks / (self.seconds * 1e9)), self.blocks - 1)


class Keeper:
    """Keeps samples of one network: at most ``count``, no two nearer than ``step_ns``.

    A network with a memory is kept in stretches of ``calls`` that follow each other: its memory before the first,
    and what each brought. ``worth`` says of each call's outputs whether it shows anything; of a stretch a fifth must,
    for a network knows nothing in its first calls. ``watch`` and ``take`` may be on different threads.
    """

    def __init__(self, plan: Plan, began_ns: int, clock_ns: Callable[[], int], worth: Worth, calls: int = 1) -> None:
        self._plan = plan
        self._clock_ns = clock_ns
        self._began_ns = self._due_ns = began_ns
        self._worth = worth
        self._calls = calls
        self._open: list[Tensors] = []  # of the stretch
        self._open_worth = 0  # so many of its calls show something
        self._kept: deque[tuple[int, Tensors]] = deque()
        self._seen = 0
        self.count = 0

    def watch(self, runner: Runner) -> Runner:
        """The runner, watched."""
        return _Watched(runner, self._see)

    def take(self) -> list[tuple[int, Tensors]]:
        """What was kept since the last time: the block of time, and one sample."""
        return [self._kept.popleft() for _ in range(len(self._kept))]

    def _see(self, inputs: Tensors, outputs: Tensors) -> None:
        if self.count >= self._plan.count:
            return
        now_ns = self._clock_ns()
        if not self._open and now_ns < self._due_ns:
            return
        batch = len(next(iter(inputs.values())))
        self._seen += 1
        row = self._seen % batch if self._calls == 1 else 0  # of several faces each has its turn
        self._open.append({name: np.array(values[row], np.float32) for name, values in inputs.items()})
        self._open_worth += self._worth(outputs, row)
        if len(self._open) == self._calls:
            self._close(now_ns)

    def _close(self, now_ns: int) -> None:
        if self._open_worth * _LEAST_SHARE >= self._calls:
            self._kept.append((self._plan.block(now_ns - self._began_ns), joined(self._open)))
            self.count += 1
            self._due_ns = max(self._due_ns + self._plan.step_ns, now_ns + self._plan.step_ns // 2)
        self._open, self._open_worth = [], 0


class _Watched:
    def __init__(self, runner: Runner, see: Callable[[Tensors, Tensors], None]) -> None:
        self._runner = runner
        self._see = see

    def __call__(self, inputs: Tensors) -> Tensors:
        outputs = self._runner(inputs)
        self._see(inputs, outputs)
        return outputs


def joined(calls: list[Tensors]) -> Tensors:
    """One sample of calls: the memory before the first, and else the inputs of all where there are several."""
    if len(calls) == 1:
        return calls[0]
    first = calls[0]
    return {
        name: values if name.startswith(STATE) else np.stack([call[name] for call in calls])
        for name, values in first.items()
    }


class Collection:
    """Brings what keepers keep to the folder, a file for each network, block of time and stream."""

    def __init__(self, folder: CalibrationFolder, recording: int) -> None:
        self._folder = folder
        self._recording = recording
        self._keepers: dict[tuple[str, str], Keeper] = {}
        self._pending: dict[tuple[str, str, int], list[Tensors]] = {}

    def add(self, name: str, stream: str, keeper: Keeper) -> None:
        """Write what this keeper keeps."""
        self._keepers[name, stream] = keeper

    def counts(self) -> dict[str, int]:
        """How much was kept so far, by network."""
        counts: dict[str, int] = {}
        for (name, _), keeper in self._keepers.items():
            counts[name] = counts.get(name, 0) + keeper.count
        return counts

    def write(self, block: int) -> None:
        """Write the blocks of time that are over."""
        for (name, stream), keeper in self._keepers.items():
            for of_block, sample in keeper.take():
                self._pending.setdefault((name, stream, of_block), []).append(sample)
        for name, stream, of_block in [key for key in self._pending if key[2] < block]:
            samples = self._pending.pop((name, stream, of_block))
            stacked = {port: np.stack([sample[port] for sample in samples]) for port in samples[0]}
            self._folder.write(name, self._recording, of_block, stream, stacked)

    def close(self) -> None:
        """Write all that is left."""
        self.write(1 << 30)
