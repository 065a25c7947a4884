"""How a device is looked at for a moment."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from appliance.values import Event

WAIT_S = 4.0
_STEP_S = 0.05


def why_refused(device: Path, group: str) -> tuple[str, str] | None:
    """Why a device file cannot be used, and the cure."""
    if not device.exists():
        return f"{device} does not exist", "plug it in; see: ls -l /dev/video* /dev/snd"
    if not os.access(device, os.R_OK | os.W_OK):
        return (
            f"{device} may not be opened by this user",
            f"add the user to the group {group}: usermod -aG {group} USER",
        )
    return None


def within(true: Callable[[], bool]) -> bool:
    """Whether something becomes true in the time that a device has."""
    ends_s = time.monotonic() + WAIT_S
    while not true() and time.monotonic() < ends_s:
        time.sleep(_STEP_S)
    return true()


def ignore(_event: Event) -> None:
    """Take an event and do nothing: what goes wrong meanwhile is in the status."""
