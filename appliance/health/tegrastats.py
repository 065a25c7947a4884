"""Readings from ``tegrastats``, the tool of NVIDIA's boards, whose lines differ in every release.

Each field is looked for by its own form, wherever it stands; what is not known is passed over.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import IO

from appliance.health.readings import Reading, ReadingError

_LONGEST_LINE = 8192
_PIPE_BYTES = 65536
_INTERVAL_MS = 500
_SILENT_S = 3.0
_END_S = 1.0

_MB = {"k": 1 / 1024, "M": 1.0, "G": 1024.0}
_SHARE = r"([0-9]{1,9})/([0-9]{1,9})([kMG])B"
_RAM = re.compile(rf"(?<!\S)RAM {_SHARE}")
_SWAP = re.compile(rf"(?<!\S)SWAP {_SHARE}")
_LFB = re.compile(r"(?<!\S)RAM [^()]{1,40}\(lfb [0-9]{1,9}x([0-9]{1,9})([kMG])B\)")  # IRAM's is another memory
_CORES = re.compile(r"(?<!\S)CPU \[([^\]]{0,2000})\]")
_CORE = re.compile(r"([0-9]{1,3})%(?:@([0-9]{1,9}))?")
_TEMPERATURE = re.compile(r"(?<!\S)([A-Za-z]\w{0,30})@(-?[0-9]{1,4}(?:\.[0-9]{1,6})?)C(?:/-?[0-9.]{1,11}C)?(?!\S)")
_RAIL = re.compile(r"(?<!\S)([A-Z][A-Z0-9_]{1,30}) ([0-9]{1,9})(?:mW)?(?:/[0-9]{1,9}(?:mW)?){1,2}(?!\S)")
_CLOCK = re.compile(
    r"(?<!\S)([A-Z][A-Z0-9]{1,15})(?:_FREQ)? (?:[0-9]{1,3}%)?@\[?([0-9]{1,9}(?:,[0-9]{1,9}){0,15})\]?(?!\S)"
)
_BARE_CLOCK = re.compile(r"(?<!\S)([A-Z][A-Z0-9]{1,15})(?:_FREQ)? ([0-9]{1,9})(?!\S)")

_UNCONNECTED = "NC"
_NO_SENSOR = "PMIC"  # says 50 or 100 degrees on every board, whatever it is like
_OFF_C = -200.0  # a sensor without power says -256


def parse_tegrastats(line: str, read_ns: int) -> Reading | None:
    """Read one line; ``None`` where it does not tell the memory."""
    line = " ".join(line[:_LONGEST_LINE].split())
    memory, swap, block = _RAM.search(line), _SWAP.search(line), _LFB.search(line)
    if memory is None:
        return None
    used_mb, total_mb = _megabytes(memory)
    swap_used_mb, swap_total_mb = _megabytes(swap) if swap else (0, 0)
    cores = _cores(line)
    loads = [load for load, _ in cores.values()]
    return Reading(
        available_mb=max(total_mb - used_mb, 0),
        total_mb=total_mb,
        swap_used_mb=swap_used_mb,
        swap_total_mb=swap_total_mb,
        read_ns=read_ns,
        lfb_mb=int(block[1]) * _MB[block[2]] if block else None,
        temperatures_c={name: celsius for name, celsius in _temperatures(line) if celsius > _OFF_C},
        rails_mw={found[1]: float(found[2]) for found in _RAIL.finditer(line) if found[1] != _UNCONNECTED},
        clocks_mhz={name: mhz for name, (_, mhz) in cores.items() if mhz is not None} | dict(_clocks(line)),
        cpu_percent=min(sum(loads) / len(loads), 100.0) if loads else 0.0,
    )


def _megabytes(share: re.Match[str]) -> tuple[int, int]:
    return round(int(share[1]) * _MB[share[3]]), round(int(share[2]) * _MB[share[3]])


def _cores(line: str) -> dict[str, tuple[float, float | None]]:
    """Percent and megahertz of each core that is on."""
    listed = _CORES.search(line)
    cores = enumerate(listed[1].split(",")) if listed else ()
    known = ((number, _CORE.fullmatch(core.strip())) for number, core in cores)
    return {f"cpu{number}": (float(core[1]), float(core[2]) if core[2] else None) for number, core in known if core}


def _temperatures(line: str) -> Iterator[tuple[str, float]]:
    for found in _TEMPERATURE.finditer(line):
        if found[1] != _NO_SENSOR:
            yield found[1].lower(), float(found[2])


def _clocks(line: str) -> Iterator[tuple[str, float]]:
    """Megahertz of each unit; of one with several clocks, the fastest."""
    for found in _BARE_CLOCK.finditer(line):
        yield found[1].lower(), float(found[2])
    for found in _CLOCK.finditer(line):
        yield found[1].lower(), max(float(clock) for clock in found[2].split(","))


class Tegrastats:
    """The tool as a process of ours: it is told to stop when we close, and ends at its next line if we just vanish."""

    def __init__(self, command: str = "tegrastats", silent_s: float = _SILENT_S) -> None:
        self._command = command
        self._silent_s = silent_s  # so long a pause is a failure
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._newest: Reading | None = None
        self._heard_ns = 0

    def read(self) -> Reading | None:
        """The newest line; ``None`` while the tool has just been started. Never waits."""
        self._start()
        while self._hear():
            pass
        if time.monotonic_ns() - self._heard_ns > self._silent_s * 1e9:
            raise self._failed(f"no line that tells the memory for {self._silent_s:.0f} s")
        return self._newest

    def close(self) -> None:
        """End the process."""
        process, self._process, self._newest, self._rest = self._process, None, None, b""
        if process is None:
            return
        process.kill()
        if process.stdout:
            process.stdout.close()
        process.wait(_END_S)

    def _start(self) -> None:
        if self._process is not None:
            return
        path = shutil.which(self._command)
        if path is None:
            raise ReadingError(f"{self._command} is not on this machine; set memory.source = auto")
        command = [path, "--interval", str(_INTERVAL_MS)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
            )
        except OSError as error:
            raise ReadingError(f"{path} does not start: {error}; set memory.source = proc") from None
        self._heard_ns = time.monotonic_ns()
        os.set_blocking(self._pipe().fileno(), False)

    def _hear(self) -> bool:
        """Take in what was said; whether there may be more."""
        try:
            said = os.read(self._pipe().fileno(), _PIPE_BYTES)
        except BlockingIOError:
            return False
        if not said:
            raise self._failed("it ended")
        *lines, rest = (self._rest + said).split(b"\n")
        self._rest = rest[-_LONGEST_LINE:]
        for line in lines:
            if reading := parse_tegrastats(line.decode(errors="replace"), time.monotonic_ns()):
                self._newest, self._heard_ns = reading, reading.read_ns
        return True

    def _failed(self, why: str) -> ReadingError:
        self.close()
        return ReadingError(f"{self._command} stopped telling how the board is: {why}")

    def _pipe(self) -> IO[bytes]:
        if self._process is None or self._process.stdout is None:
            raise ReadingError(f"{self._command} is not running")
        return self._process.stdout
