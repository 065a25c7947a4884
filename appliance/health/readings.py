"""What a machine says of itself at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the machine. ``None`` and missing names mean that it does not say."""

    available_mb: int  # what programs can still get without swapping
    total_mb: int
    swap_used_mb: int
    swap_total_mb: int
    read_ns: int  # CLOCK_MONOTONIC
    lfb_mb: int | None = None  # largest free block: what the GPU can still get in one piece
    psi_some_avg10: float | None = None  # percent of ten seconds in which some task waited for memory
    psi_full_avg10: float | None = None  # percent of ten seconds in which all did
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    rails_mw: Mapping[str, float] = field(default_factory=dict)
    clocks_mhz: Mapping[str, float] = field(default_factory=dict)
    power_mode: str | None = None
    cpu_percent: float = 0.0  # 0..100, of all cores, since the reading before
