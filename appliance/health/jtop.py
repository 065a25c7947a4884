"""Readings from jtop's service (jetson-stats), on boards where it runs. The one module that imports it."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.health.readings import Reading, ReadingError

_INTERVAL_S = 0.5
_OFF_C = -200.0  # a sensor without power says -256
_CURE = "start it with: systemctl start jtop; or set memory.source = auto"

Table = Mapping[str, Any]


class Jtop:
    """jtop's client, which takes in what the service says on a thread of its own."""

    def __init__(self) -> None:
        self._client: Any = None
        self._failures: tuple[type[Exception], ...] = (OSError, EOFError, RuntimeError)

    def read(self) -> Reading:
        """What the service said last."""
        client = self._client or self._connect()
        try:
            running = client.ok(spin=True)
        except self._failures as error:
            raise self._failed(f"{type(error).__name__}: {error}") from None
        if not running:
            raise self._failed("it ended")
        return to_reading(client, time.monotonic_ns())

    def close(self) -> None:
        """Hang up."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connect(self) -> Any:
        try:
            import jtop
        except ImportError:
            raise ReadingError("jetson-stats is not installed; set memory.source = auto") from None
        self._failures = (jtop.JtopException, *self._failures)
        client = jtop.jtop(interval=_INTERVAL_S)
        try:
            client.start()
        except self._failures as error:
            raise ReadingError(f"jtop's service does not answer: {' '.join(str(error).split())}; {_CURE}") from None
        self._client = client
        return client

    def _failed(self, why: str) -> ReadingError:
        self.close()
        return ReadingError(f"jtop stopped telling how the board is: {why}; {_CURE}")


def to_reading(board: Any, read_ns: int) -> Reading:
    """What a client shows, as a reading; what another version of jtop lacks is left out."""
    memory = _table(board.memory)
    ram, swap = _table(memory.get("RAM")), _table(memory.get("SWAP"))
    total_mb, used_mb = _megabytes(ram.get("tot")), _megabytes(ram.get("used"))
    speeds = [speed for fan in _tables(board.fan).values() for speed in fan.get("speed", [])]
    rails = {name: _number(rail.get("power")) for name, rail in _tables(_table(board.power).get("rail")).items()}
    clocks = {name: _number(_table(unit.get("freq")).get("cur")) for name, unit in _units(board)}
    return Reading(
        available_mb=max(total_mb - used_mb, 0),
        total_mb=total_mb,
        swap_used_mb=_megabytes(swap.get("used")),
        swap_total_mb=_megabytes(swap.get("tot")),
        read_ns=read_ns,
        temperatures_c=_temperatures(board.temperature),
        fan_percent=_number(speeds[0]) if speeds else None,
        rails_mw={name: milliwatts for name, milliwatts in rails.items() if milliwatts is not None},
        clocks_mhz={name: khz / 1000.0 for name, khz in clocks.items() if khz is not None},
        power_mode=str(board.nvpmodel) if board.nvpmodel else None,
    )


def _temperatures(sensors: Any) -> dict[str, float]:
    known = {name.lower(): _number(sensor.get("temp")) for name, sensor in _tables(sensors).items()}
    return {name: celsius for name, celsius in known.items() if celsius is not None and celsius > _OFF_C}


def _units(board: Any) -> Iterator[tuple[str, Table]]:
    """Every core and GPU that has a clock."""
    for number, core in enumerate(_table(board.cpu).get("cpu", [])):
        yield f"cpu{number}", _table(core)
    yield from _tables(board.gpu).items()


def _table(value: Any) -> Table:
    """What jtop shows as a table is sometimes a class of its own."""
    return dict(value.items()) if hasattr(value, "items") else {}


def _tables(value: Any) -> dict[str, Table]:
    return {str(name): _table(inner) for name, inner in _table(value).items()}


def _megabytes(kilobytes: Any) -> int:
    return round((_number(kilobytes) or 0.0) / 1024)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
