"""Home Assistant: sensors that appear by themselves, by its MQTT discovery.

For every device one retained description a sensor, under ``homeassistant/<kind>/<node>/<sensor>/config``; what the
sensor shows it reads from the device's own topics. Nothing is relayed: this process may end, the sensors stay.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.publish.connection import Connection
from appliance.publish.wire import ROOT, Topics
from appliance.renderers.fleet import LEAVES, Device, Fleet, inner, numbers
from appliance.settings import Broker

PREFIX = "homeassistant"
EXPIRE_S = 15
REMOVE_S = 5.0

_SOUND_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ ./-]{0,63}")
Fields = dict[str, Any]


def discovery(device: Device, prefix: str = PREFIX) -> dict[str, Fields]:
    """Return the description of every sensor of one device, by topic; fewer before its first health."""
    topics = Topics(device.site, device.name)
    node = _id(f"avatar_{device.site}_{device.name}")
    described: dict[str, Fields] = {}
    for kind, sensor, fields in _sensors(device, topics):
        described[f"{prefix}/{kind}/{node}/{_id(sensor)}/config"] = {
            "unique_id": f"{node}_{_id(sensor)}",
            "object_id": f"{node}_{_id(sensor)}",
            **fields,
            "device": _device(device, node),
            "origin": {"name": "avatar-appliance"},
        }
    return described


def _sensors(device: Device, topics: Topics) -> Iterator[tuple[str, str, Fields]]:
    online = {"payload_on": "online", "payload_off": "offline", "device_class": "connectivity"}
    yield "binary_sensor", "connected", {"name": "Connected", "state_topic": topics.availability, **online}
    for stream in _sound(device.states):
        present = "{{ 'ON' if value_json.state in ['acquiring', 'tracking'] else 'OFF' }}"
        fields = _measured(topics, f"Visitor {stream}", present, device_class="occupancy")
        yield "binary_sensor", f"visitor_{stream}", {**fields, "state_topic": f"{topics.root}/{stream}/state"}
    if device.health:
        yield from _health_sensors(device.health, topics)


def _health_sensors(health: Mapping[str, Any], topics: Topics) -> Iterator[tuple[str, str, Fields]]:
    plain: tuple[tuple[str, str, str, Fields], ...] = (
        ("latency", "Latency", "value_json.stages.total.p50_ms", _unit("ms", "duration")),
        ("dropped", "Frames dropped", "value_json.dropped", {"state_class": "total_increasing"}),
        ("memory", "Memory available", "value_json.ram.available_mb", _unit("MiB", "data_size")),
        ("level", "Memory pressure", "value_json.level", {}),
    )
    for sensor, name, place, fields in plain:
        yield "sensor", sensor, _health(topics, name, f"{{{{ {place} }}}}", **fields)
    lists: tuple[tuple[str, str, str, Fields], ...] = (
        ("fps", "Rate", "fps", _unit("fps", "")),
        ("temperature", "Temperature", "temperatures_c", _unit("°C", "temperature")),
        ("power", "Power", "rails_mw", _unit("mW", "power")),
    )
    for sensor, name, table, fields in lists:
        for each in _sound(numbers(health, table)):
            value = f"{{{{ value_json.{table}['{each}'] }}}}"
            yield "sensor", f"{sensor}_{each}", _health(topics, f"{name} {each}", value, **fields)
    for table in ("cameras", "microphones"):
        for each in _sound(inner(health, table)):
            value = f"{{{{ 'ON' if value_json.{table}['{each}'].error else 'OFF' }}}}"
            fields = _health(topics, f"{each} fails", value, device_class="problem")
            yield "binary_sensor", f"problem_{each}", fields


def _health(topics: Topics, name: str, template: str, **fields: Any) -> Fields:
    return {
        **_measured(topics, name, template, **fields),
        "state_topic": topics.health,
        "expire_after": EXPIRE_S,
        "entity_category": "diagnostic",
    }


def _measured(topics: Topics, name: str, template: str, **fields: Any) -> Fields:
    online = {"topic": topics.availability, "payload_available": "online", "payload_not_available": "offline"}
    return {"name": name, "value_template": template, "availability": [online], **fields}


def _unit(unit: str, device_class: str) -> Fields:
    fields = {"unit_of_measurement": unit, "state_class": "measurement"}
    return {**fields, "device_class": device_class} if device_class else fields


def _device(device: Device, node: str) -> Fields:
    version = str(inner(device.info, "versions").get("appliance", ""))[:32]
    fields = {"identifiers": [node], "name": f"Avatar {device.site} {device.name}", "model": "avatar-appliance"}
    return {**fields, "sw_version": version} if version else fields


def _sound(names: Mapping[str, Any]) -> Iterator[str]:
    """Names that cannot break out of a template: they come over the network."""
    return (name for name in sorted(names) if _SOUND_NAME.fullmatch(name))


def _id(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


class Announcer:
    """Keeps the descriptions on the broker up to what the devices are."""

    def __init__(self, broker: Broker, site: str, prefix: str = PREFIX) -> None:
        self.fleet = Fleet()
        self._prefix, self._announced = prefix, dict[str, str]()
        self._client: Any = None
        self._topics = [f"{ROOT}/{site}/+/{leaf}" for leaf in LEAVES]
        self._connection = Connection(broker, "avatar-home-assistant", self._greet, self._part)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._connection.start()

    def close(self) -> None:
        """Disconnect; the descriptions stay."""
        self._connection.close()

    @property
    def problem(self) -> str:
        """What keeps us from the broker; empty where nothing does."""
        return self._connection.status().problem

    def step(self) -> int:
        """Publish what is new or has changed; return how many descriptions that were."""
        described = {
            topic: json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
            for device in self.fleet.devices()
            for topic, fields in discovery(device, self._prefix).items()
        }
        news = {topic: text for topic, text in described.items() if self._announced.get(topic) != text}
        return len(self._publish(news))

    def remove(self) -> int:
        """Take every sensor of the devices that are known back from Home Assistant; return how many went."""
        known = [topic for device in self.fleet.devices() for topic in discovery(device, self._prefix)]
        sent = self._publish(dict.fromkeys(known, ""))
        end_s = time.monotonic() + REMOVE_S
        while time.monotonic() < end_s and not all(map(_arrived, sent)):
            time.sleep(0.02)
        return sum(map(_arrived, sent))

    def _publish(self, news: Mapping[str, str]) -> list[Any]:
        client = self._client
        if client is None:
            return []
        self._announced.update(news)
        return [client.publish(topic, text, 1, True) for topic, text in news.items()]

    def _greet(self, client: Any) -> None:
        client.on_message = lambda _client, _data, message: self.fleet.hear(message.topic, bytes(message.payload))
        client.subscribe([(topic, 0) for topic in self._topics])
        self._client = client

    def _part(self) -> None:
        self._client = None
        self._announced.clear()  # a broker that lost its memory is told anew


def _arrived(sent: Any) -> bool:
    """Whether the broker has acknowledged a message; one that the client did not take never arrives."""
    return bool(sent.rc == 0 and sent.is_published())
