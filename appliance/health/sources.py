"""Which source of readings the settings ask for, and what happens when it falls silent."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace

from appliance.health.jtop import Jtop
from appliance.health.proc import Kernel
from appliance.health.readings import Reading, ReadingError, Source, joined
from appliance.health.tegrastats import Tegrastats
from appliance.values import Event
from engines.board import power_mode

_TEGRASTATS = "tegrastats"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_STEADY_S = 30.0  # a tool that told things for so long has earned a short pause after its next failure
_MODE_NS = 60_000_000_000  # the power mode is asked for so often: a person changes it


def source_of(name: str, report: Callable[[Event], None]) -> "Readings":
    """The source that ``memory.source`` names; ``auto`` takes tegrastats where it is, else the kernel's files."""
    board: Source | None = None
    if name == "jtop":
        board = Jtop()
    elif name == "tegrastats" or (name == "auto" and shutil.which(_TEGRASTATS)):
        board = Tegrastats(_TEGRASTATS)
    return Readings(Kernel(), board, report)


class Readings:
    """The kernel's files, and beside them the board's own tool as long as it tells anything.

    A tool that fails is reported and started again after a pause that grows; readings go on without it.
    """

    def __init__(
        self,
        kernel: Kernel,
        board: Source | None,
        report: Callable[[Event], None],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kernel = kernel
        self._board = board
        self._report = report
        self._clock_s = clock_s
        self._lost = ""
        self._pause_s = _FIRST_PAUSE_S
        self._again_s = self._failed_s = clock_s()
        self._mode = ""
        self._mode_ns = -_MODE_NS

    def read(self) -> Reading:
        """How the machine is; never fails."""
        reading = self._kernel.read()
        if self._board is not None and self._clock_s() >= self._again_s:
            try:
                if said := self._board.read():
                    reading = joined(reading, said)
                    self._found()
            except ReadingError as error:
                self._lose(str(error))
        return reading if reading.power_mode else replace(reading, power_mode=self._power_mode(reading.read_ns))

    def close(self) -> None:
        """Let go of the board's tool."""
        if self._board is not None:
            self._board.close()

    def _lose(self, why: str) -> None:
        now_s = self._clock_s()
        steady = now_s - self._failed_s >= _STEADY_S + self._pause_s
        self._pause_s = _FIRST_PAUSE_S if steady else self._pause_s
        self._failed_s, self._again_s = now_s, now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        if why != self._lost:
            self._report(Event("readings_lost", {"error": why}))
        self._lost = why

    def _found(self) -> None:
        if self._lost:
            self._report(Event("readings_back", {}))
        self._lost = ""

    def _power_mode(self, now_ns: int) -> str | None:
        if now_ns - self._mode_ns >= _MODE_NS:
            self._mode, self._mode_ns = power_mode(), now_ns
        return self._mode or None
