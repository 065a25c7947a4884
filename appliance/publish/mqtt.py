"""The output over MQTT."""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from appliance import journal
from appliance.publish import packed, reply, wire
from appliance.publish.commands import Commands
from appliance.publish.connection import Connection, Will, properties_of
from appliance.publish.pace import Pace
from appliance.settings import Broker, Device
from appliance.values import AvatarState, Event

log = logging.getLogger(__name__)

FRAME_EXPIRY_S = 1
NONE_RETAINED = 2  # of MQTT 5: a command that somebody retained is not for us
KEPT_EVENTS = 16
UNANSWERED_EVENTS = 8
CLOCK_STEP_NS = 500_000_000
FAREWELL_S = 0.5

Stream = tuple[str, int]
Mark = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class PublisherStatus:
    """How publishing is."""

    connected: bool
    protocol: str
    connections: int
    problem: str
    sent: int  # frames handed to the network
    dropped: int  # frames that found no connection, or the last ones still waiting
    mended: int  # frames sent with a number that was not finite replaced


@dataclass(slots=True)
class _Link:
    """What belongs to one connection and ends with it."""

    client: paho.Client
    expiry: Properties | None  # what a frame carries
    announced: dict[Stream, tuple[Mark, int]] = field(default_factory=dict)
    states: dict[Stream, paho.MQTTMessageInfo] = field(default_factory=dict)
    events: deque[paho.MQTTMessageInfo] = field(default_factory=deque)
    health: paho.MQTTMessageInfo | None = None
    pace: Pace = field(default_factory=Pace)


