"""Readings of any Linux machine, from /proc and /sys. A file that is not there is not an error."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from appliance.health import sensors
from appliance.health.files import counters, text
from appliance.health.limits import own_pressure, room_mb
from appliance.health.readings import Reading

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_FEWEST_ORDERS = 8  # of a zone's free blocks; a line of fewer is none


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Ticks of all cores since boot."""

    busy: int = 0
    total: int = 0


class Kernel:
    """The kernel's own files as a source of readings."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._times: CpuTimes | None = None

    def read(self) -> Reading:
        """Read them all; the share of the processor is that since the call before."""
        reading, self._times = read_proc(self._times, self._root)
        return reading


def read_proc(before: CpuTimes | None = None, root: Path = Path("/")) -> tuple[Reading, CpuTimes]:
    """Read the machine; hand the returned times to the next call, which then knows the CPU's share.

    The first call says 0 percent. Where a control group leaves less memory than the machine has, that is available.
    """
    memory = counters(text(root / "proc/meminfo"))
    some, full = parse_pressure(own_pressure(root) or text(root / "proc/pressure/memory"))
    times = parse_cpu_times(text(root / "proc/stat"))
    thermal, hwmon = root / "sys/class/thermal", root / "sys/class/hwmon"
    available_mb, room = memory.get("MemAvailable", memory.get("MemFree", 0)) // 1024, room_mb(root)
    reading = Reading(
        available_mb=available_mb if room is None else min(available_mb, room),
        total_mb=memory.get("MemTotal", 0) // 1024,
        swap_used_mb=(memory.get("SwapTotal", 0) - memory.get("SwapFree", 0)) // 1024,
        swap_total_mb=memory.get("SwapTotal", 0) // 1024,
        read_ns=time.monotonic_ns(),
        lfb_mb=parse_largest_block(text(root / "proc/buddyinfo")),
        psi_some_avg10=some,
        psi_full_avg10=full,
        temperatures_c=sensors.read_temperatures(thermal),
        throttles_at_c=sensors.throttles_at_c(thermal),
        throttled=sensors.throttled(thermal),
        fan_percent=sensors.fan_percent(hwmon),
        rails_mw=sensors.read_rails(hwmon),
        clocks_mhz=sensors.read_clocks(root / "sys/devices/system/cpu"),
        cpu_percent=cpu_percent(before, times),
    )
    return reading, times


def parse_pressure(text: str) -> tuple[float | None, float | None]:
    """``avg10`` of the lines ``some`` and ``full`` of a PSI file; ``None`` where there is none."""
    averages: dict[str, float] = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        values = dict(word.split("=", 1) for word in rest.split() if "=" in word)
        try:
            averages[kind] = float(values["avg10"])
        except (KeyError, ValueError):
            continue
    return averages.get("some"), averages.get("full")


def parse_largest_block(buddyinfo: str) -> float | None:
    """Megabytes of the largest free block of /proc/buddyinfo, whose columns are blocks of 1, 2, 4, 8 ... pages."""
    largest: float | None = None
    for line in buddyinfo.splitlines():
        counts = line.partition("zone")[2].split()[1:]
        if len(counts) < _FEWEST_ORDERS or not all(count.isdigit() for count in counts):
            continue
        orders = [order for order, count in enumerate(counts) if int(count)]
        largest = max(largest or 0.0, _PAGE_MB * (1 << max(orders)) if orders else 0.0)
    return largest


def parse_cpu_times(text: str) -> CpuTimes:
    """The first line of /proc/stat; waiting for disks counts as idle, guests are in ``user`` already."""
    words = text.partition("\n")[0].split()
    if len(words) < 5 or words[0] != "cpu" or not all(word.isdigit() for word in words[1:]):
        return CpuTimes()
    ticks = [int(word) for word in words[1:9]]
    return CpuTimes(busy=sum(ticks) - sum(ticks[3:5]), total=sum(ticks))


def cpu_percent(before: CpuTimes | None, now: CpuTimes) -> float:
    """Busy share of all cores between two times, 0..100."""
    if before is None or now.total <= before.total:
        return 0.0
    return min(max(100.0 * (now.busy - before.busy) / (now.total - before.total), 0.0), 100.0)
