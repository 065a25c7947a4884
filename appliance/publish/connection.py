"""A connection to the MQTT broker that comes back: credentials, TLS, protocol version, back-off.

Used by whatever talks to a broker: the publisher, ``appliance monitor``, ``appliance bench``.
"""

import logging
import socket
import ssl
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from appliance.errors import ConfigError
from appliance.settings import Broker

log = logging.getLogger(__name__)

KEEPALIVE_S = 5
CONNECT_LIMIT_S = 5.0
FIRST_DELAY_S, LAST_DELAY_S = 0.5, 8.0
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


@dataclass(frozen=True, slots=True)
class _Credentials:
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None


class Connection:
    """Keeps one client connected, for ever, from a thread of its own.

    Every attempt has a fresh client, so nothing that waited in a lost connection is sent in the next.
    ``up`` is called with the client once the broker has accepted it and ``down`` when it is gone, both
    from the client's network thread; set message callbacks on the client in ``up``.
    MQTT 5 is tried first; 3.1.1 where the broker refuses 5 (remembered) or hangs up on it (this once).
    Secret files and certificates are read at construction; ``ConfigError`` when that fails.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        up: Callable[[paho.Client], None],
        down: Callable[[], None] = lambda: None,
        will: Will | None = None,
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._credentials = _read_credentials(broker)
        self._up, self._down, self._will = up, down, will
        self._client: paho.Client | None = None
        self._version = V5  # what the broker is believed to speak
        self._tried = V5
        self._connections = 0
        self._problem = ""
        self._accepted = False
        self._refusal: ReasonCode | None = None
        self._ended = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="mqtt-connection", daemon=True)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Disconnect and end the thread; takes at most about ``CONNECT_LIMIT_S``."""
        self._stopping.set()
        client = self._client
        if client is not None:
            client.disconnect()
        if self._thread.is_alive():
            self._thread.join(CONNECT_LIMIT_S + 1)

    def status(self) -> Status:
        """Return how the connection is now."""
        return Status(self._accepted, VERSION_NAMES[self._tried], self._connections, self._problem)

    def report(self, problem: str, level: int = logging.ERROR) -> None:
        """Log a problem when it is news, and keep it for ``status``."""
        if problem != self._problem:
            log.log(level, "%s", problem)
        self._problem = problem

    def _keep_up(self) -> None:
        delay_s = FIRST_DELAY_S
        self._tried = self._version
        while not self._stopping.is_set():
            before = self._connections
            answered = self._connect_once(self._tried)
            if self._connections > before:
                delay_s = FIRST_DELAY_S
            if self._tried == V5 and self._wants_older(answered):
                self._tried = V311
                continue
            self._tried = self._version
            self._stopping.wait(delay_s)
            delay_s = min(delay_s * 2, LAST_DELAY_S)

    def _wants_older(self, answered: bool) -> bool:
        """Tell whether MQTT 5 was the obstacle: refused by name, or hung up on before any answer."""
        if self._refusal is not None and self._refusal.value == UNSUPPORTED_VERSION:
            self._version = V311
            return True
        return not answered and self._ended.is_set()

    def _connect_once(self, version: MQTTProtocolVersion) -> bool:
        """Connect and stay until the connection ends; return whether the broker answered or could not be reached."""
        self._ended.clear()
        self._accepted, self._refusal = False, None
        client = self._new_client(version)
        try:
            self._open(client, version)
        except (OSError, ValueError) as error:
            self.report(f"broker {self._broker.url} cannot be reached: {_reason(error)}", logging.WARNING)
            return True
        self._client = client
        client.loop_start()
        answered = self._wait_for_answer()
        while answered and not self._ended.wait(1.0) and client.is_connected() and not self._stopping.is_set():
            continue
        self._leave(client)
        return answered

    def _open(self, client: paho.Client, version: MQTTProtocolVersion) -> None:
        properties = None
        if version == V5:
            # A session that outlives the connection for a moment is what makes the broker wait with the will.
            properties = properties_of(PacketTypes.CONNECT, SessionExpiryInterval=WILL_DELAY_S if self._will else 0)
        clean = self._will is None if version == V5 else paho.MQTT_CLEAN_START_FIRST_ONLY
        client.connect(self._broker.host, self._broker.port, KEEPALIVE_S, clean_start=clean, properties=properties)

    def _wait_for_answer(self) -> bool:
        """Wait for the broker's word on our CONNECT; a silent broker is left after a while."""
        waited_s, step_s = 0.0, 0.05
        while not (self._accepted or self._refusal or self._stopping.is_set()):
            if self._ended.wait(step_s):
                break
            waited_s += step_s
            if waited_s >= CONNECT_LIMIT_S:
                self.report(f"broker {self._broker.url} accepts connections and does not answer", logging.WARNING)
                break
        if self._ended.is_set() and not self._accepted and not self._refusal:
            self.report(f"broker {self._broker.url} hung up before answering", logging.WARNING)
        return self._accepted or self._refusal is not None

    def _leave(self, client: paho.Client) -> None:
        """End the client's thread, whatever state its socket is in."""
        if not self._ended.wait(0.5 if self._stopping.is_set() else 0.0):
            sock = client.socket()
            if sock is not None:
                _hang_up(sock)
        client.loop_stop()
        self._client = None
        self._lost()

    def _lost(self) -> None:
        if self._accepted:
            self._accepted = False
            self._down()

    def _new_client(self, version: MQTTProtocolVersion) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=version,
            clean_session=None if version == V5 else True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_LIMIT_S
        client.username_pw_set(self._credentials.username, self._credentials.password)
        if self._credentials.tls is not None:
            client.tls_set_context(self._credentials.tls)
        if self._will is not None:
            delay = properties_of(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_S) if version == V5 else None
            client.will_set(self._will.topic, self._will.payload, 1, True, delay)
        client.on_socket_open = _tune
        client.on_connect = self._answered
        client.on_disconnect = self._disconnected
        return client

    def _answered(self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        if code.is_failure:
            self._refusal = code
            if not (self._tried == V5 and code.value == UNSUPPORTED_VERSION):
                self.report(f"broker {self._broker.url} refused us: {code}{_cure(str(code))}")
            return
        self._connections += 1
        self._problem = ""
        log.info("connected to %s with MQTT %s", self._broker.url, VERSION_NAMES[self._tried])
        self._up(client)
        self._accepted = True

    def _disconnected(self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        if self._accepted and not self._stopping.is_set():
            self.report(f"connection to broker {self._broker.url} lost: {code}", logging.WARNING)
        self._lost()
        self._ended.set()


def _tune(_client: paho.Client, _data: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def _hang_up(sock: Any) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        log.debug("the socket was closed already")


def properties_of(packet_type: int, **values: int) -> Properties:
    """Return MQTT 5 properties, named as the standard names them, without spaces."""
    properties = Properties(packet_type)  # type: ignore[no-untyped-call]  # paho leaves it without types
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}); see broker.ca_file, the name in url, the clock"
        )
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)


