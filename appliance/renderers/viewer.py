"""The web renderer: what is heard over MQTT, shown in a browser.

One process that knows only the topics and payloads of the contract. Browsers get a page without
any outside dependency and a WebSocket that carries the newest message of every topic: nothing
waits its turn, so a slow browser sees fewer frames and never old ones.
"""

import asyncio
import errno
import hashlib
import io
import ipaddress
import json
import signal
import socket
import time
from collections import deque
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import segno
from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler, Middleware

from appliance.errors import ApplianceError
from appliance.publish.connection import Connection, subscriber
from appliance.publish.wire import ROOT
from appliance.renderers.avatar_file import AvatarFile
from appliance.settings import Broker

CONTENT_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SAFETY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
IN_FLIGHT = 2
"""Batches a browser may hold unread. Two keep a link with some delay busy; more would queue old frames."""
MOST_TOPICS = 1024
"""Topics kept for browsers that come later; a broker full of strangers' topics must not fill our memory."""
EVENTS_KEPT = 12
STATUS_EVERY_S = 0.25
SAME_CLOCK_LIMIT_MS = 10_000.0
"""A frame this young by our own monotonic clock was stamped by it: this machine's clock, not another's."""


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is done; port 0 takes a free one."""
    if not 0 <= port <= 65535:
        raise ApplianceError(f"a port is between 0 and 65535, got {port}; see --host and --port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        server = socket.socket(family, kind, protocol)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ApplianceError(f"port {port} is taken; choose another with --port") from None
        raise ApplianceError(f"cannot serve on {host} port {port}: {error.strerror}; see --host and --port") from None
    return server


def serve(
    server: socket.socket,
    broker: Broker,
    topic: str = f"{ROOT}/#",
    avatar: AvatarFile | None = None,
    identity: str = "",
) -> None:
    """Show what the broker carries until SIGINT or SIGTERM, with ``avatar`` or our own head. Prints its address.

    ``identity`` is shown in letters and as a QR code: who this viewer is to the broker, and its fingerprint.
    """
    asyncio.run(_serve(server, broker, topic, avatar, identity))


async def _serve(server: socket.socket, broker: Broker, topic: str, avatar: AvatarFile | None, identity: str) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    files = page_files()
    hub = Hub(broker.url, version_of(files), avatar, identity)

    def hear(topic: str, payload: bytes) -> None:
        loop.call_soon_threadsafe(hub.receive, topic, payload, time.monotonic_ns(), time.time_ns())

    connection = subscriber(broker, "viewer", [topic], hear)
    host, port = server.getsockname()[:2]
    runner = web.AppRunner(application(hub, host, files, avatar, identity), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, server).start()
    connection.start()
    print(f"viewer: http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
    watching = asyncio.create_task(_watch(connection, hub))
    try:
        await stop.wait()
    finally:
        watching.cancel()
        await loop.run_in_executor(None, connection.close)
        await runner.cleanup()


async def _watch(connection: Connection, hub: "Hub") -> None:
    """Tell the browsers whenever the broker goes or comes back."""
    told = False
    while True:
        status = connection.status()
        if status.connected != told:
            told = status.connected
            hub.say_connected(told)
        await asyncio.sleep(STATUS_EVERY_S)


def page_files() -> dict[str, bytes]:
    """The page's files by name, read once."""
    files = resources.files("appliance.renderers").joinpath("page").iterdir()
    return {file.name: file.read_bytes() for file in files if _suffix(file.name) in CONTENT_TYPES}


def version_of(files: dict[str, bytes]) -> str:
    """A name for the page as it is now: one that waited while we were updated loads itself again."""
    return hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()[:12]


def application(
    hub: "Hub", host: str, files: dict[str, bytes], avatar: AvatarFile | None, identity: str
) -> web.Application:
    """The page's files, the avatar, the QR code and the WebSocket; ``host`` is the address served on."""
    app = web.Application(middlewares=[_own_pages_only(host)])
    for name, body in files.items():
        app.router.add_get("/" if name == "index.html" else f"/{name}", _file(body, CONTENT_TYPES[_suffix(name)]))
    app.router.add_get("/stream", hub.watch)
    if avatar is not None:
        app.router.add_get("/avatar", _from_disk(avatar))
    if identity:
        app.router.add_get("/identity.svg", _file(qr_code(identity), CONTENT_TYPES[".svg"]))
    app.on_shutdown.append(hub.close)
    return app


def qr_code(text: str) -> bytes:
    """A QR code (ISO/IEC 18004) of a text, as an SVG image on white: telephones want the quiet zone."""
    image = io.BytesIO()
    segno.make_qr(text).save(image, kind="svg", scale=4, light="#fff")
    return image.getvalue()


def _file(body: bytes, content_type: str) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=SAFETY)

    return answer


def _from_disk(avatar: AvatarFile) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.FileResponse(avatar.path, headers={**SAFETY, "Content-Type": "model/gltf-binary"})

    return answer


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]


