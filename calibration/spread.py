"""From the values of an activation to the range that eight bits shall cover."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.errors import EngineError
from engines.quantize import STEPS
from engines.ranges import METHODS, Range

BINS = 4096
PERCENTILE = 99.99
_CANDIDATES = 200
_SMALLEST_SHARE = 0.05  # of the largest magnitude: no range is cut below it
_LEVELS = STEPS + 1

Counts = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class Spread:
    """How often an activation has which magnitude, added up batch by batch.

    Every value counts, for a stride would leave out whole channels. When a value lies beyond the last bin, bins are
    joined in pairs until it fits.
    """

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.width = 0.0  # of a bin; 0 until something but zero was seen
        self.counts: Counts = np.zeros(BINS, np.int64)

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count the values; ``EngineError`` if one is no number."""
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise EngineError("an activation must be finite, got infinity or NaN; look at the network and its inputs")
        self.low, self.high = min(self.low, low), max(self.high, high)
        reach = max(-low, high)
        if reach > 0 and not self.width:
            self.width = reach / (BINS - 1)
        while reach >= self.width * BINS > 0:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(1), np.zeros(BINS // 2, np.int64)])
            self.width *= 2
        if not self.width:
            self.counts[0] += values.size
            return
        places = (np.abs(values.ravel()) * (1 / self.width)).astype(np.int32)
        self.counts += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)

    def range(self, method: str) -> Range:
        """The range by one of ``engines.ranges.METHODS``, within what was seen."""
        if method not in METHODS:
            raise EngineError(f"the method must be one of {', '.join(METHODS)}, got {method!r}")
        if not self.width:
            return 0.0, 1.0  # it never fired: any scale holds zero
        reach = self.width * BINS if method == "minmax" else _REACHES[method](self.counts) * self.width
        return max(self.low, -reach), min(self.high, reach)


def _percentile(counts: Counts) -> float:
    """So many of all magnitudes lie below."""
    shares = np.cumsum(counts) / counts.sum()
    return float(np.searchsorted(shares, PERCENTILE / 100) + 1)


def _mse(counts: Counts) -> float:
    """The least mean squared error of rounding and clipping together."""
    values, weights = _middles(), counts / counts.sum()
    filled = int(np.flatnonzero(counts)[-1]) + 1
    reaches = np.linspace(_SMALLEST_SHARE, 1, _CANDIDATES) * filled
    scales = reaches[:, None] / STEPS
    rounded = np.minimum(np.rint(values / scales), STEPS) * scales
    return float(reaches[np.argmin(((rounded - values) ** 2) @ weights)])


def _entropy(counts: Counts) -> float:
    """The least Kullback-Leibler divergence, as Migacz (NVIDIA, "8-bit inference with TensorRT", 2017) finds it."""
    seen = counts.astype(np.float64)
    seen[0] = seen[1]  # zeros lose nothing: they would hide the rest
    filled = int(np.flatnonzero(counts)[-1]) + 1
    smallest = max(_LEVELS, int(_SMALLEST_SHARE * filled))
    if filled <= smallest:
        return float(filled)
    reaches = np.unique(np.linspace(smallest, filled, _CANDIDATES).astype(int))
    return float(reaches[np.argmin([_divergence(seen, int(reach)) for reach in reaches])])


def _divergence(seen: Float64, reach: int) -> float:
    """Of what is seen, clipped at a reach, from the same in as many levels as eight bits have."""
    kept = seen[:reach]
    clipped = kept.copy()
    clipped[-1] += seen[reach:].sum()
    starts = np.linspace(0, reach, _LEVELS, endpoint=False).astype(int)
    sizes = np.diff([*starts, reach])
    filled = kept > 0
    mean = np.add.reduceat(kept, starts) / np.maximum(np.add.reduceat(filled, starts), 1)
    levelled = np.where(filled, np.repeat(mean, sizes), 0)
    true, told = clipped / max(clipped.sum(), 1), levelled / max(levelled.sum(), 1)
    both = (true > 0) & (told > 0)
    lost = true[(true > 0) & (told == 0)].sum()  # where nothing is told of what is there
    return float(np.sum(true[both] * np.log(true[both] / told[both])) + lost * np.log(1e6))


def _middles() -> Float64:
    middles: Float64 = np.arange(BINS, dtype=np.float64) + 0.5
    middles[0] = 0.0
    return middles


_REACHES: Mapping[str, Callable[[Counts], float]] = {"percentile": _percentile, "entropy": _entropy, "mse": _mse}
