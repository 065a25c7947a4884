"""A real broker, the real viewer process, and things to publish."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from appliance.publish.mqtt import AvatarPublisher
from tests.publish.brokers import Mosquitto, publishing

STREAM = "avatar/v1/lobby/orin-07/cam0/0"
WAIT_S = 15.0  # a hang, not a speed: nothing here takes a tenth of it


class Publisher:
    """A device, as far as the broker can tell."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def send(self, topic: str, payload: Mapping[str, Any] | bytes, retain: bool = False) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._client.publish(topic, body, qos=1, retain=retain).wait_for_publish(WAIT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Command:
    """One of our commands that read from a broker, a process of its own."""

    def __init__(self, port: int, *words: str) -> None:
        command = [sys.executable, "-m", "appliance", *words, "--set", f"broker.url=mqtt://127.0.0.1:{port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout
        return self.process.stdout.readline()

    def wait(self) -> tuple[int, str, str]:
        """Its status, output and errors, once it has ended by itself."""
        out, errors = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, out, errors

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        return self.wait()


class Viewer:
    """`appliance viewer` on a free port, or as its options say."""

    def __init__(self, broker_url: str, *options: str) -> None:
        command = [sys.executable, "-m", "appliance", "viewer", "--port", "0", "--set", f"broker.url={broker_url}"]
        command += options
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line.startswith("viewer: http://"), line
        self.url = line.split()[1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(WAIT_S)
        finally:
            if self._process.poll() is None:
                self._process.kill()
            if self._process.stdout:
                self._process.stdout.close()


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def port(mosquitto: Mosquitto) -> int:
    return mosquitto.port


@pytest.fixture
def device(port: int) -> Iterator[AvatarPublisher]:
    """A device with our own publisher."""
    with publishing(port) as made:
        yield made


@pytest.fixture(scope="module")
def viewer(mosquitto: Mosquitto) -> Iterator[Viewer]:
    process = Viewer(mosquitto.url)
    yield process
    process.end()


@pytest.fixture
def publisher(mosquitto: Mosquitto) -> Iterator[Publisher]:
    device = Publisher(mosquitto.port)
    yield device
    device.close()


def frame(seq: int = 1, **parts: Any) -> dict[str, Any]:
    """One frame of the contract; ``parts`` replace its fields."""
    return {
        "v": 1,
        "seq": seq,
        "session": "k3f9q2",
        "state": "tracking",
        "confidence": 0.98,
        "captured_ns": time.monotonic_ns(),
        "captured_utc_ns": time.time_ns(),
        "head": {"rotation": [0.0, 0.0, 0.0, 1.0], "position": [0.0, 0.0, -0.6]},
        "gaze": {"left": [0.0, 0.0], "right": [0.0, 0.0]},
        "blendshapes": {"jawOpen": 0.0},
        "visemes": {"sil": 1.0, "aa": 0.0},
        "voice": {"active": False, "level": 0.0, "arousal": 0.5},
        "mood": {"neutral": 1.0, "happy": 0.0},
        "latency_ms": {"capture": 1.2, "landmarks": 2.1, "total": 4.9},
        **parts,
    }