def _cure(reason: str) -> str:
    if reason in ("Not authorized", "Bad user name or password"):
        return "; see broker.username_file and broker.password_file"
    return ""


def _read_credentials(broker: Broker) -> _Credentials:
    username = _read_secret("username_file", broker.username_file, private=False)
    password = _read_secret("password_file", broker.password_file, private=True)
    if password is not None and username is None:
        raise ConfigError("broker.password_file needs broker.username_file: MQTT has no password without a user name")
    return _Credentials(username, password, _tls_context(broker) if broker.tls else None)


def _read_secret(setting: str, name: str, private: bool) -> str | None:
    """Return a secret file's content without the newline at its end; ``None`` where no file is set."""
    if not name:
        return None
    path = Path(name).expanduser()
    try:
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"broker.{setting} must name a readable text file, got {path}: {reason}") from None
    if not secret:
        raise ConfigError(f"broker.{setting} must not be empty, got {path}")
    if private:
        _warn_if_exposed(setting, path)
    return secret


def _warn_if_exposed(setting: str, path: Path) -> None:
    if path.stat().st_mode & stat.S_IROTH:
        log.warning("broker.%s %s can be read by everybody; chmod 600 %s", setting, path, path)


def _tls_context(broker: Broker) -> ssl.SSLContext:
    ca_file = str(Path(broker.ca_file).expanduser()) if broker.ca_file else None
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(f"broker.ca_file must name PEM certificates, got {ca_file}: {_reason(error)}") from None
    if bool(broker.cert_file) != bool(broker.key_file):
        raise ConfigError("broker.cert_file and broker.key_file must be given together")
    if broker.cert_file:
        cert, key = Path(broker.cert_file).expanduser(), Path(broker.key_file).expanduser()
        try:
            context.load_cert_chain(cert, key)
            _warn_if_exposed("key_file", key)
        except OSError as error:
            raise ConfigError(
                f"broker.cert_file and key_file must be a PEM certificate and its key, got {cert} and {key}: "
                f"{_reason(error)}"
            ) from None
    return context
