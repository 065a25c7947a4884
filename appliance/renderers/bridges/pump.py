"""What every bridge does: follow one avatar, and hand its frames to what says them again."""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from appliance.errors import ApplianceError
from appliance.publish.wire import WireFrame
from appliance.renderers.bridges.pose import FOUND, mirrored
from appliance.renderers.client import ANY, Client
from appliance.settings import Broker

log = logging.getLogger(__name__)

SILENCE_S = 1.0
ANOTHER_AFTER_S = 2.0
"""An avatar that is silent for so long gives way to another that is not."""
RELAXED_NS = 600_000_000
"""A lost face takes half a second to come to rest; then, where it is asked for, sending stops."""


class Speaker(Protocol):
    """A protocol over UDP."""

    def datagrams(self, frame: WireFrame) -> list[bytes]:
        """Return one frame's packets."""
        ...

    def silence(self) -> list[bytes]:
        """Return what to send each second in which nothing is shown."""
        ...


class Output(Protocol):
    """Where frames go."""

    async def show(self, frame: WireFrame) -> None:
        """Say one frame."""
        ...

    async def silence(self) -> None:
        """Say, once a second, that nothing is shown."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """What is bridged and how."""

    avatar: str = ANY  # SITE/DEVICE/STREAM/SLOT, + for any: then the first that is heard
    mirror: bool = False
    stop_when_lost: bool = False
    fps: float = 0.0  # 0: each frame as it comes; else so many a second, mixed of those that came


class Datagrams:
    """Sends what a speaker says to one address."""

    def __init__(self, speaker: Speaker, host: str, port: int) -> None:
        """Raise ``ApplianceError`` where there is no such address."""
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise ApplianceError(f"cannot send to {host} port {port}: {error.strerror}; see --to") from None
        self._to: tuple[Any, ...] = address
        self._speaker = speaker
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        self._failing = False

    async def show(self, frame: WireFrame) -> None:
        """Send one frame."""
        self._send(self._speaker.datagrams(frame))

    async def silence(self) -> None:
        """Send what says that nothing is shown."""
        self._send(self._speaker.silence())

    def turn_to(self, host: str) -> None:
        """Send to another host from now on, at the same port."""
        self._to = (host, *self._to[1:])

    def _send(self, datagrams: list[bytes]) -> None:
        try:
            for datagram in datagrams:
                self._socket.sendto(datagram, self._to)
            self._failing = False
        except OSError as error:  # the network is away, or its queue is full: the next frame is newer
            if not self._failing:
                log.warning("cannot send to %s port %s: %s", *self._to[:2], error.strerror)
            self._failing = True


class Follower:
    """The newest frame of the avatar that is followed. Belongs to the event loop."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._name = ""
        self._frame: WireFrame | None = None
        self._heard_s = 0.0
        self._found_ns = 0
        self._news = asyncio.Event()

    def hear(self, name: str, frame: WireFrame) -> None:
        """Take a frame of any avatar."""
        now_s = time.monotonic()
        if name != self._name:
            if self._name and now_s - self._heard_s < ANOTHER_AFTER_S:
                return
            print(f"bridging {name}", flush=True)
            self._name = name
        self._heard_s, self._frame = now_s, frame
        self._news.set()

    async def frames(self, client: Client) -> AsyncIterator[WireFrame | None]:
        """Yield each frame to show, and ``None`` once a second while there is none."""
        shown_s = time.monotonic()
        while True:
            frame = await (self._sample(client) if self._choice.fps else self._next())
            frame = self._to_show(frame) if frame is not None else None
            if frame is None and time.monotonic() - shown_s < SILENCE_S:
                continue
            shown_s = time.monotonic()
            yield frame

    async def _next(self) -> WireFrame | None:
        try:
            await asyncio.wait_for(self._news.wait(), SILENCE_S)
        except asyncio.TimeoutError:
            return None
        self._news.clear()
        return self._frame

    async def _sample(self, client: Client) -> WireFrame | None:
        await asyncio.sleep(1 / self._choice.fps)
        avatar = client.avatars.get(self._name)
        shown = avatar.now() if avatar is not None else None
        return shown.frame if shown is not None and not shown.stale else None

    def _to_show(self, frame: WireFrame) -> WireFrame | None:
        if frame.state in FOUND:
            self._found_ns = frame.captured_ns
        elif self._choice.stop_when_lost and frame.captured_ns - self._found_ns > RELAXED_NS:
            return None
        return mirrored(frame) if self._choice.mirror else frame


async def pump(broker: Broker, choice: Choice, output: Output) -> None:
    """Say what the broker carries until SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    follower = Follower(choice)

    def hear(name: str, frame: WireFrame) -> None:
        loop.call_soon_threadsafe(follower.hear, name, frame)

    client = Client(broker, choice.avatar, heard=hear)
    client.start()
    try:
        async for frame in follower.frames(client):
            await (output.show(frame) if frame is not None else output.silence())
    except asyncio.CancelledError:
        log.info("told to end")
    finally:
        await loop.run_in_executor(None, client.close)
