"""What every device of a site last said, from the topics alone: for ``appliance monitor`` and the exporters."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.publish import wire

LEAVES = ("availability", "info", "health", "event", "+/+/state")
STALE_S = 5.0
"""Health comes each second; a device that owes five of them is not well, whatever the broker says."""
MOST_DEVICES = 1024
"""A broker full of strangers' topics must not fill our memory."""


@dataclass(slots=True)
class Device:
    """One device, as it last said. What is not there is empty; numbers are looked up by ``number`` and ``numbers``."""

    site: str
    name: str
    availability: str = "?"
    info: Mapping[str, Any] = field(default_factory=dict)
    health: Mapping[str, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)  # tracking state by STREAM/SLOT
    event: str = ""
    event_utc_s: float = 0.0  # by our clock
    health_age_s: float | None = None  # None before the first

    @property
    def online(self) -> bool:
        """Whether the broker holds it for connected."""
        return self.availability == "online"

    def alarms(self) -> Sequence[str]:
        """Return what somebody should look after, in words; nothing where all is well."""
        if self.availability == "offline":
            return ("offline",)
        health = self.health
        alarms = []
        if self.health_age_s is not None and self.health_age_s > STALE_S:
            alarms.append(f"no health for {self.health_age_s:.0f} s")
        if health.get("level") == "critical":
            alarms.append("memory is critical")
        throttled = health.get("throttled")
        if isinstance(throttled, list) and throttled:
            alarms.append(f"slowed down against heat: {', '.join(map(str, throttled))}")
        for kind in ("cameras", "microphones"):
            for name, status in inner(health, kind).items():
                words = status.get("error") or status.get("poor") if isinstance(status, Mapping) else None
                if words:
                    alarms.append(f"{name}: {words}")
        return list(map(plain, alarms))


class Fleet:
    """What every device on the broker last said; ``hear`` and ``devices`` may be called from any thread."""

    def __init__(self) -> None:
        self._devices: dict[tuple[str, str], Device] = {}
        self._heard_s: dict[tuple[str, str], float] = {}
        self._turn = threading.Lock()

    def hear(self, topic: str, payload: bytes) -> None:
        """Take note of one message; what is not ours or cannot be read is passed over."""
        address = wire.parse_topic(topic)
        if address is None or address.leaf == "frame":
            return
        with self._turn:
            device = self._device(address.site, address.device)
            if device is None:
                return
            if address.leaf == "availability":
                device.availability = plain(payload.decode(errors="replace"))
                return
            try:
                said = wire.decode_json(payload)
            except wire.PayloadError:
                return
            self._take(device, address, said)

    def devices(self) -> list[Device]:
        """Return every device by site and name; each is as it was at this moment."""
        now_s = time.monotonic()
        with self._turn:
            return [self._snapshot(key, now_s) for key in sorted(self._devices)]

    def _device(self, site: str, name: str) -> Device | None:
        if (site, name) not in self._devices and len(self._devices) >= MOST_DEVICES:
            return None
        return self._devices.setdefault((site, name), Device(site, name))

    def _take(self, device: Device, address: wire.Address, said: Mapping[str, Any]) -> None:
        if address.leaf == "health":
            device.health = said
            self._heard_s[device.site, device.name] = time.monotonic()
        elif address.leaf == "info":
            device.info = said
        elif address.leaf == "event":
            device.event, device.event_utc_s = plain(said.get("event", "?")), time.time()
        elif address.leaf == "state":
            device.states[f"{address.stream}/{address.slot}"] = plain(said.get("state", "?"))

    def _snapshot(self, key: tuple[str, str], now_s: float) -> Device:
        known, heard_s = self._devices[key], self._heard_s.get(key)
        return Device(
            known.site,
            known.name,
            known.availability,
            known.info,
            known.health,
            dict(known.states),
            known.event,
            known.event_utc_s,
            None if heard_s is None else now_s - heard_s,
        )


def inner(table: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return a table within tables; an empty one where it is not there or is none."""
    for name in names:
        found = table.get(name)
        table = found if isinstance(found, Mapping) else {}
    return table


def plain(words: object) -> str:
    """Return words from the network as a terminal may show them: short, on one line, without control characters."""
    return "".join(each if each.isprintable() else " " for each in str(words)[:120])


def number(table: Mapping[str, Any], name: str) -> float | None:
    """Return a number of a table; ``None`` where it is not there or is none."""
    value = table.get(name)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def numbers(table: Mapping[str, Any], name: str) -> dict[str, float]:
    """Return every number of a table within a table, by name."""
    within = inner(table, name)
    found = {key: number(within, key) for key in within}
    return {key: value for key, value in found.items() if value is not None}
