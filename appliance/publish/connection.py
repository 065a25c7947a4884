"""A connection to the MQTT broker that comes back: credentials, TLS, protocol version, back-off.

Used by whatever talks to a broker: the publisher, ``appliance monitor``, ``appliance bench``.
"""

import contextlib
import logging
import random
import secrets
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from appliance.publish.credentials import alert_of, read_credentials, reason_of
from appliance.settings import Broker

log = logging.getLogger(__name__)

KEEPALIVE_S = 3  # the client also gives the encryption so long to begin
REACH_LIMIT_S = 2.0
ANSWER_LIMIT_S = 2.5  # below the keepalive, at which the client would hang up by itself
CLOSE_LIMIT_S = 2.0
LOOK_EVERY_S = 0.1
FIRST_DELAY_S, LAST_DELAY_S = 0.2, 1.5  # whoever comes back, or comes up after us, is found within 3 s
REFUSED_DELAY_S = 8.0  # a person must act first
WILL_DELAY_S = 2
SEND_BUFFER_BYTES = 16384  # a dozen frames: what lies here cannot be taken back when the network stalls
UNSUPPORTED_VERSION = 132

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
VERSION_NAMES = {V5: "5", V311: "3.1.1"}


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says in our name when we vanish: retained, QoS 1, after ``WILL_DELAY_S`` where it can wait."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Status:
    """How the connection is; ``problem`` is what keeps it from being better, or empty."""

    connected: bool
    protocol: str  # "5" or "3.1.1"; the last tried while not connected
    connections: int  # how often it came up
    problem: str


