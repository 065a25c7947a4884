"""What a bad broker and a bad network do to a publisher in a process of its own; ``stress.py`` is the long run."""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from brokers import ROOT, Mosquitto, is_listening, wait_until
from sites import Site

from appliance.publish import wire
from appliance.publish.connection import Connection, subscriber
from appliance.settings import Broker
from provisioning.certificates import Role

RECOVERY_S = 3.0
GROWTH_MB = 5.0
LATE_S = 1.0
RETAINED = ("availability", "info", "cam0/0/state", "health")
WARM_S, SETTLED_S = 2.0, 1.5  # what is not counted at the start; what comes after the last disturbance


@dataclass
class Found:
    """What was seen."""

    recoveries_s: list[float] = field(default_factory=list)
    growth_mb: float = 0.0
    late: int = 0
    disordered: int = 0
    frames: int = 0
    took_ms: list[float] = field(default_factory=list)
    spent_ms: list[float] = field(default_factory=list)
    cpu_percent: float = 0.0

    def __str__(self) -> str:
        recovery = f"recovery median {np.median(self.recoveries_s):.2f}, most {max(self.recoveries_s):.2f} s"
        frames = f"{self.frames} frames, {self.late} later than {LATE_S:.0f} s, {self.disordered} out of order"
        return f"{len(self.recoveries_s)} times: {recovery}; growth {self.growth_mb:.2f} MB; {frames}; {self.cost()}"

    def cost(self) -> str:
        p50, p99 = np.percentile(self.took_ms, (50, 99))
        spent = f"{np.percentile(self.spent_ms, 99):.2f} ms p99 on the processor"
        return f"send {p50:.2f} ms p50, {p99:.2f} ms p99, {spent}; {self.cpu_percent:.1f} % of a core"

    def problems(self) -> list[str]:
        return [
            text
            for text, wrong in (
                (
                    f"recovery took {max(self.recoveries_s, default=0):.2f} s",
                    max(self.recoveries_s, default=0) > RECOVERY_S,
                ),
                (f"memory grew by {self.growth_mb:.1f} MB", self.growth_mb > GROWTH_MB),
                (f"{self.late} frames came late", self.late > 0),
                (f"{self.disordered} frames came out of order", self.disordered > 0),
            )
            if wrong
        ]


