"""Show every device of a site, live: state, rate, latency, memory, temperature, and what needs looking after."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from appliance.errors import BrokerError
from appliance.publish import wire
from appliance.publish.connection import Connection, subscriber
from appliance.renderers.fleet import LEAVES, Device, Fleet, inner, number, numbers, plain
from appliance.settings import Settings

EXAMPLE = """
appliance monitor --set broker.url=mqtt://renderer.local
appliance monitor --site lobby --once --json
"""

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
    dropped: float | None = None
    available_mb: float | None = None
    total_mb: float | None = None
    hottest_c: float | None = None
    level: str = ""
    load: str = ""  # how much of its work it leaves, for memory or heat; "all" leaves none
    alarms: tuple[str, ...] = ()
    event: str = ""


def rows(devices: list[Device]) -> list[Row]:
    """Return one row a stream, by device and stream."""
    return [row for device in devices for row in _device_rows(device)]


def _device_rows(device: Device) -> Iterator[Row]:
    health = device.health
    total, ram = inner(health, "stages", "total"), inner(health, "ram")
    fps = numbers(health, "fps")
    event = f"{time.strftime('%H:%M:%S', time.localtime(device.event_utc_s))} {device.event}" if device.event else ""
    for stream in sorted(device.states.keys() | fps.keys()) or [""]:
        yield Row(
            device=f"{device.site}/{device.name}",
            availability=device.availability,
            stream=plain(stream),
            state=device.states.get(stream, ""),
            fps=fps.get(stream),
            p50_ms=number(total, "p50_ms"),
            p99_ms=number(total, "p99_ms"),
            dropped=number(health, "dropped"),
            available_mb=number(ram, "available_mb"),
            total_mb=number(ram, "total_mb"),
            hottest_c=max(numbers(health, "temperatures_c").values(), default=None),
            level=plain(health.get("level", "")),
            load=plain(inner(health, "load").get("step", "")),
            alarms=tuple(device.alarms()),
            event=event,
        )


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--site", default="+", help="this site alone (default: all on the broker)")
    parser.add_argument("--device", default="+", help="this device alone (default: all)")
    parser.add_argument("--once", action="store_true", help="print what is known after a moment, and end")
    parser.add_argument("--seconds", type=float, metavar="S", help="end after S seconds")
    parser.add_argument("--json", action="store_true", help="a JSON array of rows instead of a table")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show the table until told to stop."""
    fleet = Fleet()
    topics = [f"{wire.ROOT}/{arguments.site}/{arguments.device}/{leaf}" for leaf in LEAVES]
    connection = subscriber(settings.broker, "avatar-monitor", topics, fleet.hear)
    connection.start()
    try:
        _wait_for_broker(connection, settings.broker.url)
        if arguments.once:
            time.sleep(GATHER_S)
            _print(fleet.devices(), arguments.json)
        else:
            _watch(fleet, connection, arguments.seconds, arguments.json)
    except KeyboardInterrupt:
        return 0
    finally:
        connection.close()
    return 0


def _wait_for_broker(connection: Connection, url: str) -> None:
    end = time.monotonic() + CONNECT_LIMIT_S
    while not connection.status().connected:
        status = connection.status()
        if time.monotonic() > end or status.problem:
            raise BrokerError(status.problem or f"broker {url} does not answer; see broker.url")
        time.sleep(0.02)


def _watch(fleet: Fleet, connection: Connection, seconds: float | None, as_json: bool) -> None:
    end = time.monotonic() + seconds if seconds is not None else float("inf")
    if as_json or not sys.stdout.isatty():
        while time.monotonic() < end:
            time.sleep(min(STEP_S, max(0.0, end - time.monotonic())))
            _print(fleet.devices(), as_json)
        return
    with Live(_table([], ""), auto_refresh=False) as live:
        while time.monotonic() < end:
            live.update(_table(fleet.devices(), connection.status().problem), refresh=True)
            time.sleep(min(STEP_S, max(0.0, end - time.monotonic())))


def _print(devices: list[Device], as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(row) for row in rows(devices)]), flush=True)
    elif sys.stdout.isatty():
        Console().print(_table(devices, ""))
    else:
        for row in rows(devices) or [Row("no device on this broker")]:
            print("  ".join(cell for cell in _cells(row) if cell), flush=True)


def _table(devices: list[Device], problem: str) -> Table:
    online, alarms = sum(device.online for device in devices), sum(bool(device.alarms()) for device in devices)
    table = Table(
        box=SIMPLE_HEAD,
        pad_edge=False,
        title=f"{len(devices)} devices, {online} online, {alarms} to look after",
        title_justify="left",
        title_style="bold red" if alarms else "bold",
        caption=problem or None,
        caption_style="red",
    )
    headings = ("device", "", "stream", "state", "rate", "p50/p99", "lost", "memory", "", "pressure", "to look after")
    for heading in (*headings, "last event"):
        table.add_column(heading)
    for row in rows(devices):
        style = "dim" if row.availability == "offline" else "red" if row.alarms else ""
        table.add_row(*map(Text, _cells(row)), style=style)  # as Text: brackets in it are no markup
    return table


def _cells(row: Row) -> tuple[str, ...]:
    latency = "" if row.p50_ms is None or row.p99_ms is None else f"{row.p50_ms:.1f}/{row.p99_ms:.1f} ms"
    memory = "" if row.available_mb is None or row.total_mb is None else f"{row.available_mb:.0f}/{row.total_mb:.0f} MB"
    fps = "" if row.fps is None else f"{row.fps:.1f} fps"
    dropped = "" if row.dropped is None else f"{row.dropped:.0f} dropped"
    hottest = "" if row.hottest_c is None else f"{row.hottest_c:.1f} °C"
    pressure = row.level if row.load in ("", "all") else f"{row.level} ({row.load})"
    who = (row.device, row.availability, row.stream, row.state)
    return (*who, fps, latency, dropped, memory, hottest, pressure, "; ".join(row.alarms), row.event)
