"""Runs a network over samples, call by call, with its memory where it has one."""

from collections.abc import Iterable, Iterator

import numpy as np

from calibration.keeping import STATE
from engines.runners import Runner, Tensors


def walk(runner: Runner, blocks: Iterable[Tensors]) -> Iterator[tuple[Tensors, Tensors]]:
    """Yield inputs and outputs of every call, one sample at a time, batches of one.

    Of a network with a memory a sample is a stretch of calls, in which its own memory is carried along.
    """
    for block in blocks:
        for row in range(len(next(iter(block.values())))):
            sample = {name: values[row] for name, values in block.items()}
            if any(name.startswith(STATE) for name in sample):
                yield from _stretch(runner, sample)
            else:
                inputs = {name: values[None] for name, values in sample.items()}
                yield inputs, runner(inputs)


def calls(runner: Runner, blocks: Iterable[Tensors], most: int) -> Tensors:
    """The inputs of at most so many calls, evenly chosen, batch first: what an engine is verified on."""
    shown = [{name: values.copy() for name, values in inputs.items()} for inputs, _ in walk(runner, blocks)]
    if not shown:
        return {}
    chosen = np.unique(np.linspace(0, len(shown) - 1, min(most, len(shown))).astype(int))
    return {name: np.concatenate([shown[index][name] for index in chosen]) for name in shown[0]}


def _stretch(runner: Runner, sample: Tensors) -> Iterator[tuple[Tensors, Tensors]]:
    memory = {name: values[None] for name, values in sample.items() if name.startswith(STATE)}
    brought = {name: values for name, values in sample.items() if name not in memory}
    for call in range(len(next(iter(brought.values())))):
        inputs = {**{name: values[call][None] for name, values in brought.items()}, **memory}
        outputs = {name: np.array(values) for name, values in runner(inputs).items()}
        yield inputs, outputs
        memory = {name: outputs[name.replace(STATE, "next_")] for name in memory}
