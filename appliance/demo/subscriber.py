"""A renderer that only takes notes: what a subscriber on this machine received, and when."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from appliance.demo import household
from appliance.errors import ApplianceError, BrokerError
from appliance.publish import wire
from appliance.publish.connection import subscriber
from appliance.settings import Broker, Device

_NETWORKS = ("detect", "landmarks")
_FEWEST = 2
_STEP_S = 0.01
_BROKER_S, _START_S = 5.0, 30.0


@dataclass(slots=True)
class Notes:
    """Everything received since the notes were begun."""

    frames: int = 0
    states: Counter[str] = field(default_factory=Counter)
    lost: int = 0  # gaps in the count of one avatar's frames
    latency_ms: list[float] = field(default_factory=list)  # from the picture's capture to here
    own_ms: list[float] = field(default_factory=list)  # the same without waiting for networks
    sound_ms: list[float] = field(default_factory=list)  # from the sound that shapes the mouth to here
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    began_ns: int = 0
    last_ns: int = 0

    @property
    def fps(self) -> float:
        """Frames a second from the first to the last."""
        seconds = (self.last_ns - self.began_ns) / 1e9
        return (self.frames - 1) / seconds if self.frames >= _FEWEST and seconds > 0 else 0.0

    def percentiles(self) -> dict[str, tuple[float, float]]:
        """Median and 99th percentile in ms: every stage, the whole way, that without networks, and the sound's way."""
        rows = {
            **self.stages_ms,
            "capture to subscriber": self.latency_ms,
            "outside the networks": self.own_ms,
            "sound to subscriber": self.sound_ms,
        }
        return {
            name: (float(np.percentile(values, 50)), float(np.percentile(values, 99)))
            for name, values in rows.items()
            if values
        }


class Subscriber:
    """Receives one device's frames and health on the machine that published them. Use it as a context."""

    def __init__(self, broker: Broker, device: Device) -> None:
        self._topics = wire.Topics(device.site, device.name)
        topics = [f"{self._topics.root}/+/+/frame", self._topics.health]
        self._connection = subscriber(broker, "notes", topics, self._received)
        self._notes = Notes()
        self._sequences: dict[str, int] = {}
        self._turn = threading.Lock()
        self.health: dict[str, Any] = {}
        self.first = threading.Event()

    def __enter__(self) -> "Subscriber":
        self._connection.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def begin(self) -> None:
        """Throw away the notes so far and begin new ones."""
        with self._turn:
            self._notes = Notes()

    def problem(self) -> str:
        """What keeps the subscriber from the broker; empty where nothing does."""
        return self._connection.status().problem

    def notes(self) -> Notes:
        """The notes; they go on growing."""
        return self._notes

    def _received(self, topic: str, payload: bytes) -> None:
        now_ns = time.monotonic_ns()
        if topic == self._topics.health:
            self.health = wire.decode_json(payload)
            return
        frame = wire.decode(payload)
        with self._turn:
            self._note(topic, frame, now_ns)
        self.first.set()

    def _note(self, topic: str, frame: wire.WireFrame, now_ns: int) -> None:
        notes = self._notes
        expected = self._sequences.get(topic, frame.sequence - 1) + 1
        self._sequences[topic] = frame.sequence
        notes.lost += max(0, frame.sequence - expected)
        notes.began_ns = notes.began_ns or now_ns
        notes.last_ns = now_ns
        notes.frames += 1
        notes.states[frame.state.value] += 1
        whole_ms = (now_ns - frame.captured_ns) / 1e6
        notes.latency_ms.append(whole_ms)
        notes.own_ms.append(whole_ms - sum(frame.latency_ms.get(stage, 0.0) for stage in _NETWORKS))
        if "sound" in frame.latency_ms:
            notes.sound_ms.append(whole_ms + frame.latency_ms["sound"] - frame.latency_ms["total"])
        for stage, elapsed_ms in frame.latency_ms.items():
            notes.stages_ms.setdefault(stage, []).append(elapsed_ms)


def await_first(subscriber: Subscriber, daemon: household.Process) -> None:
    """Wait for the first frame; raise when it cannot come."""
    began_s = time.monotonic()
    while not subscriber.first.wait(_STEP_S):
        household.check_running(daemon, "the daemon")
        waited_s = time.monotonic() - began_s
        if waited_s > _BROKER_S and subscriber.problem():
            raise BrokerError(subscriber.problem())
        if waited_s > _START_S:
            raise ApplianceError(f"no frame arrived within {_START_S:.0f} s; run again with -v and read the log")
