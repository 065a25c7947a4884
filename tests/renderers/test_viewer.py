"""The viewer's server against a real broker, seen by a real client."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import aiohttp
import pytest
from yarl import URL

from appliance.errors import ApplianceError
from appliance.renderers.viewer import IN_FLIGHT, age_ms, listen

from .conftest import STREAM, WAIT_S, Mosquitto, Publisher, Viewer, frame

T = TypeVar("T")
Socket: TypeAlias = "aiohttp.ClientWebSocketResponse[bool]"


def visit(work: Callable[[aiohttp.ClientSession], Awaitable[T]]) -> T:
    """Run one client's visit."""

    async def go() -> T:
        async with aiohttp.ClientSession() as session:
            return await asyncio.wait_for(work(session), 2 * WAIT_S)

    return asyncio.run(go())


async def batch(stream: Socket) -> list[dict[str, Any]]:
    """The next batch, read and answered as the page does."""
    messages: list[dict[str, Any]] = json.loads(await stream.receive_str(timeout=WAIT_S))["messages"]
    await stream.send_str("read")
    return messages


async def until(stream: Socket, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first message that fits."""
    while True:
        for message in await batch(stream):
            if fits(message):
                return message


def about(topic: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: bool(message["topic"] == topic)


def broker_there(there: bool) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message["topic"] == "viewer" and message["payload"]["connected"] is there


async def send(publisher: Publisher, topic: str, payload: Any, retain: bool = False) -> None:
    await asyncio.to_thread(publisher.send, topic, payload, retain)


def test_the_page_and_everything_it_names_is_served_from_here(viewer: Viewer) -> None:
    async def work(session: aiohttp.ClientSession) -> dict[str, str]:
        wanted, types = {""}, {}
        while wanted:
            name = wanted.pop()
            async with session.get(viewer.url + name) as answer:
                assert answer.status == 200, name
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                types[name], text = answer.content_type, await answer.text()
            named = re.findall(r"""(?:from|href=|src=|Worker\() ?["'](?:\./)?([^"']+)["']""", text)
            assert not [name for name in named if "//" in name], "the page must work without any other server"
            wanted |= set(named) - set(types)
        return types

    types = visit(work)

    assert types[""] == "text/html"
    assert types["style.css"] == "text/css"
    assert types["icon.svg"] == "image/svg+xml"
    assert {types[name] for name in types if name.endswith(".js")} == {"text/javascript"}
    assert {"main.js", "painter.js", "rig.js"} <= set(types)


@pytest.mark.parametrize(
    "path",
    ["/../viewer.py", "/%2e%2e/viewer.py", "/..%2fviewer.py", "/page/../../viewer.py", "//etc/passwd", "/%00", "/none"],
)
def test_nothing_but_the_page_is_served(viewer: Viewer, path: str) -> None:
    async def work(session: aiohttp.ClientSession) -> int:
        async with session.get(URL(viewer.url.rstrip("/") + path, encoded=True)) as answer:
            return answer.status

    assert visit(work) == 404


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://elsewhere.example"}, {"Host": "elsewhere.example"}, {"Origin": "null"}],
    ids=["another site", "another name for this machine", "a sandboxed page"],
)
def test_a_page_of_another_site_may_not_watch(viewer: Viewer, headers: dict[str, str]) -> None:
    async def work(session: aiohttp.ClientSession) -> None:
        await session.ws_connect(viewer.url + "stream", headers=headers)

    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        visit(work)


def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "appliance", "viewer", "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)

    assert ended.returncode == 1
    assert ended.stderr.strip().endswith(f"port {port} is taken; choose another with --port")
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("no.such.host.invalid", 0), ("127.0.0.1", 70000)])
def test_an_address_that_cannot_be_served_on_names_the_cure(host: str, port: int) -> None:
    with pytest.raises(ApplianceError, match="see --host and --port"):
        listen(host, port)


def test_a_frame_reaches_the_browser_with_its_age(viewer: Viewer, publisher: Publisher) -> None:
    async def work(session: aiohttp.ClientSession) -> dict[str, Any]:
        async with session.ws_connect(viewer.url + "stream") as stream:
            await until(stream, broker_there(True))
            await send(publisher, f"{STREAM}/frame", frame(7, captured_ns=time.monotonic_ns() - 50_000_000))
            return await until(stream, about(f"{STREAM}/frame"))

    message = visit(work)

    assert message["payload"]["seq"] == 7
    assert message["clock"] == "monotonic"
    assert 50 <= message["age_ms"] < 1000 * WAIT_S


def test_a_browser_that_does_not_read_gets_the_newest_frame_and_no_old_ones(
    viewer: Viewer, publisher: Publisher
) -> None:
    async def work(session: aiohttp.ClientSession) -> list[list[int]]:
        async with session.ws_connect(viewer.url + "stream") as lazy, session.ws_connect(viewer.url + "stream") as keen:
            await until(keen, broker_there(True))
            for seq in range(1, 201):
                await send(publisher, f"{STREAM}/frame", frame(seq))
            await until(
                keen, lambda message: bool(message["topic"].endswith("/frame") and message["payload"]["seq"] == 200)
            )
            return [seqs(await batch(lazy)) for _ in range(IN_FLIGHT + 1)]

    *unread, last = visit(work)

    assert last == [200]
    assert all(len(batch) <= 1 for batch in unread)


def seqs(messages: list[dict[str, Any]]) -> list[int]:
    return [message["payload"]["seq"] for message in messages if message["topic"].endswith("/frame")]


def test_a_browser_that_comes_late_knows_the_state_and_the_last_events(viewer: Viewer, publisher: Publisher) -> None:
    root = "avatar/v1/lobby/orin-08"

    async def work(session: aiohttp.ClientSession) -> list[dict[str, Any]]:
        await send(publisher, f"{root}/availability", b"online", retain=True)
        await send(publisher, f"{root}/cam0/0/state", {"state": "lost", "session": "a"}, retain=True)
        async with session.ws_connect(viewer.url + "stream") as early:
            for name in ("face_found", "face_lost"):
                await send(publisher, f"{root}/event", {"event": name})
            await until(early, lambda message: message["topic"] == f"{root}/event" and len(message["payload"]) == 2)
        async with session.ws_connect(viewer.url + "stream") as late:
            return await batch(late)

    known = {message["topic"]: message["payload"] for message in visit(work)}

    assert known[f"{root}/availability"] == "online"
    assert known[f"{root}/cam0/0/state"]["state"] == "lost"
    assert [event["event"] for event in known[f"{root}/event"]] == ["face_found", "face_lost"]


@pytest.mark.parametrize("payload", [b"\xff\xfe", b"{", b"[1]", b'{"seq": NaN}', b"", b"3"])
def test_what_is_no_frame_is_passed_over(viewer: Viewer, publisher: Publisher, payload: bytes) -> None:
    async def work(session: aiohttp.ClientSession) -> dict[str, Any]:
        async with session.ws_connect(viewer.url + "stream") as stream:
            await send(publisher, f"{STREAM}/frame", payload)
            await send(publisher, f"{STREAM}/frame", frame(9))
            return await until(stream, about(f"{STREAM}/frame"))

    assert visit(work)["payload"]["seq"] == 9


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ({"captured_ns": 990_000_000, "captured_utc_ns": 0}, (10.0, "monotonic")),
        ({"captured_ns": 77, "captured_utc_ns": 5_960_000_000}, (40.0, "utc")),
        ({"captured_ns": 1_000_000_001, "captured_utc_ns": 5_960_000_000}, (40.0, "utc")),
        ({"captured_ns": "soon"}, (None, "none")),
        ({}, (None, "none")),
    ],
    ids=["this machine", "another, long up", "another, just started", "nonsense", "no stamp"],
)
def test_age_uses_the_clock_that_both_ends_share(stamps: dict[str, Any], expected: tuple[float | None, str]) -> None:
    late_s = 20_000_000_000 if stamps.get("captured_ns") == 77 else 0

    assert age_ms(stamps, 1_000_000_000 + late_s, 6_000_000_000) == expected


def test_frames_flow_again_after_the_broker_was_away(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    viewer = Viewer(broker.url)

    async def work(session: aiohttp.ClientSession) -> int:
        async with session.ws_connect(viewer.url + "stream") as stream:
            await until(stream, broker_there(True))
            broker.stop()
            await until(stream, broker_there(False))
            broker.start()
            await until(stream, broker_there(True))
            publisher = Publisher(broker.port)
            await send(publisher, f"{STREAM}/frame", frame(11))
            message = await until(stream, about(f"{STREAM}/frame"))
            publisher.close()
            return int(message["payload"]["seq"])

    try:
        assert visit(work) == 11
    finally:
        viewer.end()
        broker.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_while_a_browser_watches(mosquitto: Mosquitto, number: signal.Signals) -> None:
    viewer = Viewer(mosquitto.url)

    async def work(session: aiohttp.ClientSession) -> tuple[int, aiohttp.WSMsgType]:
        async with session.ws_connect(viewer.url + "stream") as stream:
            await until(stream, broker_there(True))
            status = await asyncio.to_thread(viewer.end, number)
            while (last := await stream.receive(timeout=WAIT_S)).type == aiohttp.WSMsgType.TEXT:
                pass  # what was on its way
            return status, last.type

    assert visit(work) == (0, aiohttp.WSMsgType.CLOSE)
