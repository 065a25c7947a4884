"""Readings of any Linux machine, from /proc and /sys. A file that is not there is not an error."""

import time
from dataclasses import dataclass
from pathlib import Path

from appliance.health.readings import Reading


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Ticks of all cores since boot."""

    busy: int = 0
    total: int = 0


def read_proc(before: CpuTimes | None = None, root: Path = Path("/")) -> tuple[Reading, CpuTimes]:
    """Read the machine; hand the returned times to the next call, which then knows the CPU's share.

    The first call says 0 percent.
    """
    memory = parse_meminfo(_text(root / "proc/meminfo"))
    some, full = parse_pressure(_text(root / "proc/pressure/memory"))
    times = parse_cpu_times(_text(root / "proc/stat"))
    reading = Reading(
        available_mb=memory.get("MemAvailable", memory.get("MemFree", 0)) // 1024,
        total_mb=memory.get("MemTotal", 0) // 1024,
        swap_used_mb=(memory.get("SwapTotal", 0) - memory.get("SwapFree", 0)) // 1024,
        swap_total_mb=memory.get("SwapTotal", 0) // 1024,
        read_ns=time.monotonic_ns(),
        psi_some_avg10=some,
        psi_full_avg10=full,
        temperatures_c=read_temperatures(root / "sys/class/thermal"),
        cpu_percent=cpu_percent(before, times),
    )
    return reading, times


def parse_meminfo(text: str) -> dict[str, int]:
    """Kibibytes by name; lines of another form are skipped."""
    fields = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in fields if len(words) > 1 and words[1].isdigit()}


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


def read_temperatures(thermal: Path) -> dict[str, float]:
    """Degrees by zone type; zones of one type are numbered; a zone that is off does not read."""
    temperatures: dict[str, float] = {}
    for zone in sorted(thermal.glob("thermal_zone*"), key=lambda path: (len(path.name), path.name)):
        name, milli = _text(zone / "type").strip() or zone.name, _text(zone / "temp").strip()
        if not milli.lstrip("-").isdigit() or int(milli) < -200_000:
            continue
        count = sum(1 for known in temperatures if known == name or known.startswith(f"{name}-"))
        temperatures[f"{name}-{count + 1}" if count else name] = int(milli) / 1000.0
    return temperatures


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not there, not readable, or a sensor that is powered down
        return ""
