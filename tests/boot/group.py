"""A control group of the container's own: two containers of one machine must not share one, and none may be left."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_JOIN = 'for group in $GROUPS_TO_JOIN; do echo $$ > "$group/cgroup.procs"; done; exec "$@"'


class ControlGroup:
    """One group in each hierarchy in which systemd keeps services: cgroup2's, and its own of older machines."""

    def __init__(self, name: str) -> None:
        self._folders = [folder / name for folder in _hierarchies()]
        for folder in self._folders:
            folder.mkdir(exist_ok=True)

    def joined(self, command: Sequence[str]) -> list[str]:
        """Return a command that runs in the group."""
        groups = " ".join(map(str, self._folders))
        return ["env", f"GROUPS_TO_JOIN={groups}", "sh", "-c", _JOIN, "sh", *command]

    def processes(self) -> set[int]:
        """Every process that is in it, as numbered outside."""
        listed = set()
        for file in self._files():
            with contextlib.suppress(OSError):
                listed |= {int(line) for line in file.read_text().split()}
        return listed

    def kill(self) -> None:
        """End them all at once, and wait until they have."""
        ends_s = time.monotonic() + 20
        while (left := self.processes()) and time.monotonic() < ends_s:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)
        if left:
            raise RuntimeError(f"processes {left} cannot be ended")

    def remove(self) -> None:
        """Take the empty group away."""
        for folder in self._folders:
            inside = sorted((path for path in folder.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
            for path in (*inside, folder):
                with contextlib.suppress(FileNotFoundError):
                    path.rmdir()

    def _files(self) -> Iterator[Path]:
        for folder in self._folders:
            yield folder / "cgroup.procs"
            yield from folder.rglob("cgroup.procs")


def _hierarchies() -> Iterator[Path]:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, folder, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            yield Path(folder)
