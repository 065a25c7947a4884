"""The room that this process's own control groups leave it: a service may hold less than its machine has.

Both hierarchies are read: version 2, and version 1, which JetPack 5 has. What cannot be read does not limit.
"""

from collections.abc import Iterator
from pathlib import Path

from appliance.health.files import counters, number, text

_MB = 1 << 20
_NO_LIMIT = 1 << 60  # version 1 writes a huge number for none


def room_mb(root: Path = Path("/")) -> int | None:
    """What the tightest of its groups still grants, idle page cache counted as free; ``None`` where none limits."""
    rooms = [*_rooms_of_version_2(root), *_rooms_of_version_1(root)]
    return max(min(rooms) // _MB, 0) if rooms else None


def own_pressure(root: Path = Path("/")) -> str:
    """The PSI file of its own group, which counts the stalls of its own tasks; empty where there is none."""
    files = (text(folder / "memory.pressure") for folder in _groups(root, "", ("", "unified")))
    return next(filter(None, files), "")


def _rooms_of_version_2(root: Path) -> Iterator[int]:
    for group in _groups(root, "", ("",)):
        limits = [limit for name in ("memory.high", "memory.max") if (limit := number(group / name)) is not None]
        used = number(group / "memory.current")
        if limits and used is not None:
            yield min(limits) - used + counters(text(group / "memory.stat")).get("inactive_file", 0)


def _rooms_of_version_1(root: Path) -> Iterator[int]:
    for group in _groups(root, "memory", ("memory",)):
        limit, used = number(group / "memory.limit_in_bytes"), number(group / "memory.usage_in_bytes")
        if limit is not None and used is not None and limit < _NO_LIMIT:
            yield limit - used + counters(text(group / "memory.stat")).get("total_inactive_file", 0)


def _groups(root: Path, controller: str, mounts: tuple[str, ...]) -> Iterator[Path]:
    """The folders of its group in one hierarchy, and of all groups around that."""
    for line in text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controller not in controllers.split(","):
            continue
        inner = Path(path.lstrip("/"))
        for folder in (inner, *inner.parents):
            yield from (place for mount in mounts if (place := root / "sys/fs/cgroup" / mount / folder).is_dir())
