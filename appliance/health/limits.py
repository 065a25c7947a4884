"""The room that this process's own control groups leave it: a service may hold less than its machine has.

Both hierarchies are read: version 2, and version 1, which JetPack 5 has. What cannot be read does not limit.
"""

from collections.abc import Iterator
from pathlib import Path

from appliance.health.files import counters, number, text

_MB = 1 << 20
_NO_LIMIT = 1 << 60  # version 1 writes a huge number for none
_LIMITS = ("memory.high", "memory.max", "memory.limit_in_bytes")
_USES = ("memory.current", "memory.usage_in_bytes")


def room_mb(root: Path = Path("/")) -> int | None:
    """What the tightest of its groups still grants; ``None`` where none limits."""
    groups = [*_groups(root, "", ("",)), *_groups(root, "memory", ("memory",))]
    rooms = [room for group in groups if (room := granted_bytes(group)) is not None]
    return max(min(rooms) // _MB, 0) if rooms else None


def granted_bytes(group: Path) -> int | None:
    """What one group still grants. Page cache that no process has mapped counts as free, as the kernel counts it."""
    limits = [limit for name in _LIMITS if (limit := number(group / name)) is not None and limit < _NO_LIMIT]
    used = next((used for name in _USES if (used := number(group / name)) is not None), None)
    if not limits or used is None:
        return None
    held = counters(text(group / "memory.stat"))
    before = "total_" if "total_cache" in held else ""  # version 1 has also those without the groups inside
    cache = held.get(f"{before}active_file", 0) + held.get(f"{before}inactive_file", 0)
    mapped = held.get("total_mapped_file", held.get("file_mapped", 0))
    return min(limits) - used + max(cache - mapped, 0)


def own_pressure(root: Path = Path("/")) -> str:
    """The PSI file of its own group, which counts the stalls of its own tasks; empty where there is none."""
    files = (text(folder / "memory.pressure") for folder in _groups(root, "", ("", "unified")))
    return next(filter(None, files), "")


def _groups(root: Path, controller: str, mounts: tuple[str, ...]) -> Iterator[Path]:
    """The folders of its group in one hierarchy, and of all groups around that."""
    for line in text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controller not in controllers.split(","):
            continue
        inner = Path(path.lstrip("/"))
        for folder in (inner, *inner.parents):
            yield from (place for mount in mounts if (place := root / "sys/fs/cgroup" / mount / folder).is_dir())
