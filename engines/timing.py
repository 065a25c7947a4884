"""How long a network takes, from memory of the processor to memory of the processor."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engines.runners import Runner, Tensor, Tensors

_WARM = 50
_COUNT = 300


@dataclass(frozen=True, slots=True)
class Times:
    """The spread of many runs."""

    p50_ms: float
    p99_ms: float


def times(call: Callable[[], object], count: int = _COUNT) -> Times:
    """Call so often, after some that do not count."""
    for _ in range(min(_WARM, count)):
        call()
    taken_ms = np.empty(count)
    for index in range(count):
        began_ns = time.perf_counter_ns()
        call()
        taken_ms[index] = (time.perf_counter_ns() - began_ns) / 1e6
    p50, p99 = np.percentile(taken_ms, (50, 99))
    return Times(float(p50), float(p99))


def batch_of(samples: Tensors, size: int) -> dict[str, Tensor]:
    """The samples, repeated to a batch of this size; what there is one of, they share."""
    count = max(map(len, samples.values()))
    chosen = np.arange(size) % count
    return {
        name: np.ascontiguousarray(array[chosen] if len(array) == count else array) for name, array in samples.items()
    }


def median_ms(runner: Runner, samples: Tensors) -> float:
    """The median of one sample."""
    one = batch_of(samples, 1)
    return times(lambda: runner(one)).p50_ms
