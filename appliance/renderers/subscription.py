"""What a renderer hears: every message below one topic filter, from one broker, for ever."""

import logging
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from appliance.errors import BrokerError
from appliance.settings import Broker

log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 8.0
ANSWER_LIMIT_S = 5.0
"""How long a broker may take to answer a connection before the other protocol version is tried."""


class Subscription:
    """Listens on a thread of its own and reconnects with back-off, until closed.

    MQTT 5 is tried first; a broker that hangs up on it or refuses it is asked in 3.1.1.
    ``received(topic, payload)`` and ``connected(yes_or_no)`` are called on that thread.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        received: Callable[[str, bytes], None],
        connected: Callable[[bool], None],
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._received = received
        self._connected = connected
        self._username = _secret("username_file", broker.username_file)
        self._password = _secret("password_file", broker.password_file)
        self._tls = _tls(broker)
        self._accepted = False
        self._last_word = ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="mqtt", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up and end the thread."""
        self._closed.set()
        self._thread.join(timeout=ANSWER_LIMIT_S)

    def _listen(self) -> None:
        protocol, wait_s = MQTTProtocolVersion.MQTTv5, FIRST_WAIT_S
        while not self._closed.is_set():
            reached = self._session(protocol)
            if self._accepted:
                wait_s = FIRST_WAIT_S
                self._accepted = False
                self._connected(False)
            elif reached:
                five = protocol is MQTTProtocolVersion.MQTTv5
                protocol = MQTTProtocolVersion.MQTTv311 if five else MQTTProtocolVersion.MQTTv5
            self._closed.wait(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _session(self, protocol: MQTTProtocolVersion) -> bool:
        """Stay with the broker until it goes; ``False`` if it could not be reached at all."""
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        client.on_connect = self._answered
        client.on_message = self._heard
        if self._username:
            client.username_pw_set(self._username, self._password or None)
        if self._tls:
            client.tls_set_context(self._tls)
        try:
            client.connect(self._broker.host, self._broker.port, keepalive=5)
        except OSError as error:
            self._say(f"broker {self._broker.url} cannot be reached ({error}); trying again")
            return False
        deadline_s = time.monotonic() + ANSWER_LIMIT_S
        while client.loop(timeout=0.5) == MQTTErrorCode.MQTT_ERR_SUCCESS:
            if self._closed.is_set() or not (self._accepted or time.monotonic() < deadline_s):
                client.disconnect()
                break
        if self._accepted and not self._closed.is_set():
            self._say(f"broker {self._broker.url} went away; trying again")
        return True

    def _answered(self, client: paho.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._say(f"broker {self._broker.url} refused us: {code}")
            return
        client.subscribe(self._topic, qos=0)
        self._accepted = True
        self._say(f"listening to {self._topic} at {self._broker.url}", logging.INFO)
        self._connected(True)

    def _heard(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._received(message.topic, bytes(message.payload))

    def _say(self, word: str, level: int = logging.WARNING) -> None:
        """Log what changed; a broker that stays away is one line, not one a retry."""
        if word != self._last_word:
            log.log(level, "%s", word)
        self._last_word = word


def _secret(key: str, path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BrokerError(f"broker.{key} = {path!r} cannot be read: {error}") from None


def _tls(broker: Broker) -> ssl.SSLContext | None:
    if not broker.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=broker.ca_file or None)
        if broker.cert_file:
            context.load_cert_chain(broker.cert_file, broker.key_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise BrokerError(
            f"broker.ca_file = {broker.ca_file!r}, cert_file = {broker.cert_file!r}, "
            f"key_file = {broker.key_file!r} make no TLS connection: {error}"
        ) from None
    return context
