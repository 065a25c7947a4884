"""The soak in a hurry, seen from outside."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from appliance.demo.household import to_toml
from appliance.demo.scene import prepare
from appliance.publish.connection import Connection, subscriber
from appliance.settings import DESK_DIRECTORY, Broker, Settings, from_table
from tests.devices import paced, vcam
from tests.devices.paced import PacedMicrophone
from tests.devices.vcam import VirtualCamera
from tests.publish.brokers import Mosquitto, wait_until
from tests.soak.chaos import BACK_LIMIT_S, Chaos, Stage
from tests.soak.observing import Latencies, Report, Sample, look, open_kinds
from tests.soak.subject import CAMERA, MICROPHONE
from tests.soak.visitors import HEIGHT_PX, WIDTH_PX

REPOSITORY = Path(__file__).parents[2]
ROOT = "avatar/v1/soak/device"
REAL_CAMERA, REAL_MICROPHONE = f"soak-{os.getpid()}", "real"
SAMPLE_S, START_S = 2.0, 60.0
RESTED_LOOKS = 8
WARM_UP_FRAMES = 600  # before the first tenth begins: libraries set themselves up with the first of each thing


class Renderer:
    """A subscriber who keeps what is newest of health, and counts frames."""

    def __init__(self, port: int) -> None:
        self.frames = 0
        self.health: dict[str, Any] = {}
        broker, topics = Broker(url=f"mqtt://127.0.0.1:{port}"), [f"{ROOT}/health", f"{ROOT}/+/+/frame"]
        self.connection: Connection = subscriber(broker, "soak", topics, self._hear)

    def _hear(self, topic: str, payload: bytes) -> None:
        if topic.endswith("/health"):
            self.health = {**json.loads(payload), "heard_s": time.monotonic()}
        else:
            self.frames += 1

    def is_well(self, kind: str) -> bool:
        """Whether health, just heard, says so of the real camera or microphone."""
        name = {"camera": REAL_CAMERA, "microphone": REAL_MICROPHONE}[kind]
        state = self.health.get(f"{kind}s", {}).get(name, {})
        fresh = time.monotonic() - self.health.get("heard_s", 0) < 2
        # A loop in such a hurry leaves other threads little of the interpreter: overruns may be its own.
        poor = state.get("poor") or ""
        return fresh and bool(state) and not state["error"] and (not poor or poor.startswith("overruns"))


@dataclass(frozen=True)
class Haste:
    """What is run."""

    hours: float  # simulated
    fps: int
    seed: int
    pause_s: float  # mean, from one fault of a device to the next


def simulate(haste: Haste, folder: Path) -> Report:
    """Run the daemon for so many hours of frames; what it says is kept in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    count = WARM_UP_FRAMES + round(haste.hours * 3600 * haste.fps)
    with tempfile.TemporaryDirectory(prefix="soak-") as name, (folder / "daemon.log").open("wb") as log:
        scratch = Path(name)
        turns = np.memmap(scratch / "turns", np.float32, "w+", shape=(count, 2))
        turns[:] = np.nan
        broker, renderer = Mosquitto(scratch), None
        try:
            renderer = Renderer(broker.port)
            renderer.connection.start()
            began_s = time.monotonic()
            with _subject(scratch, broker.port, haste, log) as (daemon, camera, microphone):
                _await_turns(daemon, turns, WARM_UP_FRAMES)
                stage = Stage(camera, microphone, broker, daemon.pid, renderer.is_well)
                before = _rested(stage, 0.0)
                (scratch / "rested").touch()
                with Chaos(stage, haste.seed, haste.pause_s) as chaos:
                    samples = list(_samples(daemon, turns, min(SAMPLE_S, haste.hours * 36)))
                after = _rested(stage, 1.0)
                daemon.terminate()
                status = daemon.wait(START_S)
        finally:
            if renderer:
                renderer.connection.close()
            broker.stop()
        visitors = (scratch / "visitors").read_text(encoding="utf-8") if status == 0 else "unknown"
        report = Report("Soak, simulated", haste.hours, time.monotonic() - began_s, count, samples, _latencies(turns))
        report.rested = (before[0], after[0])
    report.notes = {
        "seed": haste.seed,
        "pictures a simulated second": haste.fps,
        "visitors": visitors,
        "frames that the subscriber got": renderer.frames,
        "faults": sum(chaos.faults.values()),
        **{f"of them {name}": number for name, number in sorted(chaos.faults.items())},
    }
    if leaked := after[1] - before[1]:
        report.notes["more is open of"] = dict(leaked)
    report.failures = [f"did not recover within {BACK_LIMIT_S:g} s: {fault}" for fault in chaos.stuck]
    if status != 0:
        report.failures.append(f"the daemon ended with status {status}; see {folder / 'daemon.log'}")
    return report


