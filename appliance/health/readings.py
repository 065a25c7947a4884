"""What a machine says of itself at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from appliance.errors import ApplianceError


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the machine. ``None`` and missing names mean that it does not say."""

    available_mb: int  # what programs can still get without swapping
    total_mb: int
    swap_used_mb: int
    swap_total_mb: int
    read_ns: int  # CLOCK_MONOTONIC
    lfb_mb: float | None = None  # largest free block: what the GPU can still get in one piece
    psi_some_avg10: float | None = None  # percent of ten seconds in which some task waited for memory
    psi_full_avg10: float | None = None  # percent of ten seconds in which all did
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    throttles_at_c: float | None = None  # from here on the hardware slows itself down
    throttled: tuple[str, ...] = ()  # what the hardware is slowing down now
    fan_percent: float | None = None
    rails_mw: Mapping[str, float] = field(default_factory=dict)
    clocks_mhz: Mapping[str, float] = field(default_factory=dict)
    power_mode: str | None = None
    cpu_percent: float = 0.0  # 0..100, of all cores, since the reading before


class ReadingError(ApplianceError):
    """A source of readings fell silent: it is started again; meanwhile the kernel's own files are read."""


class Source(Protocol):
    """Where readings of the board's own tool come from."""

    def read(self) -> Reading | None:
        """Say how the machine is, without waiting; ``None`` before the first; ``ReadingError`` if it fell silent."""
        ...

    def close(self) -> None:
        """Let go of what it needs."""
        ...


def joined(kernel: Reading, board: Reading) -> Reading:
    """One reading of two: the kernel's, and what only the board's own tool tells. Memory is what both grant."""
    return replace(
        kernel,
        available_mb=min(kernel.available_mb, board.available_mb) if kernel.total_mb else board.available_mb,
        total_mb=kernel.total_mb or board.total_mb,
        swap_used_mb=max(kernel.swap_used_mb, board.swap_used_mb),
        swap_total_mb=max(kernel.swap_total_mb, board.swap_total_mb),
        lfb_mb=kernel.lfb_mb if board.lfb_mb is None else board.lfb_mb,
        temperatures_c=board.temperatures_c or kernel.temperatures_c,
        fan_percent=kernel.fan_percent if board.fan_percent is None else board.fan_percent,
        rails_mw=board.rails_mw or kernel.rails_mw,
        clocks_mhz=board.clocks_mhz or kernel.clocks_mhz,
        power_mode=board.power_mode or kernel.power_mode,
        cpu_percent=kernel.cpu_percent or board.cpu_percent,
    )
