"""The power mode that the board runs in, held against what engines were built for; and how hot it is."""

import shutil
from pathlib import Path

from appliance.checks.finding import Finding, Verdict
from appliance.health.heat import Heat, next_heat
from appliance.health.proc import read_proc
from engines import board
from engines.store import BUILD_COMMAND, Store

_SUPER_MODES = ("25W", "MAXN", "MAXN_SUPER")
_MODEL = "proc/device-tree/model"


def power_mode(engines: Path, root: Path = Path("/")) -> Finding:
    """Whether the board runs in the mode that its engines were timed and built in."""
    if shutil.which("nvpmodel") is None:
        return Finding("power mode", Verdict.FINE, "this machine has none")
    mode = board.power_mode()
    if not mode:
        return Finding("power mode", Verdict.WEAK, "nvpmodel -q says nothing", "run check as root")
    built = sorted({record.key.board.power_mode for record in Store(engines).records()})
    if built and mode not in built:
        text = f"{mode}, and engines were built for {', '.join(one or 'none' for one in built)}"
        cure = f"set that mode again (nvpmodel -p --verbose lists modes, nvpmodel -m sets one), or: {BUILD_COMMAND}"
        return Finding("power mode", Verdict.WEAK, text, cure)
    if _is_held_back(root, mode):
        cure = "update its firmware, then: nvpmodel -m 2"
        return Finding("power mode", Verdict.WEAK, f"{mode} on an Orin Nano Super, which can have 25W", cure)
    return Finding("power mode", Verdict.FINE, f"{mode}{', as engines were built for' if built else ''}")


def heat(root: Path = Path("/")) -> Finding:
    """Whether the device is cool enough to keep its pace."""
    reading, _ = read_proc(None, root)
    if not reading.temperatures_c:
        return Finding("heat", Verdict.FINE, "this machine tells no temperature")
    name = max(reading.temperatures_c, key=lambda zone: reading.temperatures_c[zone])
    text = f"{name} at {reading.temperatures_c[name]:.0f} degrees"
    if reading.throttles_at_c:
        text += f", slowed down from {reading.throttles_at_c:.0f} on"
    if reading.throttled:
        text += f"; slowed down now: {', '.join(reading.throttled)}"
    if next_heat(reading, Heat.COOL) is Heat.COOL:
        return Finding("heat", Verdict.FINE, text)
    return Finding("heat", Verdict.WEAK, text, "clean the fan and its openings, and let the device have air")


def _is_held_back(root: Path, mode: str) -> bool:
    """JetPack 7.2 takes an Orin Nano Super for a board of 15 watts until its firmware is updated."""
    try:
        model = (root / _MODEL).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "Orin Nano" in model and "Super" in model and not mode.startswith(_SUPER_MODES)
