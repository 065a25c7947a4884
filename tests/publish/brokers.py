"""Real brokers and a real subscriber for the tests, and states to send."""

import dataclasses
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from appliance.avatar.channels import BLENDSHAPES, MOODS, VISEMES
from appliance.publish.mqtt import AvatarPublisher
from appliance.settings import Broker, Device
from appliance.values import AvatarState, Gaze, HeadPose, TrackingState, Voice

DEVICE = Device(site="lobby", name="orin-07")
ROOT = "avatar/v1/lobby/orin-07"
INFO: dict[str, object] = {
    "versions": {"appliance": "0.1.0"},
    "cameras": [
        {"name": "cam0", "width_px": 1280, "height_px": 720, "fps": 60, "slots": 1, "microphone": None},
    ],
    "microphones": [{"name": "mic0", "rate_hz": 16000}],
    "models": [{"name": "face_detector", "sha256": "0" * 64}],
    "engines": [{"model": "face_detector", "runner": "openvino", "precision": "fp32"}],
}
HEALTH: dict[str, object] = {
    "utc_ns": 1_790_000_000_000_000_000,
    "uptime_s": 61.2,
    "first_frame_s": 1.9,
    "fps": {"cam0/0": 59.8},
    "dropped": 3,
    "stages": {"total": {"p50_ms": 4.9, "p99_ms": 8.0}},
    "ram": {"available_mb": 3120, "total_mb": 7620},
    "rss_mb": 402.5,
    "lfb_mb": None,
    "swap": {"used_mb": 0, "total_mb": 3810},
    "pressure": {"some_avg10": 12.5, "full_avg10": 0.0},
    "level": "high",
    "temperatures_c": {"cpu": 48.2},
    "rails_mw": {"VDD_IN": 5120},
    "clocks_mhz": {"gpu": 612},
    "power_mode": None,
    "cameras": {"cam0": {"captured": 3600, "dropped": 2, "restarts": 1, "error": "not there"}},
    "microphones": {"mic0": {"blocks": 6000, "overruns": 0, "restarts": 0, "error": None}},
}
WAIT_S = 10.0  # a hang, not a speed: nothing here takes a tenth of it


@dataclasses.dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    expiry_s: int | None
    received_ns: int


class Reader:
    """A subscriber that keeps what it hears."""

    def __init__(self, port: int, protocol: int = paho.MQTTv5, topics: str = "avatar/#") -> None:
        self.messages: list[Message] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(topics, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(WAIT_S)

    def _hear(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        expiry_s = getattr(message.properties, "MessageExpiryInterval", None)
        now_ns = time.monotonic_ns()
        payload = bytes(message.payload)
        self.messages.append(Message(message.topic, payload, message.qos, message.retain, expiry_s, now_ns))

    def on(self, leaf: str) -> list[Message]:
        return [message for message in list(self.messages) if message.topic == f"{ROOT}/{leaf}"]

    def last(self, leaf: str) -> bytes | None:
        heard = self.on(leaf)
        return heard[-1].payload if heard else None

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Mosquitto:
    """One mosquitto on a free loopback port."""

    def __init__(
        self,
        folder: Path,
        lines: Sequence[str] = ("allow_anonymous true",),
        port: int = 0,
        own: Sequence[str] | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._config = folder / f"mosquitto-{self.port}.conf"
        self.log = self._config.with_suffix(".log")
        # Started by root, it would become a user who cannot read the test's folder.
        before = own or (f"listener {self.port} 127.0.0.1", "user root", "set_tcp_nodelay true")
        self._config.write_text("\n".join((*before, *lines)) + "\n")
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(["mosquitto", "-c", str(self._config)], stderr=log)
        assert wait_until(lambda: is_listening(self.port)), "mosquitto did not start"

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)

    def stop(self) -> None:
        self.resume()
        self.process.terminate()
        self.process.wait(WAIT_S)


@contextmanager
def demo_broker() -> Iterator[int]:
    """Run the demonstration's broker; yield its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance.demo.broker", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(WAIT_S)
        process.stdout.close()


@contextmanager
def older(target: int) -> Iterator[tuple[int, list[bytes]]]:
    """A broker that hangs up on MQTT 5: what is older goes to ``target``. Yields the port and the levels tried."""
    levels: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                inward, _ = server.accept()
            except OSError:
                return
            start = inward.recv(4096)
            levels.append(start[8:9] if start[1] < 128 else start[9:10])
            if levels[-1] == b"\x05":
                inward.close()
                continue
            try:
                outward = socket.create_connection(("127.0.0.1", target))
            except ConnectionRefusedError:
                inward.close()
                continue
            outward.sendall(start)
            for source, sink in ((inward, outward), (outward, inward)):
                threading.Thread(target=copy, args=(source, sink), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1], levels
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(holds: Callable[[], bool], limit_s: float = WAIT_S) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.01)
    return holds()


def publisher(port: int, **broker: Any) -> AvatarPublisher:
    return AvatarPublisher(Broker(**{"url": f"mqtt://127.0.0.1:{port}", **broker}), DEVICE, INFO)


@contextmanager
def publishing(port: int, **broker: Any) -> Iterator[AvatarPublisher]:
    """A publisher that is connected."""
    made = publisher(port, **broker)
    made.start()
    try:
        assert wait_until(lambda: made.status().connected), made.status()
        yield made
    finally:
        made.close()


def a_state(**changes: Any) -> AvatarState:
    """A state in which every channel has a value of its own."""
    rng = np.random.default_rng(7)
    plain = AvatarState(
        stream="cam0",
        slot=0,
        sequence=1,
        session="k3f9q2",
        state=TrackingState.TRACKING,
        since_ns=1_000,
        confidence=0.98,
        captured_ns=time.monotonic_ns(),
        head=HeadPose((0.0, 0.1305, 0.0, 0.9914), (0.01, -0.02, -0.62)),
        gaze=Gaze((2.1, -0.4), (1.8, -0.5)),
        blendshapes=rng.uniform(0.001, 0.999, len(BLENDSHAPES)).astype(np.float32),
        visemes=rng.uniform(0.001, 0.999, len(VISEMES)).astype(np.float32),
        voice=Voice("mic0", 0, active=True, level=0.31, arousal=0.6),
        mood=rng.uniform(0.001, 0.999, len(MOODS)).astype(np.float32),
        latency_ms={"capture": 1.2, "detect": 0.0, "landmarks": 2.1, "expression": 0.2, "total": 4.9}
        | {"lookahead": 60.0, "listening": 11.7, "sound": 101.3},
    )
    return dataclasses.replace(plain, **changes)
