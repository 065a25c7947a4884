"""The client library for renderers written in Python: subscribe, and draw typed frames at any display's rate.

    from appliance.renderers.client import Client

    with Client("mqtt://127.0.0.1:1883") as client:
        avatar = client.first(timeout_s=10)
        while drawing:
            shown = avatar.now()
            mesh.morph(dict(zip(BLENDSHAPES, shown.frame.blendshapes)))

Frames are taken by a thread of the client's own; ``Avatar`` may be asked from any thread.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from appliance.errors import BrokerError
from appliance.publish import packed, wire
from appliance.publish.connection import Connection, subscriber
from appliance.renderers.playback import Playback, Shown
from appliance.settings import Broker

log = logging.getLogger(__name__)

ANY = "+/+/+/+"
MOST_AVATARS = 256
"""A broker full of strangers' topics must not fill our memory."""

FrameHeard = Callable[[str, wire.WireFrame], None]


class Avatar:
    """One avatar as its device last described it."""

    def __init__(self, name: str, delay_ns: int | None = None) -> None:
        """``name`` is SITE/DEVICE/STREAM/SLOT; ``delay_ns`` as in ``Playback``."""
        self.name = name
        self.online: bool | None = None  # whether its device is connected; None before it said so
        self._playback = Playback(delay_ns)
        self._turn = threading.Lock()

    def now(self, now_ns: int | None = None) -> Shown | None:
        """Return what to draw at a moment of ``time.monotonic_ns()``; ``None`` before the first frame."""
        with self._turn:
            return self._playback.at(time.monotonic_ns() if now_ns is None else now_ns)

    @property
    def newest(self) -> wire.WireFrame | None:
        """The last frame as it came; ``None`` before the first."""
        return self._playback.newest

    @property
    def delay_ms(self) -> float:
        """How much later than possible frames are shown, so that there are always two to mix."""
        return self._playback.delay_ns / 1e6

    def take(self, frame: wire.WireFrame, arrived_ns: int) -> bool:
        """Take a frame; ``False`` if it is older than the last."""
        with self._turn:
            return self._playback.put(frame, arrived_ns)


class Client:
    """Subscribes to avatars and keeps what they last said. Use it as a context, or ``start`` and ``close`` it.

    It reconnects for ever. ``heard`` is called with the avatar's name and every frame, from the network's thread.
    """

    def __init__(
        self,
        broker: Broker | str = "mqtt://127.0.0.1:1883",
        avatar: str = ANY,
        delay_ns: int | None = None,
        binary: bool = False,
        heard: FrameHeard | None = None,
    ) -> None:
        """``avatar`` is SITE/DEVICE/STREAM/SLOT, ``+`` for any; ``binary`` reads frame.bin, which devices may not send.

        Raises ``ConfigError`` where secret files or certificates of the broker's settings cannot be read.
        """
        parts = avatar.split("/")
        if len(parts) != 4 or not all(parts):
            raise ValueError(f"an avatar is SITE/DEVICE/STREAM/SLOT, + for any, got {avatar!r}")
        self._delay_ns, self._heard = delay_ns, heard
        self._decode = packed.decode if binary else wire.decode
        self._avatars: dict[str, Avatar] = {}
        self._online: dict[str, bool] = {}
        self._first = threading.Event()
        self._warned = False
        self._frame_end = "/frame.bin" if binary else "/frame"
        stream, device = f"{wire.ROOT}/{avatar}", f"{wire.ROOT}/{'/'.join(parts[:2])}"
        topics = (f"{stream}{self._frame_end}", f"{device}/availability")
        made = Broker(url=broker) if isinstance(broker, str) else broker
        self._connection: Connection = subscriber(made, "renderer", topics, self._hear)

    def __enter__(self) -> "Client":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._connection.start()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    @property
    def problem(self) -> str:
        """What keeps us from the broker; empty where nothing does."""
        return self._connection.status().problem

    @property
    def avatars(self) -> Mapping[str, Avatar]:
        """Every avatar that sent a frame, by name."""
        return dict(self._avatars)

    def first(self, timeout_s: float) -> Avatar:
        """Wait for the first avatar that sends a frame; ``BrokerError`` says why none did."""
        if not self._first.wait(timeout_s):
            raise BrokerError(self.problem or f"no avatar sent a frame within {timeout_s:g} s; see appliance monitor")
        return next(iter(self._avatars.values()))

    def _hear(self, topic: str, payload: bytes) -> None:
        arrived_ns = time.monotonic_ns()
        address = wire.parse_topic(topic.removesuffix(".bin"))
        if address is None:
            return
        device = f"{address.site}/{address.device}"
        if address.leaf == "frame" and topic.endswith(self._frame_end):
            self._take_frame(f"{device}/{address.stream}/{address.slot}", payload, arrived_ns)
        elif address.leaf == "availability":
            self._say_online(device, payload == wire.ONLINE)

    def _take_frame(self, name: str, payload: bytes, arrived_ns: int) -> None:
        try:
            frame = self._decode(payload)
        except wire.PayloadError as error:
            self._warn(name, error)
            return
        avatar = self._avatars.get(name)
        if avatar is None:
            if len(self._avatars) >= MOST_AVATARS:
                return
            avatar = Avatar(name, self._delay_ns)
            avatar.online = self._online.get(name.rsplit("/", 2)[0])
            avatar.take(frame, arrived_ns)
            self._avatars[name] = avatar
            self._first.set()
        elif not avatar.take(frame, arrived_ns):
            return
        if self._heard is not None:
            self._heard(name, frame)

    def _say_online(self, device: str, online: bool) -> None:
        if device in self._online or len(self._online) < MOST_AVATARS:
            self._online[device] = online
        for name, avatar in list(self._avatars.items()):
            if name.startswith(f"{device}/"):
                avatar.online = online

    def _warn(self, name: str, error: Exception) -> None:
        """Once: a publisher that is wrong is wrong sixty times a second."""
        if not self._warned:
            self._warned = True
            log.warning("%s: %s", name, error)
