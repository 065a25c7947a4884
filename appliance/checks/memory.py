"""Whether there is memory for what the appliance does."""

from pathlib import Path

from appliance import settings as config
from appliance.checks.finding import Finding, Verdict
from appliance.health.pressure import has_room
from appliance.health.proc import read_proc


def memory(limits: config.Memory, root: Path) -> Finding:
    """Whether the memory that is free now lies above the level where load is shed."""
    reading, _ = read_proc(None, root)
    text = f"{reading.available_mb} of {reading.total_mb} MB available"
    if reading.lfb_mb is not None:
        text += f", the largest free block {reading.lfb_mb:g} MB"
    if reading.available_mb < limits.high_mb:
        cure = "end other programs, or lower memory.high_mb"
        return Finding("memory", Verdict.WEAK, f"{text}; below memory.high_mb = {limits.high_mb}", cure)
    if not has_room(reading, limits.high_mb, limits.critical_mb):
        cure = "end other programs, or restart the device: its memory is in pieces"
        return Finding("memory", Verdict.WEAK, f"{text}; too little to load networks in", cure)
    return Finding("memory", Verdict.FINE, text)