def _own_pages_only(host: str) -> Middleware:
    """Refuse pages of other sites: what a visitor's face does is not theirs to read.

    A WebSocket is open to every site a browser visits unless its Origin is looked at; and a name
    made to point at this machine (DNS rebinding) shows in Host where we serve this machine only.
    """
    local = _is_loopback(host)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="only this viewer's own page may read this\n")
        if local and not _is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            raise web.HTTPForbidden(text="served to this machine only; see --host\n")
        return await handler(request)

    return check


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Hub:
    """The newest message of every topic, handed to every browser as fast as it takes them."""

    def __init__(self, broker_url: str, page_version: str, avatar: AvatarFile | None, identity: str) -> None:
        self._about: dict[str, Any] = {"broker": broker_url, "version": page_version, "identity": identity}
        self._about["avatar"] = avatar and {"name": avatar.name, "version": avatar.version}
        self._kept: dict[str, str] = {}
        self._events: dict[str, deque[Any]] = {}
        self._viewers: set[Viewer] = set()
        self.say_connected(False)

    def say_connected(self, yes: bool) -> None:
        """Tell every browser whether the broker is there."""
        self._tell("viewer", {"topic": "viewer", "payload": {"connected": yes, **self._about}}, keep=True)

    def receive(self, topic: str, payload: bytes, received_ns: int, received_utc_ns: int) -> None:
        """Take one message of the broker; what is not of the contract is passed over."""
        leaf = topic.rpartition("/")[2]
        if leaf == "frame.bin" or "/cmd/" in topic or "/resp/" in topic:
            return
        try:
            value = payload.decode() if leaf == "availability" else _parse(payload)
        except ValueError:
            return
        message: dict[str, Any] = {"topic": topic, "payload": value}
        if leaf == "frame":
            if not isinstance(value, dict):
                return
            message["age_ms"], message["clock"] = age_ms(value, received_ns, received_utc_ns)
        if leaf == "event":
            if not isinstance(value, dict) or (topic not in self._events and len(self._events) >= MOST_TOPICS):
                return
            recent = self._events.setdefault(topic, deque(maxlen=EVENTS_KEPT))
            recent.append({**value, "received_utc_ms": received_utc_ns / 1e6})
            message["payload"] = list(recent)
        self._tell(topic, message, keep=leaf != "frame")

    def _tell(self, topic: str, message: dict[str, Any], keep: bool) -> None:
        text = json.dumps(message, separators=(",", ":"))
        if keep and (topic in self._kept or len(self._kept) < MOST_TOPICS):
            self._kept[topic] = text
        for viewer in self._viewers:
            viewer.offer(topic, text)

    async def watch(self, request: web.Request) -> web.WebSocketResponse:
        """One browser's WebSocket: the kept messages, then the newest ones; it answers each batch with a word."""
        connection = web.WebSocketResponse(timeout=1.0, heartbeat=20, max_msg_size=1024, compress=False)
        await connection.prepare(request)
        viewer = Viewer(connection, self._kept)
        self._viewers.add(viewer)
        sending = asyncio.create_task(viewer.send())
        try:
            async for message in connection:
                if message.type is WSMsgType.TEXT:
                    viewer.has_read()
        finally:
            self._viewers.discard(viewer)
            sending.cancel()
        return connection

    async def close(self, _app: web.Application) -> None:
        """Part from every browser, so that each sees at once that we went."""
        for viewer in list(self._viewers):
            await viewer.connection.close(code=1001)


class Viewer:
    """One browser: at most one waiting message a topic, at most ``IN_FLIGHT`` batches unread."""

    def __init__(self, connection: web.WebSocketResponse, kept: dict[str, str]) -> None:
        self.connection = connection
        self._waiting = dict(kept)
        self._news = asyncio.Event()
        self._news.set()
        self._credit = asyncio.Semaphore(IN_FLIGHT)
        self._sent_ns: deque[int] = deque()
        self._hop_ms = 0.0

    def offer(self, topic: str, text: str) -> None:
        """Put a message in place of the one of its topic that still waits."""
        self._waiting[topic] = text
        self._news.set()

    def has_read(self) -> None:
        """Take the browser's word for the oldest batch; half its round trip is the way there."""
        if self._sent_ns:
            self._hop_ms = (time.monotonic_ns() - self._sent_ns.popleft()) / 2e6
            self._credit.release()

    async def send(self) -> None:
        """Send what waits, whenever the browser is ready for it, until it goes."""
        while not self.connection.closed:
            await self._credit.acquire()
            await self._news.wait()
            self._news.clear()
            waiting, self._waiting = self._waiting, {}
            self._sent_ns.append(time.monotonic_ns())
            try:
                await self.connection.send_str(
                    f'{{"hop_ms":{self._hop_ms:.3f},"messages":[{",".join(waiting.values())}]}}'
                )
            except ConnectionError:  # it left while we spoke
                return


def age_ms(frame: dict[str, Any], received_ns: int, received_utc_ns: int) -> tuple[float | None, str]:
    """How long ago a frame was captured, and the clock that says so.

    ``monotonic`` where the frame was stamped on this machine; ``utc`` across machines, which is as
    good as their time synchronisation; ``none`` where the frame carries no usable stamp.
    """
    captured_ns, captured_utc_ns = frame.get("captured_ns"), frame.get("captured_utc_ns")
    if isinstance(captured_ns, int) and 0 <= received_ns - captured_ns < SAME_CLOCK_LIMIT_MS * 1e6:
        return (received_ns - captured_ns) / 1e6, "monotonic"
    if isinstance(captured_utc_ns, int):
        return (received_utc_ns - captured_utc_ns) / 1e6, "utc"
    return None, "none"


def _parse(payload: bytes) -> Any:
    """JSON as browsers know it: Python would also take NaN and Infinity."""
    return json.loads(payload, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
