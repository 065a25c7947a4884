"""How short memory is. Pure functions of values."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from math import inf

from appliance.health.readings import Reading

_EASE = 1.15  # memory must come back by so much before a level is left, or it would flutter
_STALLED_SOME, _STALLED_FULL = 10.0, 10.0  # percent of ten seconds in which some, or all, tasks waited for memory
_SWAP_NS = 10_000_000_000
_SWAPPED_HIGH_MB, _SWAPPED_CRITICAL_MB = 64, 256  # moved to swap in so long
_LEAST_BLOCK_MB = 1.0  # in one piece: smaller ones fail the GPU's large pages
_SCARCE = 2.0  # times ``high_mb``: with more than this available, the kernel makes large blocks and swaps to tidy up
_LOADING_MB = 200  # what loading all networks may take; 110 MB with OpenVINO, 60 MB with ONNX Runtime


class Level(str, Enum):
    """What the load plan goes by."""

    NORMAL = "normal"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Pressure:
    """How short memory is, and by what sign."""

    level: Level = Level.NORMAL
    sign: str = ""  # "available", "stalls", "swap" or "block"; empty while normal
    swapped: tuple[tuple[int, int], ...] = ()  # of the last ten seconds: read_ns and megabytes in swap


@dataclass(frozen=True, slots=True)
class _Sign:
    """One measure, the greater the worse, and from where on it means high and critical; by how much it must ease."""

    name: str
    value: float
    high: float
    critical: float
    ease: float


def next_pressure(reading: Reading, high_mb: int, critical_mb: int, before: Pressure) -> Pressure:
    """Judge a reading: up at once, down only when every sign is well clear of the limit that was crossed."""
    swapped = (*before.swapped, (reading.read_ns, reading.swap_used_mb))
    swapped = tuple((at_ns, used_mb) for at_ns, used_mb in swapped if reading.read_ns - at_ns <= _SWAP_NS)
    if reading.total_mb == 0:  # a machine that does not tell is not short
        return Pressure(swapped=swapped)
    grown_mb = reading.swap_used_mb - min(used_mb for _, used_mb in swapped)
    signs = list(_signs(reading, high_mb, critical_mb, grown_mb))
    for level in (Level.CRITICAL, Level.HIGH):
        for sign in signs:
            if _reached(sign, level, before.level):
                return Pressure(level, sign.name, swapped)
    return Pressure(swapped=swapped)


def has_room(reading: Reading, high_mb: int, critical_mb: int) -> bool:
    """Whether networks can be loaded without memory becoming critical by it, and in blocks that are large enough."""
    if reading.total_mb == 0:
        return True
    in_pieces = reading.lfb_mb is not None and reading.lfb_mb < _LEAST_BLOCK_MB
    if in_pieces and reading.available_mb < _SCARCE * high_mb:
        return False
    return reading.available_mb - _LOADING_MB >= critical_mb * _EASE


def _signs(reading: Reading, high_mb: int, critical_mb: int, grown_mb: int) -> Iterator[_Sign]:
    available_mb, scarce = reading.available_mb, reading.available_mb < _SCARCE * high_mb
    yield _Sign("available", 1 / max(available_mb, 1e-3), 1 / high_mb, 1 / critical_mb, _EASE)
    if reading.psi_some_avg10 is not None:
        yield _Sign("stalls", reading.psi_some_avg10, _STALLED_SOME, inf, 2.0)
    if reading.psi_full_avg10 is not None:
        yield _Sign("stalls", reading.psi_full_avg10, inf, _STALLED_FULL, 2.0)
    if scarce:
        yield _Sign("swap", grown_mb, _SWAPPED_HIGH_MB, _SWAPPED_CRITICAL_MB if available_mb < high_mb else inf, 4.0)
    if scarce and reading.lfb_mb is not None:
        yield _Sign("block", 1 / max(reading.lfb_mb, 1e-3), 1 / _LEAST_BLOCK_MB, inf, 2.0)


def _reached(sign: _Sign, level: Level, before: Level) -> bool:
    limit = sign.critical if level is Level.CRITICAL else sign.high
    stays = before is level or before is Level.CRITICAL
    return sign.value > (limit / sign.ease if stays else limit)
