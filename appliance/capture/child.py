"""The capture process, seen from the appliance: started, listened to, stopped."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from appliance import settings

_PIPE_BYTES = 65536
_LINE_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class News:
    """What the capture process said since it was last asked."""

    pictures: int = 0
    messages: tuple[Mapping[str, object], ...] = ()
    gone: bool = False  # it will say no more


class Child:
    """One run of ``appliance.capture.process``. Its standard input is its lifeline: it ends when that closes."""

    def __init__(self, camera: settings.Camera, ring: Path) -> None:
        command = [sys.executable, "-m", "appliance.capture.process"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._said = _pipe(self._process.stdout)
        self._rest = b""
        os.set_blocking(self._said.fileno(), False)
        # Not as arguments: anyone may read those, and a source may hold a password.
        order = {"ring": str(ring), "camera": dataclasses.asdict(camera)}
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).write(json.dumps(order).encode() + b"\n")

    def pace(self, every: int) -> None:
        """Ask for each how-many-th picture alone, 1 to 255: the others need not be decoded."""
        with contextlib.suppress(OSError, ValueError):  # it is ending, or was ended
            _pipe(self._process.stdin).write(bytes([every]))

    @property
    def descriptor(self) -> int:
        """What to wait on for news."""
        return self._said.fileno()

    def news(self) -> News:
        """Return what was said; never waits."""
        said, gone = b"", False
        with contextlib.suppress(BlockingIOError):
            said = os.read(self.descriptor, _PIPE_BYTES)
            gone = not said
        *lines, rest = (self._rest + said).split(b"\n")
        self._rest = rest[:_LINE_LIMIT]
        messages = tuple(json.loads(line) for line in lines if line)
        return News(len(lines) - len(messages), messages, gone)

    def outcome(self) -> str | None:
        """Return how the process ended, in words; ``None`` while it still runs."""
        status = self._process.poll()
        if status is None:
            return None
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return f"the capture process ended with {how}"

    def kill(self) -> None:
        """End it at once. It may live on for as long as a driver holds it: see ``outcome``."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            _pipe(pipe).close()

    def wait(self, limit_s: float) -> None:
        """Wait for the end of a process that was killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit_s)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise TypeError("the process was started without pipes")
    return pipe
