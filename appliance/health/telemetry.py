"""How the device is, once a second, from a thread of its own: it goes on when the loop does not."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from appliance.capture.supervisor import Cameras
from appliance.health.watch import Judged, Watch, own_resident_mb, shed, wire_name
from appliance.listening.ears import Listening
from appliance.publish.meters import FrameMeters
from appliance.values import Event

_LOOK_S = 0.5  # from one look at the machine to the next
_LOOKS = 2  # health is published each so many looks: each second
_CLOSE_S = 5.0
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
        watch: Watch,
        board: Board,
        meters: FrameMeters,
        cameras: Cameras,
        ears: Sequence[Listening],
        first_frame_s: Callable[[], float | None],
        lags_ms: Callable[[], Mapping[str, float]],
        started_ns: int,
    ) -> None:
        self._watch = watch
        self._board = board
        self._meters = meters
        self._cameras = cameras
        self._ears = ears
        self._first_frame_s = first_frame_s
        self._lags_ms = lags_ms
        self._started_ns = started_ns
        self._failure: BaseException | None = None
        self._offset_ns = _wall_offset_ns()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; waits for a look under way, and raises what killed the thread if a bug did."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._look_on()
        except BaseException as bug:  # kept for the daemon, which would not see a thread die
            self._failure = bug
            self._cameras.stop()
            raise

    def _look_on(self) -> None:
        looks = 0
        while not self._stop.wait(_LOOK_S):
            looks += 1
            judged = self._watch.look()
            self._watch_threads()
            if looks % _LOOKS == 0:
                self._watch_clock()
                self._board.health(self._health(judged))

    def _watch_clock(self) -> None:
        offset_ns = _wall_offset_ns()
        step_ns, self._offset_ns = offset_ns - self._offset_ns, offset_ns
        if abs(step_ns) > _CLOCK_STEP_NS:
            self._board.event(Event("clock_step", {"step_s": step_ns / 1e9}))

    def _watch_threads(self) -> None:
        """A listening thread that died of a bug ends the program, its ``close`` then says why; so does memory."""
        if self._watch.hopeless or any(ear.status().failure for ear in self._ears):
            self._cameras.stop()

    def _health(self, judged: Judged) -> dict[str, object]:
        lags_ms, reading, step = self._lags_ms(), judged.reading, judged.shedding.step
        stalled = {"some_avg10": reading.psi_some_avg10, "full_avg10": reading.psi_full_avg10}
        return {
            "utc_ns": time.time_ns(),
            "uptime_s": (time.monotonic_ns() - self._started_ns) / 1e9,
            "first_frame_s": self._first_frame_s(),
            "fps": self._meters.fps(),
            "dropped": self._board.status().dropped,
            "stages": self._meters.stages(),
            "ram": {"available_mb": reading.available_mb, "total_mb": reading.total_mb},
            "rss_mb": own_resident_mb(),
            "lfb_mb": reading.lfb_mb,
            "swap": {"used_mb": reading.swap_used_mb, "total_mb": reading.swap_total_mb},
            "pressure": None if None in stalled.values() else stalled,
            "level": judged.pressure.level.value,
            "load": {"step": wire_name(step), "shed": shed(step), "heat": judged.heat.value},
            "temperatures_c": reading.temperatures_c,
            "throttles_at_c": reading.throttles_at_c,
            "throttled": list(reading.throttled),
            "fan_percent": reading.fan_percent,
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