class Sender:
    """The publisher's process, and what it said last."""

    def __init__(self, broker: dict[str, str], before: tuple[str, ...] = ()) -> None:
        script = str(Path(__file__).with_name("sender.py"))
        self.process = subprocess.Popen(
            [*before, sys.executable, script, json.dumps(broker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said: list[dict[str, Any]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def summary(self, found: Found) -> None:
        """Add what the process said, after its first seconds, to what was found."""
        settled = self.said[round(WARM_S) :]
        found.growth_mb = max(0.0, settled[-1]["rss_mb"] - settled[0]["rss_mb"])
        found.took_ms = [took for said in settled for took in said["took_ms"]]
        found.spent_ms = [spent for said in settled for spent in said["spent_ms"]]
        spent_s, passed_s = (settled[-1][key] - settled[0][key] for key in ("cpu_s", "at_s"))
        found.cpu_percent = 100 * spent_s / passed_s

    def close(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(15)


class Watcher:
    """A renderer that is there all the time and judges every frame."""

    def __init__(self, broker: Broker, found: Found) -> None:
        self._found, self._last_ns = found, 0
        self._connection = subscriber(broker, "watcher", [f"{ROOT}/+/+/frame"], self._hear)
        self._connection.start()

    def _hear(self, _topic: str, payload: bytes) -> None:
        captured_ns = wire.decode(payload).captured_ns
        self._found.frames += 1
        self._found.late += time.monotonic_ns() - captured_ns > LATE_S * 1e9
        self._found.disordered += captured_ns <= self._last_ns
        self._last_ns = captured_ns

    def is_connected(self) -> bool:
        return self._connection.status().connected

    def close(self) -> None:
        self._connection.close()


def recovered(broker: Broker, since_ns: int) -> bool:
    """Wait until a newcomer is told everything that is retained, and sees a frame captured since."""
    heard: dict[str, bytes] = {}
    newcomer: Connection = subscriber(broker, "newcomer", [f"{ROOT}/#"], heard.__setitem__)
    newcomer.start()

    def is_right() -> bool:
        frame = heard.get(f"{ROOT}/cam0/0/frame")
        told = all(f"{ROOT}/{leaf}" in heard for leaf in RETAINED) and heard[f"{ROOT}/availability"] == wire.ONLINE
        return told and frame is not None and wire.decode(frame).captured_ns > since_ns

    right = wait_until(is_right, 10.0)
    newcomer.close()
    return right


@dataclass(frozen=True)
class Weather:
    """Who is there while something is wrong, and what was found."""

    broker: Mosquitto
    sender: Sender
    renderer: Broker
    found: Found

    def after(self, seconds: float, act: Callable[[], None], mend: Callable[[], None]) -> None:
        """Break something for a while, mend it, and note how long it takes until everything is right."""
        act()
        time.sleep(seconds)
        mend()
        since_ns = time.monotonic_ns()
        if not recovered(self.renderer, since_ns):
            self.found.recoveries_s.append(float("inf"))
            return
        self.found.recoveries_s.append((time.monotonic_ns() - since_ns) / 1e9)
        time.sleep(0.3)


@contextmanager
def weather(site: Site, address: str = "127.0.0.1", within: tuple[str, ...] = ()) -> Iterator[Weather]:
    """A broker, a device that publishes to it at ``address``, ``within`` a command, and a renderer that watches."""
    device, renderer = site.member(Role.DEVICE, "lobby/orin-07"), Broker(**site.member(Role.RENDERER, "screen"))
    device["url"] = device["url"].replace("127.0.0.1", address)
    broker, found = site.start(), Found()
    assert wait_until(lambda: is_listening(site.certificates))
    sender, watcher = Sender(device, within), Watcher(renderer, found)
    assert wait_until(lambda: len(sender.said) > WARM_S, 30.0)
    yield Weather(broker, sender, renderer, found)
    time.sleep(SETTLED_S)
    assert sender.process.poll() is None, "the publisher's process ended"
    assert sender.close() == 0
    watcher.close()
    broker.stop()
    sender.summary(found)


def restarts(folder: Path, times: int, seed: int = 1) -> Found:
    """Kill the broker and start it again, with pauses at random."""
    rng, site = random.Random(seed), Site(folder)

    with weather(site) as now:

        def mend() -> None:
            now.broker.start()
            assert wait_until(lambda: is_listening(site.certificates))

        for _ in range(times):
            now.after(rng.choice((0.0, 0.2, 1.0, 2.0)), now.broker.kill, mend)
    return now.found


@contextmanager
def namespace(number: int) -> Iterator[tuple[str, str, Callable[[bool], None]]]:
    """A network namespace beside ours; yields its name, our address in it, and what makes the network silent.

    Silent as a pulled cable behind a switch: packets go to a hardware address that nobody has, nothing is refused.
    """
    name, ours, theirs = f"avatar{number}", f"av{number}a", f"av{number}b"
    here, there = f"10.213.{number % 250}.1", f"10.213.{number % 250}.2"

    def ip(*words: str) -> None:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr.strip()} (network namespaces need root)"

    def cut(silent: bool) -> None:
        for inside, peer, device in (((), there, ours), (("-n", name), here, theirs)):
            if silent:
                ip(*inside, "neigh", "replace", peer, "lladdr", "02:00:00:00:00:01", "dev", device, "nud", "permanent")
            else:
                ip(*inside, "neigh", "del", peer, "dev", device)

    ip("netns", "add", name)
    try:
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        for inside, address, device in (((), here, ours), (("-n", name), there, theirs)):
            ip(*inside, "addr", "add", f"{address}/24", "dev", device)
            ip(*inside, "link", "set", device, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name, here, cut
    finally:
        ip("netns", "del", name)


def cuts(folder: Path, times: int, seed: int = 2) -> Found:
    """Let the network between the device and its broker go silent, for half a second to four."""
    rng = random.Random(seed)
    with namespace(random.randrange(1, 250)) as (name, address, cut):
        site = Site(folder, hosts=("127.0.0.1", address), listen="0.0.0.0")
        with weather(site, address, ("ip", "netns", "exec", name)) as now:
            for _ in range(times):
                now.after(rng.choice((0.5, 1.0, 2.0, 4.0)), lambda: cut(True), lambda: cut(False))
    return now.found


def at_rest(folder: Path, seconds: float) -> Found:
    """Nothing goes wrong: what publishing costs."""
    with weather(Site(folder)) as now:
        assert wait_until(lambda: len(now.sender.said) > WARM_S + seconds, seconds + 30.0)
    return now.found
