"""What a process and its descendants use, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """One process at one moment."""

    pid: int
    parent: int
    name: str
    rss_mb: float  # resident, shared pages counted in full
    pss_mb: float | None  # resident, shared pages split among their users; None where not allowed to look
    cpu_s: float  # user and system time of all its threads since it began


def tree(pid: int, proc: Path = _PROC) -> list[ProcessUse]:
    """Return the process and all its descendants, parents first; empty if there is none such.

    Processes that end meanwhile are left out. The sum of ``pss_mb`` is what the tree holds.
    """
    parents = {int(path.name): _parent(path) for path in proc.iterdir() if path.name.isdigit()}
    family = [pid] if pid in parents else []
    for member in family:  # grows while it is walked: children, then theirs
        family.extend(child for child, parent in parents.items() if parent == member)
    return [use for member in family if (use := _use(proc / str(member))) is not None]


def _parent(directory: Path) -> int | None:
    """Cheap: every process of the machine is asked; ``None`` for one that has just ended."""
    try:
        return int((directory / "stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _use(directory: Path) -> ProcessUse | None:
    try:
        stat = (directory / "stat").read_text(encoding="utf-8", errors="replace")
        status = (directory / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    name = stat[stat.index("(") + 1 : stat.rindex(")")]  # may hold spaces and brackets
    words = stat[stat.rindex(")") + 1 :].split()  # from the third field of proc(5) on
    return ProcessUse(
        pid=int(directory.name),
        parent=int(words[1]),
        name=name,
        rss_mb=_kib(status, "VmRSS:") / 1024.0,
        pss_mb=_pss_mb(directory),
        cpu_s=(int(words[11]) + int(words[12])) / _TICKS_A_SECOND,
    )


def _pss_mb(directory: Path) -> float | None:
    try:
        return _kib((directory / "smaps_rollup").read_text(encoding="utf-8"), "Pss:") / 1024.0
    except OSError:  # another user's process, or a kernel without it
        return None


def _kib(text: str, key: str) -> int:
    for line in text.splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0
