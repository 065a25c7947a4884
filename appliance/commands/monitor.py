"""Show every device on a broker, live: state, fps, latency, memory, temperature."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from appliance.errors import BrokerError
from appliance.publish import wire
from appliance.publish.connection import Connection, subscriber
from appliance.settings import Settings

EXAMPLE = "appliance monitor --set broker.url=mqtt://renderer.local --once"

TOPICS = ("availability", "info", "health", "event", "+/+/state")
STEP_S = 1.0
GATHER_S = 1.5  # health comes each second; what is retained comes at once
CONNECT_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """One stream of one device, or the device alone while it has none."""

    device: str  # site/name
    availability: str = "?"
    stream: str = ""
    state: str = ""
    fps: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    dropped: int | None = None
    available_mb: float | None = None
    total_mb: float | None = None
    hottest_c: float | None = None
    level: str = ""
    event: str = ""


@dataclass(slots=True)
class _Device:
    availability: str = "?"
    health: Mapping[str, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    event: str = ""


class Fleet:
    """What every device on the broker last said."""

    def __init__(self) -> None:
        self._devices: dict[str, _Device] = {}

    def hear(self, topic: str, payload: bytes) -> None:
        """Take note of one message; what is not ours or cannot be read is passed over."""
        address = wire.parse_topic(topic)
        if address is None:
            return
        device = self._devices.setdefault(f"{address.site}/{address.device}", _Device())
        if address.leaf == "availability":
            device.availability = payload.decode(errors="replace")[:16]
            return
        try:
            said = wire.decode_json(payload)
        except wire.PayloadError:
            return
        if address.leaf == "health":
            device.health = said
        elif address.leaf == "event":
            device.event = f"{time.strftime('%H:%M:%S')} {said.get('event', '?')}"
        elif address.leaf == "state":
            device.states[f"{address.stream}/{address.slot}"] = str(said.get("state", "?"))

    def rows(self) -> list[Row]:
        """Return one row a stream, by device and stream."""
        return [row for name in sorted(self._devices) for row in _device_rows(name, self._devices[name])]


def _device_rows(name: str, device: _Device) -> Iterator[Row]:
    health = device.health
    total, ram = _inner(_inner(health, "stages"), "total"), _inner(health, "ram")
    temperatures = [value for value in _inner(health, "temperatures_c").values() if _number(value) is not None]
    fps = _inner(health, "fps")
    for stream in sorted(device.states.keys() | fps.keys()) or [""]:
        yield Row(
            device=name,
            availability=device.availability,
            stream=stream,
            state=device.states.get(stream, ""),
            fps=_number(fps.get(stream)),
            p50_ms=_number(total.get("p50_ms")),
            p99_ms=_number(total.get("p99_ms")),
            dropped=_number(health.get("dropped")),
            available_mb=_number(ram.get("available_mb")),
            total_mb=_number(ram.get("total_mb")),
            hottest_c=max(temperatures, default=None),
            level=str(health.get("level", "")),
            event=device.event,
        )


def _inner(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = table.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _number(value: object) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--once", action="store_true", help="print what is known after a moment, and end")
    parser.add_argument("--seconds", type=float, metavar="S", help="end after S seconds")
    parser.add_argument("--json", action="store_true", help="a JSON array of rows instead of a table")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show the table until told to stop."""
    fleet = Fleet()
    topics = [f"{wire.ROOT}/+/+/{topic}" for topic in TOPICS]
    connection = subscriber(settings.broker, "avatar-monitor", topics, fleet.hear)
    connection.start()
    try:
        _wait_for_broker(connection, settings.broker.url)
        if arguments.once:
            time.sleep(GATHER_S)
            _print(fleet.rows(), arguments.json)
        else:
            _watch(fleet, connection, arguments.seconds, arguments.json)
    except KeyboardInterrupt:
        return 0
    finally:
        connection.close()
    return 0


def _wait_for_broker(connection: Connection, url: str) -> None:
    deadline = time.monotonic() + CONNECT_LIMIT_S
    while not connection.status().connected:
        problem = connection.status().problem
        if problem or time.monotonic() > deadline:
            raise BrokerError(problem or f"broker {url} does not answer; see broker.url")
        time.sleep(0.02)


def _watch(fleet: Fleet, connection: Connection, seconds: float | None, as_json: bool) -> None:
    end = time.monotonic() + seconds if seconds is not None else float("inf")
    if as_json or not sys.stdout.isatty():
        while time.monotonic() < end:
            time.sleep(min(STEP_S, max(0.0, end - time.monotonic())))
            _print(fleet.rows(), as_json)
        return
    with Live(_table([], ""), auto_refresh=False) as live:
        while time.monotonic() < end:
            live.update(_table(fleet.rows(), connection.status().problem), refresh=True)
            time.sleep(min(STEP_S, max(0.0, end - time.monotonic())))


def _print(rows: list[Row], as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(row) for row in rows]), flush=True)
    elif sys.stdout.isatty():
        Console().print(_table(rows, ""))
    else:
        for row in rows or [Row("no device on this broker")]:
            print("  ".join(cell for cell in _cells(row) if cell), flush=True)


def _table(rows: list[Row], problem: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=problem or None, caption_style="red")
    for heading in ("device", "", "stream", "state", "rate", "p50/p99", "lost", "memory", "", "pressure", "last event"):
        table.add_column(heading)
    for row in rows:
        table.add_row(*_cells(row), style="dim" if row.availability == "offline" else "")
    return table


def _cells(row: Row) -> tuple[str, ...]:
    latency = "" if row.p50_ms is None or row.p99_ms is None else f"{row.p50_ms:.1f}/{row.p99_ms:.1f} ms"
    memory = "" if row.available_mb is None or row.total_mb is None else f"{row.available_mb:.0f}/{row.total_mb:.0f} MB"
    fps = "" if row.fps is None else f"{row.fps:.1f} fps"
    dropped = "" if row.dropped is None else f"{row.dropped} dropped"
    hottest = "" if row.hottest_c is None else f"{row.hottest_c:.1f} °C"
    who = (row.device, row.availability, row.stream, row.state)
    return (*who, fps, latency, dropped, memory, hottest, row.level, row.event)
