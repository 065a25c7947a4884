"""How the device is, once a second, from a thread of its own: it goes on when the loop does not."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from appliance import settings
from appliance.capture.supervisor import Cameras
from appliance.errors import ApplianceError
from appliance.health.pressure import Pressure, next_pressure
from appliance.health.proc import CpuTimes, read_proc
from appliance.health.processes import tree
from appliance.health.readings import Reading
from appliance.listening.ears import Listening
from appliance.publish.meters import FrameMeters
from appliance.values import Event

log = logging.getLogger(__name__)

_PERIOD_S = 1.0
_CLOCK_STEP_NS = 500_000_000  # the wall clock moved by more than this against the steady one


class Board(Protocol):
    """Where health and events are pinned up: the publisher."""

    def health(self, health: Mapping[str, object]) -> bool:
        """Publish how the device is."""
        ...

    def event(self, event: Event) -> None:
        """Publish something that happened."""
        ...

    def status(self) -> Any:
        """How publishing is; ``dropped`` counts frames."""
        ...


class Telemetry:
    """Publishes health each second, and what it notices as events."""

    def __init__(
        self,
        memory: settings.Memory,
        board: Board,
        meters: FrameMeters,
        cameras: Cameras,
        ears: Sequence[Listening],
        first_frame_s: Callable[[], float | None],
        lags_ms: Callable[[], Mapping[str, float]],
        started_ns: int,
    ) -> None:
        if memory.source not in ("auto", "proc"):
            raise ApplianceError(f"memory.source = {memory.source} is not in this version; use auto or proc")
        self._memory = memory
        self._board = board
        self._meters = meters
        self._cameras = cameras
        self._ears = ears
        self._first_frame_s = first_frame_s
        self._lags_ms = lags_ms
        self._started_ns = started_ns
        self._times: CpuTimes | None = None
        self._pressure = Pressure.NORMAL
        self._offset_ns = _wall_offset_ns()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; waits for a step under way."""
        self._stop.set()
        self._thread.join(2 * _PERIOD_S)

    def _run(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            self._watch_clock()
            self._watch_threads()
            reading, self._times = read_proc(self._times)
            self._watch_pressure(reading)
            self._board.health(self._health(reading))

    def _watch_clock(self) -> None:
        offset_ns = _wall_offset_ns()
        step_ns, self._offset_ns = offset_ns - self._offset_ns, offset_ns
        if abs(step_ns) > _CLOCK_STEP_NS:
            log.warning("the wall clock stepped by %.1f s", step_ns / 1e9)
            self._board.event(Event("clock_step", {"step_s": step_ns / 1e9}))

    def _watch_threads(self) -> None:
        """A listening thread that died of a bug ends the program; its ``close`` then says why."""
        if any(ear.status().failure for ear in self._ears):
            self._cameras.stop()

    def _watch_pressure(self, reading: Reading) -> None:
        pressure = next_pressure(reading, self._memory.high_mb, self._memory.critical_mb, self._pressure)
        if pressure is not self._pressure:
            log.warning("memory pressure is %s: %d MB available", pressure.value, reading.available_mb)
            details = {"level": pressure.value, "available_mb": reading.available_mb}
            self._board.event(Event("pressure_changed", details))
        self._pressure = pressure

    def _health(self, reading: Reading) -> dict[str, object]:
        lags_ms = self._lags_ms()
        stalled = {"some_avg10": reading.psi_some_avg10, "full_avg10": reading.psi_full_avg10}
        return {
            "utc_ns": time.time_ns(),
            "uptime_s": (time.monotonic_ns() - self._started_ns) / 1e9,
            "first_frame_s": self._first_frame_s(),
            "fps": self._meters.fps(),
            "dropped": self._board.status().dropped,
            "stages": self._meters.stages(),
            "ram": {"available_mb": reading.available_mb, "total_mb": reading.total_mb},
            "rss_mb": round(sum(process.rss_mb for process in tree(os.getpid())), 1),
            "lfb_mb": reading.lfb_mb,
            "swap": {"used_mb": reading.swap_used_mb, "total_mb": reading.swap_total_mb},
            "pressure": None if None in stalled.values() else stalled,
            "level": self._pressure.value,
            "temperatures_c": reading.temperatures_c,
            "rails_mw": reading.rails_mw,
            "clocks_mhz": reading.clocks_mhz,
            "power_mode": reading.power_mode,
            "cameras": {name: _camera(status) for name, status in self._cameras.status().items()},
            "microphones": {ear.name: _microphone(ear, lags_ms.get(ear.name)) for ear in self._ears},
        }


def _camera(status: Any) -> dict[str, object]:
    return {
        "captured": status.pictures,
        "dropped": status.dropped,
        "restarts": status.restarts,
        "error": status.error or None,
        "poor": status.poor or None,
    }


def _microphone(ear: Listening, lag_ms: float | None) -> dict[str, object]:
    status = ear.status()
    return {
        "blocks": status.blocks,
        "overruns": status.overruns,
        "restarts": status.restarts,
        "error": status.last_error or None,
        "poor": status.poor or None,
        "lag_ms": lag_ms,
    }


def _wall_offset_ns() -> int:
    return time.time_ns() - time.monotonic_ns()