@contextmanager
def _subject(
    scratch: Path, port: int, haste: Haste, log: Any
) -> Iterator[tuple["subprocess.Popen[bytes]", VirtualCamera, PacedMicrophone]]:
    """The daemon with its devices."""
    desk = from_table({"storage": {"directory": DESK_DIRECTORY}, "camera": [{"name": "x", "source": "file:x"}]})
    clip = prepare(desk, print)
    camera, microphone = VirtualCamera(scratch / "camera"), PacedMicrophone(scratch / "microphone")
    configuration = paced.configuration(paced.build(scratch), {REAL_MICROPHONE: microphone.control})
    (scratch / "asound.conf").write_text(configuration, encoding="utf-8")
    (scratch / "appliance.toml").write_text(to_toml(_settings(desk, camera, haste.fps, port)), encoding="utf-8")
    order = {
        "settings": str(scratch / "appliance.toml"),
        "turns": str(scratch / "turns"),
        "clip": str(clip),
        "fps": haste.fps,
        "seed": haste.seed,
        "visitors": str(scratch / "visitors"),
        "rest_after": WARM_UP_FRAMES,
        "rest_is_over": str(scratch / "rested"),
    }
    (scratch / "order.json").write_text(json.dumps(order), encoding="utf-8")
    environment = {**os.environ, **vcam.environment(vcam.build(scratch), camera.device)}
    environment["ALSA_CONFIG_PATH"] = str(scratch / "asound.conf")
    command = [sys.executable, "-m", "tests.soak.subject", str(scratch / "order.json")]
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=log) as daemon:
        try:
            yield daemon, camera, microphone
        finally:
            daemon.terminate()


def _settings(desk: Settings, camera: VirtualCamera, fps: int, port: int) -> dict[str, Any]:
    real = {"name": REAL_CAMERA, "source": f"v4l2:{camera.device}", "width": 320, "height": 240, "fps": 10}
    visited = {"name": CAMERA, "source": "file:nowhere", "width": WIDTH_PX, "height": HEIGHT_PX, "fps": fps}
    return {
        "device": {"site": "soak", "name": "device"},
        "camera": [{**real, "microphone": REAL_MICROPHONE}, {**visited, "microphone": MICROPHONE}],
        "microphone": [
            {"name": REAL_MICROPHONE, "source": f"alsa:{REAL_MICROPHONE}"},
            {"name": MICROPHONE, "source": "file:nowhere"},
        ],
        # This is about what grows, not about a machine that others keep busy.
        "memory": {"high_mb": 2, "critical_mb": 1},
        "broker": {"url": f"mqtt://127.0.0.1:{port}"},
        "storage": {"directory": desk.storage.directory},
    }


def _done(turns: Any) -> int:
    """How many turns are done: they are written in order."""
    return int(np.searchsorted(np.isnan(turns[:, 0]), True))


def _rested(stage: Stage, share: float) -> tuple[Sample, Counter[str]]:
    """Look at the daemon while all its devices are well and its broker is there: at the least it holds."""
    wait_until(lambda: stage.is_well("camera") and stage.is_well("microphone"), START_S)
    time.sleep(SAMPLE_S)  # what ended a moment ago has let go by then
    looks = []
    for _ in range(RESTED_LOOKS):  # reading the machine opens a file for an instant
        looks.append((look(stage.daemon, share), open_kinds(stage.daemon)))
        time.sleep(0.1)
    whole = [(sample, kinds) for sample, kinds in looks if sample is not None]
    return min(whole, key=lambda seen: (seen[0].descriptors, seen[0].threads))


def _await_turns(daemon: "subprocess.Popen[bytes]", turns: Any, count: int) -> None:
    ends_s = time.monotonic() + START_S
    while np.isnan(turns[count - 1, 0]):
        if daemon.poll() is not None or time.monotonic() > ends_s:
            raise SystemExit("the daemon did not get going; see daemon.log")
        time.sleep(0.1)


def _samples(daemon: "subprocess.Popen[bytes]", turns: Any, step_s: float) -> Iterator[Sample]:
    """Look at the daemon now and then until it ends."""
    count = len(turns) - WARM_UP_FRAMES
    while daemon.poll() is None:
        done = _done(turns) - WARM_UP_FRAMES
        if done >= count:
            return
        if sample := look(daemon.pid, done / count):
            yield sample
        time.sleep(step_s)


def _latencies(turns: Any) -> dict[str, Latencies]:
    found = {"a turn on the clock": Latencies(), "its processor time": Latencies()}
    measured = np.asarray(turns)[WARM_UP_FRAMES:]
    tenths = np.array_split(measured, 10)
    for column, latencies in enumerate(found.values()):
        for tenth, part in enumerate(tenths):
            latencies.add((tenth + 0.5) / 10, part[~np.isnan(part[:, column]), column])
    return found
