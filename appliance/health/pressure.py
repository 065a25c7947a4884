"""How short memory is."""

from enum import Enum

from appliance.health.readings import Reading

_EASE = 1.15  # memory must come back by so much before a level is left, or it would flutter


class Pressure(str, Enum):
    """What the load plan goes by."""

    NORMAL = "normal"
    HIGH = "high"
    CRITICAL = "critical"


def next_pressure(reading: Reading, high_mb: int, critical_mb: int, previous: Pressure) -> Pressure:
    """Decide from available memory: up at once, down only 15 percent above the limit that was crossed."""
    available_mb = reading.available_mb
    if reading.total_mb == 0:  # a machine that does not tell is not short
        return Pressure.NORMAL
    if available_mb < critical_mb or (previous is Pressure.CRITICAL and available_mb < critical_mb * _EASE):
        return Pressure.CRITICAL
    if available_mb < high_mb or (previous is not Pressure.NORMAL and available_mb < high_mb * _EASE):
        return Pressure.HIGH
    return Pressure.NORMAL
