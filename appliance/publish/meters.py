"""What the topic ``health`` says of the last seconds: frames a second, and latency by stage."""

import time
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

WINDOW_S = 5.0
KEPT = 1024
"""Values a meter remembers: five seconds of 120 a second and some room."""


class _Ring:
    """The newest ``KEPT`` values; allocated once."""

    def __init__(self, kind: type[np.int64] | type[np.float32]) -> None:
        self._values: npt.NDArray[np.int64 | np.float32] = np.zeros(KEPT, dtype=kind)
        self._count = 0

    def add(self, value: float) -> None:
        self._values[self._count % KEPT] = value
        self._count += 1

    def values(self) -> npt.NDArray[np.int64 | np.float32]:
        return self._values[: min(self._count, KEPT)]


class FrameMeters:
    """Frames a second of every stream and p50/p99 of every stage, over the last ``WINDOW_S`` seconds.

    Memory is bounded by the number of streams and stages. One thread counts; reading from another is
    safe and at worst misses the frame being counted.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._started_ns = clock_ns()
        self._frames: dict[str, _Ring] = {}
        self._stages: dict[str, tuple[_Ring, _Ring]] = {}

    def count(self, stream: str, latency_ms: Mapping[str, float]) -> None:
        """Count one published frame; slots of one camera count as streams of their own, ``cam0/1``."""
        now_ns = self._clock_ns()
        if stream not in self._frames:
            self._frames[stream] = _Ring(np.int64)
        self._frames[stream].add(now_ns)
        for stage, elapsed_ms in latency_ms.items():
            if stage not in self._stages:
                self._stages[stage] = (_Ring(np.int64), _Ring(np.float32))
            times, values = self._stages[stage]
            values.add(elapsed_ms)
            times.add(now_ns)

    def fps(self) -> dict[str, float]:
        """Return frames a second by stream; a stream that stopped is 0."""
        now_ns = self._clock_ns()
        span_s = min(WINDOW_S, max((now_ns - self._started_ns) / 1e9, 1e-3))
        return {
            stream: round(int(_recent(ring.values(), now_ns).sum()) / span_s, 1)
            for stream, ring in list(self._frames.items())
        }

    def stages(self) -> dict[str, dict[str, float]]:
        """Return ``{stage: {"p50_ms": x, "p99_ms": y}}`` of the stages that ran in the window."""
        now_ns = self._clock_ns()
        summary = {}
        for stage, (times, values) in list(self._stages.items()):
            recent = values.values()[_recent(times.values(), now_ns)]
            if recent.size:
                p50_ms, p99_ms = np.percentile(recent.astype(np.float64), (50, 99))
                summary[stage] = {"p50_ms": round(float(p50_ms), 2), "p99_ms": round(float(p99_ms), 2)}
        return summary


def _recent(times_ns: npt.NDArray[np.int64 | np.float32], now_ns: int) -> npt.NDArray[np.bool_]:
    return times_ns > now_ns - int(WINDOW_S * 1e9)
