"""How near the device is to slowing itself down. Pure functions of values."""

from enum import Enum

from appliance.health.readings import Reading

_THROTTLES_AT_C = 95.0  # where the board does not say: Orin does at 99
_WARM_C, _HOT_C = 10.0, 4.0  # so near to it
_EASE_C = 3.0  # further off before a level is left
_NOT_OF_THE_CHIP = ("wifi", "nvme", "tdiode", "tboard")


class Heat(str, Enum):
    """What the load plan goes by."""

    COOL = "cool"
    WARM = "warm"
    HOT = "hot"


def next_heat(reading: Reading, before: Heat) -> Heat:
    """Judge a reading: up at once, down only some degrees below the limit that was crossed."""
    if reading.throttled:
        return Heat.HOT
    hottest_c = max(
        (c for name, c in reading.temperatures_c.items() if not any(word in name.lower() for word in _NOT_OF_THE_CHIP)),
        default=0.0,
    )
    left_c = (reading.throttles_at_c or _THROTTLES_AT_C) - hottest_c
    if left_c < _HOT_C + (_EASE_C if before is Heat.HOT else 0.0):
        return Heat.HOT
    if left_c < _WARM_C + (0.0 if before is Heat.COOL else _EASE_C):
        return Heat.WARM
    return Heat.COOL