class _Answer(Enum):
    """What became of one attempt to connect."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    TOO_NEW = "refused this version of MQTT"
    HUNG_UP = "hung up before answering"
    SILENT = "accepts connections and does not answer"
    UNREACHABLE = "cannot be reached"


_UNCLEAR = (_Answer.HUNG_UP, _Answer.SILENT)
"""What a broker says that does not understand MQTT 5, and one that is busy with itself."""


class Connection:
    """Keeps one client connected, for ever, from a thread of its own.

    Every attempt has a fresh client, so nothing that waited in a lost connection is sent in the next.
    That thread reads; whoever publishes writes by itself, without waking it, which would cost a tenth of a frame.
    ``up`` is called with the client once the broker has accepted it and ``down`` when it is gone, both
    from the thread that found out; set message callbacks on the client in ``up``. ``well`` is asked ten times
    a second; where it says no, the connection is cut and what waits in it is lost.
    MQTT 5 is tried first, and 3.1.1 at once where 5 is refused or, before it ever worked, gets no answer;
    that is remembered when 3.1.1 then works, except after silence: a broker that slept may wake and speak 5.
    Secret files and certificates are read at construction; ``ConfigError`` when that fails.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        up: Callable[[paho.Client], None],
        down: Callable[[], None] = lambda: None,
        will: Will | None = None,
        well: Callable[[], bool] = lambda: True,
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._credentials = read_credentials(broker)
        self._up, self._down, self._will, self._well = up, down, will, well
        self._client: paho.Client | None = None
        self._version = V5
        self._connections = 0
        self._connected = False
        self._problem = ""
        self._alert = ""  # what the broker had against our certificate
        self._answer = _Answer.UNREACHABLE
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._turn = threading.Lock()  # of whoever reads from the client's socket or writes to it
        self._awake, self._bell = socket.socketpair()
        self._bell.setblocking(False)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="mqtt-connection", daemon=True)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Disconnect and end the thread; waits ``CLOSE_LIMIT_S`` at most."""
        self._stopping.set()
        client = self._client
        if client is not None:
            client.disconnect()
        if self._thread.is_alive():
            self._thread.join(CLOSE_LIMIT_S)

    def status(self) -> Status:
        """Return how the connection is now."""
        return Status(self._connected, VERSION_NAMES[self._version], self._connections, self._problem)

    def report(self, problem: str, level: int = logging.ERROR) -> None:
        """Log a problem when it is news, and keep it for ``status``."""
        if problem != self._problem:
            log.log(level, "%s", problem)
        self._problem = problem

    def _keep_up(self) -> None:
        known, before, proven = V5, _Answer.UNREACHABLE, False
        delay_s = FIRST_DELAY_S
        while not self._stopping.is_set():
            answer = self._connect_once()
            proven = proven or (self._version == V5 and answer is _Answer.ACCEPTED)
            if self._version == V5 and (answer is _Answer.TOO_NEW or (answer in _UNCLEAR and not proven)):
                log.info("broker %s %s; trying MQTT 3.1.1", self._broker.url, answer.value)
                self._version, before = V311, answer
                continue
            if answer is _Answer.ACCEPTED:
                delay_s = FIRST_DELAY_S
                if before is not _Answer.SILENT:
                    known = self._version
            self._version = known
            # Devices that lost one broker must not all come back at once.
            self._stopping.wait(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(delay_s * 2, REFUSED_DELAY_S if answer is _Answer.REFUSED else LAST_DELAY_S)
        self._awake.close()
        self._bell.close()

    def _connect_once(self) -> _Answer:
        """Connect, stay until the connection ends, and return how the broker had answered."""
        self._answered.clear()
        self._ended.clear()
        self._answer, self._alert = _Answer.SILENT, ""
        client = self._new_client(self._version)
        try:
            self._open(client)
        except (OSError, ValueError) as error:
            self.report(f"broker {self._broker.url} cannot be reached: {reason_of(error)}", logging.WARNING)
            return _Answer.UNREACHABLE
        self._client = client
        limit_s = time.monotonic() + ANSWER_LIMIT_S
        while self._is_open(client) and (self._well() if self._answered.is_set() else time.monotonic() < limit_s):
            self._serve(client)
        if self._answer is _Answer.ACCEPTED and not self._well():
            self.report(f"broker {self._broker.url} stopped reading; connecting anew", logging.WARNING)
        answer = self._answer
        self._leave(client)
        if self._alert:
            self.report(f"broker {self._broker.url} refused us: {self._alert}")
            return _Answer.REFUSED
        if answer in _UNCLEAR and (self._version == V311 or self._connections):
            self.report(f"broker {self._broker.url} {answer.value}", logging.WARNING)
        return answer

    def _open(self, client: paho.Client) -> None:
        host, port = self._broker.host, self._broker.port
        if self._version == V311:
            client.connect(host, port, KEEPALIVE_S)
            return
        # A session that outlives the connection for a moment is what makes the broker wait with the will.
        session = properties_of(PacketTypes.CONNECT, SessionExpiryInterval=WILL_DELAY_S if self._will else 0)
        client.connect(host, port, KEEPALIVE_S, clean_start=self._will is None, properties=session)

    def _is_open(self, client: paho.Client) -> bool:
        return client.socket() is not None and not self._ended.is_set()

    def _serve(self, client: paho.Client) -> None:
        """Wait for the broker or for a bell, a while at most, and read; write what found no writer."""
        sock = client.socket()
        if sock is None:
            return
        try:
            buffered = hasattr(sock, "pending") and sock.pending()
            wait_s = 0.0 if buffered else LOOK_EVERY_S
            ready, _, _ = select.select([sock, self._awake], [sock] if client.want_write() else [], [], wait_s)
        except (OSError, ValueError):  # another thread closed it
            return
        if self._awake in ready:
            self._awake.recv(4096)
        with self._turn:
            if buffered or sock in ready:
                client.loop_read()
            client.loop_write()
            client.loop_misc()

    def _push(self, client: paho.Client, _data: Any, _sock: Any) -> None:
        """Write at once, in the thread that has something to say; where another is at work, it goes on with this."""
        if self._turn.acquire(blocking=False):
            try:
                client.loop_write()
            finally:
                self._turn.release()
            if not client.want_write():
                return
        with contextlib.suppress(OSError):  # it rings already, or nobody is there
            self._bell.send(b"!")

    def _leave(self, client: paho.Client) -> None:
        """Close the client's socket, whatever state it is in."""
        sock = client.socket()
        with self._turn:
            if sock is not None and not self._ended.is_set():
                _hang_up(sock)
                while client.socket() is not None and not client.loop_read():
                    continue
        # What they call refers to the client again: its sockets would stay open until Python looks for such circles.
        client.on_publish = client.on_unsubscribe = client.on_message = client.on_socket_register_write = None
        self._client = None
        self._lose()

    def _lose(self) -> None:
        if self._connected:
            self._connected = False
            self._down()

    def _new_client(self, version: MQTTProtocolVersion) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=version,
            clean_session=None if version == V5 else True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = REACH_LIMIT_S
        client.username_pw_set(self._credentials.username, self._credentials.password)
        if self._credentials.tls is not None:
            client.tls_set_context(self._credentials.tls)
        if self._will is not None:
            delay = properties_of(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_S) if version == V5 else None
            client.will_set(self._will.topic, self._will.payload, 1, True, delay)
        client.on_socket_open = _tune
        client.on_socket_register_write = self._push
        client.on_connect = self._hear
        client.on_disconnect = self._end
        client.on_log = self._overhear
        return client

    def _overhear(self, _client: paho.Client, _data: Any, level: int, text: str) -> None:
        """Note why the broker shuts its door: with TLS 1.3 it says so after ours is open; the client only logs it."""
        if level == paho.MQTT_LOG_ERR:
            self._alert = self._alert or alert_of(text)

    def _hear(self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        client.on_log = None
        if code.value == UNSUPPORTED_VERSION and self._version == V5:
            self._answer = _Answer.TOO_NEW
        elif code.is_failure:
            self._answer = _Answer.REFUSED
            self.report(f"broker {self._broker.url} refused us: {code}{_cure(str(code))}")
        else:
            self._answer = _Answer.ACCEPTED
            self._connections += 1
            self._problem = ""
            log.info("connected to %s with MQTT %s", self._broker.url, VERSION_NAMES[self._version])
            self._up(client)
            self._connected = True
        self._answered.set()

    def _end(self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        if self._connected and not self._stopping.is_set():
            self.report(f"connection to broker {self._broker.url} lost: {code}", logging.WARNING)
        if not self._answered.is_set():
            self._answer = _Answer.HUNG_UP
        self._lose()
        self._ended.set()
        self._answered.set()


def _tune(_client: paho.Client, _data: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def _hang_up(sock: Any) -> None:
    """End reading; when the client then closes the socket, what was not sent is thrown away, not sent later."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Reading alone, and past the encryption, whose own way would leave the thread to write in the clear.
        socket.socket.shutdown(sock, socket.SHUT_RD)
    except OSError:
        log.debug("the socket was closed already")


def subscriber(broker: Broker, name: str, topics: Sequence[str], hear: Callable[[str, bytes], None]) -> Connection:
    """Return a connection, not yet started, that gives ``hear`` the topic and payload of every message.

    ``topics`` may have wildcards and are subscribed to again at every connection, at QoS 0: a reader that
    acknowledges makes its system delay what follows. ``hear`` is called from the network thread.
    """

    def subscribe(client: paho.Client) -> None:
        client.on_message = lambda _client, _data, message: hear(message.topic, bytes(message.payload))
        client.subscribe([(topic, 0) for topic in topics])

    return Connection(broker, f"{name}-{secrets.token_hex(4)}", subscribe)


def properties_of(packet_type: int, **values: int | bytes) -> Properties:
    """Return MQTT 5 properties, named as the standard names them, without spaces."""
    properties = Properties(packet_type)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _cure(reason: str) -> str:
    if reason in ("Not authorized", "Bad user name or password"):
        return "; see broker.username_file and broker.password_file"
    return ""
