"""What is outside the device: a network of its own, a broker with TLS and passwords, and a listener."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from .root import BROKER, BROKER_ADDRESS, REPOSITORY

BRIDGE = "br0"
TOPIC = "avatar/v1/booth/orin-07"
USER, PASSWORD, LISTENER = "booth", "a secret of the booth", "renderer"

_CONFIG = """
allow_anonymous false
password_file {folder}/passwords
acl_file {folder}/acl
persistence false
set_tcp_nodelay true
user root
listener 8883 {address}
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
tls_version tlsv1.2
"""

_ACL = f"""
user {USER}
topic write {TOPIC}/#
user {LISTENER}
topic read avatar/#
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """One message, when it came (CLOCK_MONOTONIC, which the container shares)."""

    at_ns: int
    topic: str  # below the device's
    payload: str


class Network:
    """A network namespace with a bridge, mosquitto and a listener that keeps what it hears. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.secrets = folder / "broker"
        self.secrets.mkdir()
        self._namespace = f"avatar-boot-{os.getpid()}"
        self.join = ["nsenter", f"--net=/run/netns/{self._namespace}"]
        self.heard: list[Heard] = []
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Network":
        _run("ip", "netns", "add", self._namespace)
        for words in (f"link add {BRIDGE} type bridge", f"link set {BRIDGE} up", "link set lo up"):
            _run(*self.join, "ip", *words.split())
        _run(*self.join, "ip", "addr", "add", f"{BROKER_ADDRESS}/24", "dev", BRIDGE)
        self._certify()
        config = self.secrets / "mosquitto.conf"
        config.write_text(_CONFIG.format(folder=self.secrets, address=BROKER_ADDRESS))
        (self.secrets / "acl").write_text(_ACL)
        for user in (USER, LISTENER):
            new = [] if (self.secrets / "passwords").exists() else ["-c"]
            _run("mosquitto_passwd", "-b", *new, str(self.secrets / "passwords"), user, PASSWORD)
        self._start("mosquitto", "-c", str(config))
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
            process.wait(10)
        _run("ip", "netns", "delete", self._namespace)

    def plug(self, connected: bool) -> None:
        """Connect the device's cable, or pull it."""
        _run(*self.join, "ip", "link", "set", BRIDGE, "up" if connected else "down")
        if connected:
            _run(*self.join, "ip", "addr", "replace", f"{BROKER_ADDRESS}/24", "dev", BRIDGE)

    def first(self, topic: str, after_ns: int, limit_s: float, like: Callable[[str], bool] = bool) -> Heard | None:
        """Return the first message on a topic after a moment; ``None`` if none comes in time."""
        ends_s = time.monotonic() + limit_s
        seen = 0
        while True:
            ended, known = time.monotonic() > ends_s, len(self.heard)
            for message in self.heard[seen:known]:
                if message.at_ns > after_ns and message.topic == topic and like(message.payload):
                    return message
            if ended:
                return None
            seen = known
            time.sleep(0.01)

    def longest_gap_s(self, topic: str, since_ns: int) -> float:
        """Return the longest time without a message on a topic, up to now."""
        times = [since_ns, *(one.at_ns for one in self.heard if one.topic == topic and one.at_ns > since_ns)]
        times.append(time.monotonic_ns())
        return max(later - earlier for earlier, later in pairwise(times)) / 1e9

    def said(self, topic: str, since_ns: int) -> list[Any]:
        """Return what was said on a topic since a moment, parsed."""
        return [json.loads(one.payload) for one in self.heard if one.topic == topic and one.at_ns > since_ns]

    def _certify(self) -> None:
        """A site's own authority, and the broker's certificate, valid for a year."""
        folder = self.secrets
        (folder / "mqtt.user").write_text(f"{USER}\n")
        (folder / "mqtt.password").write_text(f"{PASSWORD}\n")
        (folder / "names").write_text(f"subjectAltName=DNS:{BROKER},IP:{BROKER_ADDRESS}\n")
        key = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        for command in (
            f"{key} -x509 -days 365 -subj /CN=booth -keyout ca.key -out ca.pem",
            f"{key} -subj /CN={BROKER} -keyout server.key -out server.csr",
            "openssl x509 -req -days 365 -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names "
            "-in server.csr -out server.pem",
        ):
            subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)

    def _listen(self) -> None:
        words = ["-m", "tests.boot.listener", BROKER_ADDRESS, str(self.secrets / "ca.pem"), LISTENER, PASSWORD]
        process = self._start(sys.executable, *words)
        threading.Thread(target=self._keep, args=(process,), daemon=True).start()
        if self.first("listening", 0, 20) is None:
            raise RuntimeError("the listener did not reach the broker")

    def _start(self, *command: str) -> "subprocess.Popen[str]":
        words = [*self.join, *command]
        process = subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._processes.append(process)
        return process

    def _keep(self, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            at_ns, topic, payload = line.rstrip("\n").split(" ", 2)
            self.heard.append(Heard(int(at_ns), topic.removeprefix(f"{TOPIC}/"), payload))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