class AvatarPublisher:
    """Publishes each state once. A late state is a wrong one, so none waits its turn.

    Topics under ``avatar/v1/<site>/<device>``, and what each promises:

    ``<stream>/<slot>/frame``  every state, QoS 0, never retained, expires after 1 s (MQTT 5); dropped when the
    connection is away or the broker has not read enough of the last ones (``publish.pace``).
    ``<stream>/<slot>/frame.bin``  the same, packed, where ``broker.frame_bin`` asks for it.
    ``<stream>/<slot>/state``  retained, QoS 1: published when state, session or wall clock change, before the frame.
    ``availability``  retained, QoS 1: ``online`` while connected; ``offline`` by ``close``, or by the broker
    itself (after 2 s with MQTT 5) if we vanish.
    ``info``  retained, QoS 1, at every connection, after ``availability`` and before the last state of every stream.
    ``health``  retained, QoS 1; dropped while the last one is unanswered or the connection is away.
    ``event``  QoS 1; the newest 16 wait for a connection.
    ``resp/<name>``  QoS 1: the answer to ``cmd/<name>``, once ``obey`` said who carries commands out.

    ``send`` never blocks and belongs to one thread; ``event``, ``health`` and ``status`` may be called from any.
    """

    def __init__(self, broker: Broker, device: Device, info: Mapping[str, object]) -> None:
        """Read the secrets (``ConfigError``); ``info`` is what ``wire.encode_info`` takes."""
        self._topics = wire.Topics(device.site, device.name)
        self._info = wire.encode_info(info)
        self._packs = broker.frame_bin
        self._link: _Link | None = None
        self._commands: Commands | None = None
        self._last: dict[Stream, AvatarState] = {}
        self._events: deque[bytes] = deque(maxlen=KEPT_EVENTS)
        self._event_turn = threading.Lock()
        self._sent = self._dropped = self._mended = 0
        will = Will(self._topics.availability, wire.OFFLINE)
        name = f"avatar-{device.site}-{device.name}"
        self._connection = Connection(broker, name, self._greet, self._part, will, self._is_well)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._connection.start()

    def close(self) -> None:
        """Say ``offline`` and disconnect; waits for the broker's answer half a second at most."""
        link, self._link = self._link, None
        if link is not None:
            farewell = link.client.publish(self._topics.availability, wire.OFFLINE, 1, True)
            if farewell.rc == paho.MQTT_ERR_SUCCESS:
                farewell.wait_for_publish(FAREWELL_S)
        self._connection.close()

    def send(self, state: AvatarState) -> bool:
        """Hand over one state; ``False`` if it was dropped because the broker is away or behind."""
        stream = (state.stream, state.slot)
        self._last[stream] = state
        link = self._link
        if link is not None:
            self._pulse(link)
            if self._send(link, stream, state):
                self._sent += 1
                return True
        self._dropped += 1
        return False

    def obey(self, commands: Commands) -> None:
        """Hear commands from now on, and answer them."""
        self._commands = commands
        link = self._link
        if link is not None:
            self._listen(link.client)

    def event(self, event: Event) -> None:
        """Log and publish something that happened; it waits for a connection, with the newest few others."""
        journal.note(event)
        self._events.append(wire.encode_event(event, time.time_ns()))
        self._publish_events(self._link)

    def health(self, health: Mapping[str, object]) -> bool:
        """Publish how the device is; ``False`` if the broker is away or has not answered the last one."""
        link = self._link
        self._publish_events(link)
        if link is None:
            return False
        self._pulse(link, idle=True)
        if _waits(link.health):
            return False
        link.health = link.client.publish(self._topics.health, wire.encode_health(health), 1, True)
        return link.health.rc == paho.MQTT_ERR_SUCCESS

    def status(self) -> PublisherStatus:
        """Return how publishing is now."""
        now = self._connection.status()
        counts = (self._sent, self._dropped, self._mended)
        return PublisherStatus(now.connected, now.protocol, now.connections, now.problem, *counts)

    def _pulse(self, link: _Link, idle: bool = False) -> None:
        """Ask the broker for a sign of life when it is time.

        By unsubscribing from a topic that nobody subscribed to: the one request of MQTT that changes nothing and
        must be answered.
        """
        if link.pace.ask(idle):
            link.client.unsubscribe(f"{self._topics.root}/pulse")

    def _send(self, link: _Link, stream: Stream, state: AvatarState) -> bool:
        offset_ns = _utc_offset_ns()
        if _is_news(state, offset_ns, link.announced.get(stream)) and not _waits(link.states.get(stream)):
            self._announce(link, state, offset_ns)
        if not link.pace.may_send():
            return False
        link.pace.count()
        return self._publish_frame(link, state, offset_ns).rc == paho.MQTT_ERR_SUCCESS

    def _publish_frame(self, link: _Link, state: AvatarState, offset_ns: int) -> paho.MQTTMessageInfo:
        if not wire.is_finite(state):
            if not self._mended:
                log.error("%s/%s: a value is not finite and is sent as neutral", state.stream, state.slot)
            self._mended += 1
        if self._packs:
            packed_topic = self._topics.packed_frame(state.stream, state.slot)
            link.client.publish(packed_topic, packed.encode(state, offset_ns), 0, False, link.expiry)
        topic = self._topics.frame(state.stream, state.slot)
        return link.client.publish(topic, wire.encode(state, offset_ns), 0, False, link.expiry)

    def _announce(self, link: _Link, state: AvatarState, offset_ns: int) -> None:
        stream = (state.stream, state.slot)
        payload = wire.encode_state(state, offset_ns)
        link.states[stream] = link.client.publish(self._topics.state(*stream), payload, 1, True)
        link.announced[stream] = (_mark(state), offset_ns)

    def _publish_events(self, link: _Link | None) -> None:
        """Publish the events that wait, as far as the broker keeps up with answering."""
        if link is None:
            return
        with self._event_turn:
            while link.events and not _waits(link.events[0]):
                link.events.popleft()
            while self._events and len(link.events) < UNANSWERED_EVENTS:
                link.events.append(link.client.publish(self._topics.event, self._events.popleft(), 1))

    def _greet(self, client: paho.Client) -> None:
        link = _Link(client, _expiry(client))
        client.on_unsubscribe = lambda *_: link.pace.hear()
        client.on_publish = self._acknowledged
        client.on_message = self._hear
        client.publish(self._topics.availability, wire.ONLINE, 1, True)
        client.publish(self._topics.info, self._info, 1, True)
        for state in list(self._last.values()):
            self._announce(link, state, _utc_offset_ns())
        self._publish_events(link)
        self._link = link
        if self._commands is not None:
            self._listen(client)

    def _listen(self, client: paho.Client) -> None:
        topic = f"{self._topics.commands}+"
        if client.protocol == paho.MQTTv5:
            client.subscribe(topic, options=SubscribeOptions(qos=1, retainHandling=NONE_RETAINED))
        else:
            client.subscribe(topic, 1)

    def _hear(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        """Answer a command, on the topic and with the correlation data that it asks for."""
        if self._commands is None or not message.topic.startswith(self._topics.commands):
            return
        name = message.topic.removeprefix(self._topics.commands)
        place = reply.place(message, self._topics.answers + name, self._topics.answers)
        answer = self._commands.answer(name, bytes(message.payload), place.refusal)
        if answer is None:
            return
        answers = (
            None if place.correlation is None else properties_of(PacketTypes.PUBLISH, CorrelationData=place.correlation)
        )
        client.publish(place.topic, answer.payload, 1, False, answers)
        log.info("command %s: %s", name, answer.payload.decode())
        if answer.then is not None:
            answer.then()

    def _is_well(self) -> bool:
        link = self._link
        return link is None or not link.pace.is_stuck()

    def _part(self) -> None:
        self._link = None

    def _acknowledged(self, _client: paho.Client, _data: Any, _mid: int, code: ReasonCode, _properties: Any) -> None:
        if code.is_failure:
            cure = "see its ACL" if code.getName() == "Not authorized" else "see its limits"
            self._connection.report(f"the broker does not let us publish under {self._topics.root}: {code}; {cure}")


def _mark(state: AvatarState) -> Mark:
    return (state.state.value, state.session, state.since_ns)


def _is_news(state: AvatarState, offset_ns: int, announced: tuple[Mark, int] | None) -> bool:
    """Whether a stream's state was not said yet, or said before the wall clock stepped."""
    if announced is None or announced[0] != _mark(state):
        return True
    return abs(offset_ns - announced[1]) > CLOCK_STEP_NS


def _waits(info: paho.MQTTMessageInfo | None) -> bool:
    return info is not None and info.rc == paho.MQTT_ERR_SUCCESS and not info.is_published()


def _utc_offset_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


def _expiry(client: paho.Client) -> Properties | None:
    if client.protocol != paho.MQTTv5:
        return None
    properties = properties_of(PacketTypes.PUBLISH, MessageExpiryInterval=FRAME_EXPIRY_S)
    packed = properties.pack()  # once: to pack it for every frame takes a tenth of publishing
    object.__setattr__(properties, "pack", lambda: packed)  # its own way takes the standard's names alone
    return properties
