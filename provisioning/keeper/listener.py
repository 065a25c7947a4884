"""Hear what the appliance publishes about its health: MQTT 3.1.1, as little of it as that takes."""

import contextlib
import json
import os
import socket
import ssl
import struct
import time
from pathlib import Path
from typing import Any

CONNECT, CONNACK, PUBLISH, SUBSCRIBE, DISCONNECT = 0x10, 0x20, 0x30, 0x82, 0xE0
_KEEPALIVE_S = 60
_LARGEST = 1 << 20  # of a packet that is worth reading


class Listener:
    """Reads a topic of a broker: ``url`` parts, files of credentials and ``topic`` as a table.

    A broker that is away is no error here: there is no health then, and that is what counts.
    """

    def __init__(self, broker: dict[str, Any]) -> None:
        self._broker = broker
        self._socket: socket.socket | None = None

    def health(self, limit_s: float) -> dict[str, Any]:
        """The next fresh health of the appliance; nothing where none comes within the limit."""
        until_s = time.monotonic() + limit_s
        with contextlib.suppress(OSError, ValueError):
            while time.monotonic() < until_s:
                message = self._next(until_s)
                if message is not None and not message["retained"]:
                    health = json.loads(message["payload"])
                    return health if isinstance(health, dict) else {}
            return {}
        self.close()
        time.sleep(max(0.0, min(0.5, until_s - time.monotonic())))
        return {}

    def wait(self, topic: str, limit_s: float) -> bytes | None:
        """The first payload on another topic or filter, retained ones too; ``None`` where none comes."""
        self.close()
        self._broker = {**self._broker, "topic": topic}
        until_s = time.monotonic() + limit_s
        with contextlib.closing(self):
            while time.monotonic() < until_s:
                message = self._next(until_s)
                if message is not None:
                    return bytes(message["payload"])
        return None

    def hears(self, payload: bytes, limit_s: float) -> bool:
        """Whether this very payload comes on the topic within the limit."""
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s:
            message = self._next(until_s)
            if message is not None and message["payload"] == payload:
                return True
        return False

    def connect(self, limit_s: float) -> socket.socket:
        """Log in and subscribe; ``OSError`` where the broker refuses us."""
        if self._socket is None:
            self._socket = self._connected(limit_s)
        return self._socket

    def close(self) -> None:
        """Leave the broker."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendall(bytes([DISCONNECT, 0]))
            self._socket.close()
            self._socket = None

    def _next(self, until_s: float) -> dict[str, Any] | None:
        """The next message; ``None`` where another packet came, or nothing in time."""
        link = self.connect(max(0.1, until_s - time.monotonic()))
        link.settimeout(max(0.05, until_s - time.monotonic()))
        try:
            kind, body = _packet(link)
        except TimeoutError:
            return None
        if kind & 0xF0 != PUBLISH:
            return None
        length = struct.unpack_from(">H", body)[0]
        start = 2 + length + (2 if kind & 0x06 else 0)
        return {"topic": body[2 : 2 + length].decode(), "payload": body[start:], "retained": bool(kind & 1)}

    def _connected(self, limit_s: float) -> socket.socket:
        broker = self._broker
        plain = socket.create_connection((broker["host"], broker["port"]), limit_s)
        try:
            link = _secured(plain, broker) if broker.get("ca_file") else plain
            link.sendall(
                _connect(
                    f"keeper-{os.urandom(4).hex()}", _read(broker, "username_file"), _read(broker, "password_file")
                )
            )
            kind, body = _packet(link)
            if kind != CONNACK or body[1]:
                raise ConnectionRefusedError(f"the broker refused us: reason {body[1]}")
            if broker["topic"]:
                link.sendall(_subscribe(broker["topic"]))
        except BaseException:
            plain.close()
            raise
        return link


def _read(broker: dict[str, Any], key: str) -> str | None:
    return Path(broker[key]).read_text(encoding="utf-8").rstrip("\r\n") if broker.get(key) else None


def _secured(plain: socket.socket, broker: dict[str, Any]) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=broker["ca_file"])
    if broker.get("cert_file"):
        context.load_cert_chain(broker["cert_file"], broker["key_file"])
    return context.wrap_socket(plain, server_hostname=broker["host"])


def _connect(client: str, username: str | None, password: str | None) -> bytes:
    flags = 0x02 | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    head = worded("MQTT") + bytes([4, flags]) + struct.pack(">H", _KEEPALIVE_S)
    words = [word for word in (client, username, password) if word is not None]
    return packed(CONNECT, head + b"".join(worded(word) for word in words))


def _subscribe(topic: str) -> bytes:
    return packed(SUBSCRIBE, struct.pack(">H", 1) + worded(topic) + b"\0")


def worded(word: str) -> bytes:
    """A text as MQTT writes it."""
    return struct.pack(">H", len(word.encode())) + word.encode()


def packed(kind: int, body: bytes) -> bytes:
    """A packet as MQTT writes it."""
    length, rest = bytearray(), len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length.append(digit | (0x80 if rest else 0))
        if not rest:
            return bytes([kind]) + bytes(length) + body


def _packet(link: socket.socket) -> tuple[int, bytes]:
    kind, length, shift = _exactly(link, 1)[0], 0, 0
    while True:
        digit = _exactly(link, 1)[0]
        length |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            break
    if length > _LARGEST:
        raise ValueError(f"a packet of {length} bytes")
    return kind, _exactly(link, length)


def _exactly(link: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        block = link.recv(count - len(received))
        if not block:
            raise ConnectionError("the broker hung up")
        received += block
    return bytes(received)
