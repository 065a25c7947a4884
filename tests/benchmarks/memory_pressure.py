"""Takes memory away from the real daemon until the kernel would kill it, and watches what it sheds and gives back.

Daemon and hog share a control group with a limit of its own, which needs root; kills are the kernel's own count.

python tests/benchmarks/memory_pressure.py --runs 20
python tests/benchmarks/memory_pressure.py --runs 3 --kind thrash      page cache that does not fit
python tests/benchmarks/memory_pressure.py --runs 1 --without          sheds nothing: the kernel kills
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from appliance.demo import household
from appliance.demo.scene import DESK, film, prepare
from appliance.health.files import counters, text
from appliance.health.limits import granted_bytes
from appliance.health.proc import parse_pressure
from appliance.health.processes import tree
from appliance.publish import wire
from appliance.publish.connection import subscriber
from appliance.settings import Settings, from_table

LIMIT_MB, HIGH_MB, CRITICAL_MB = 1000, 450, 250
OVER_MB = 60  # the hog wants so much more than the group has while the daemon holds all
HOG_MB_S = 60
THRASH_S, STALLED_PERCENT = 25, 10
HOLD_S, PATIENCE_S = 3.0, 60.0
STEP_S = 0.02
MB = 1 << 20

HOG = """
import sys, time
megabytes, rate = int(sys.argv[1]), int(sys.argv[2])
held = []
for _ in range(megabytes // 4):
    held.append(bytearray(b"x" * (4 << 20)))
    time.sleep(4 / rate)
print("full", flush=True)
sys.stdin.read()
"""

THRASH = """
import mmap, os, sys, time
with open(sys.argv[1], "rb") as file:
    pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
phase = 0 if os.fork() else (1 if os.fork() else 2)
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    for place in range(phase << 20, len(pages), 64 * 4096):
        pages[place]
print("full", flush=True)
"""


class Group:
    """A control group for memory, of version 1 or 2."""

    def __init__(self, limit_mb: int) -> None:
        mount = Path("/sys/fs/cgroup")
        self._old = (mount / "memory").is_dir()
        self._folder = (mount / "memory" if self._old else mount) / f"avatar-pressure-{os.getpid()}"
        if not self._old:
            with suppress(OSError):
                (mount / "cgroup.subtree_control").write_text("+memory")
        self._folder.mkdir()
        (self._folder / ("memory.limit_in_bytes" if self._old else "memory.max")).write_text(str(limit_mb * MB))

    def inside(self, command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        """Start a process in it."""
        enter = f'echo $$ > {self._folder}/cgroup.procs && exec "$@"'
        return subprocess.Popen(["/bin/sh", "-c", enter, "sh", *command], **options)

    def room_mb(self) -> float:
        """What it still grants, by the daemon's own reckoning."""
        return (granted_bytes(self._folder) or 0) / MB

    def kills(self) -> int:
        return counters(text(self._folder / ("memory.oom_control" if self._old else "memory.events"))).get(
            "oom_kill", 0
        )

    def close(self) -> None:
        until_s = time.monotonic() + 5
        while time.monotonic() < until_s:
            with suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(STEP_S)


@dataclass
class Heard:
    """What came over the broker, each with when."""

    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    frames: list[tuple[float, str]] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=dict)

    def take(self, topic: str, payload: bytes) -> None:
        address = wire.parse_topic(topic)
        if address is None:
            return
        now_s = time.monotonic()
        if address.leaf == "event":
            self.events.append((now_s, json.loads(payload)))
        elif address.leaf == "frame":
            self.frames.append((now_s, json.loads(payload)["state"]))
        elif address.leaf == "health":
            self.health = json.loads(payload)

    def shed_s(self, step: str, since_s: float) -> float | None:
        """When a step, or one beyond it, was taken first."""
        order = ("rare_searches", "half_rate", "small_batches", "no_visemes", "pools_released", "voice_only")
        beyond = order[order.index(step) :]
        return next(
            (
                at_s
                for at_s, event in self.events
                if at_s > since_s and event["event"] == "load_shed" and event["step"] in beyond
            ),
            None,
        )


class Sampler:
    """Notes fifty times a second how much room is left and how much the daemon holds."""

    def __init__(self, group: Group, pid: int) -> None:
        self._group, self._pid = group, pid
        self.room: list[tuple[float, float]] = []
        self.stalls: list[tuple[float, float]] = []
        self.held: list[tuple[float, float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        looks = 0
        while not self._stop.wait(STEP_S):
            now_s = time.monotonic()
            self.room.append((now_s, self._group.room_mb()))
            self.stalls.append((now_s, parse_pressure(text(Path("/proc/pressure/memory")))[0] or 0.0))
            looks += 1
            if looks % 10 == 0:
                uses = tree(self._pid)
                rss_mb = sum(use.rss_mb for use in uses)
                self.held.append((now_s, rss_mb, sum(use.pss_mb or use.rss_mb for use in uses)))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def crossed_s(self, limit_mb: float, since_s: float) -> float | None:
        return next((at_s for at_s, room_mb in self.room if at_s > since_s and room_mb < limit_mb), None)

    def stalled_s(self, percent: float, since_s: float) -> float | None:
        return next((at_s for at_s, some in self.stalls if at_s > since_s and some > percent), None)

    def held_mb(self, begin_s: float, end_s: float) -> tuple[float, float]:
        """Mean resident memory of all processes, and with shared pages counted once."""
        inside = [(rss_mb, pss_mb) for at_s, rss_mb, pss_mb in self.held if begin_s <= at_s <= end_s] or [
            self.held[-1][1:]
        ]
        return statistics.mean(rss for rss, _ in inside), statistics.mean(pss for _, pss in inside)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--kind", choices=("memory", "thrash"), default="memory")
    parser.add_argument("--runner", default="auto", choices=("auto", "openvino", "onnxruntime"))
    parser.add_argument("--without", action="store_true", help="with limits so low that nothing is shed")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("control groups need root")
    rows = [one_run(arguments, number) for number in range(arguments.runs)]
    kills = sum(int(row["kills"]) for row in rows)
    print(f"{len(rows)} runs, {kills} kills; tracking again in {sum(bool(row['tracks again']) for row in rows)}")
    for name, figures in summary(rows).items():
        print(f"{name:30} {figures}")
    return 0


def summary(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Smallest, middle and largest of every figure, and in how many runs there was none."""
    figures: dict[str, str] = {}
    for name in rows[0]:
        values = [row[name] for row in rows if isinstance(row[name], float)]
        if values:
            without = f", none in {len(rows) - len(values)}" if len(values) < len(rows) else ""
            figures[name] = f"{min(values):.2f} .. {statistics.median(values):.2f} .. {max(values):.2f}{without}"
    return figures


def settings_of(arguments: argparse.Namespace, number: int, url: str) -> Settings:
    overrides = [
        f'camera.name="pressure-{os.getpid()}-{number}"',
        f'engines.runner="{arguments.runner}"',
        f"memory.high_mb={2 if arguments.without else HIGH_MB}",
        f"memory.critical_mb={1 if arguments.without else CRITICAL_MB}",
    ]
    settings = from_table(DESK, overrides)
    return film(settings, prepare(settings, print), url)


@contextmanager
def daemon(group: Group, settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    with tempfile.TemporaryDirectory(prefix="avatar-pressure-") as folder:
        path = Path(folder) / "appliance.toml"
        path.write_text(household.to_toml(asdict(settings)), encoding="utf-8")
        process = group.inside([sys.executable, "-m", "appliance", "run", "--quiet", "--config", str(path)])
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def until(true: Callable[[], object], limit_s: float = PATIENCE_S) -> bool:
    ends_s = time.monotonic() + limit_s
    while not true() and time.monotonic() < ends_s:
        time.sleep(STEP_S)
    return bool(true())


def one_run(arguments: argparse.Namespace, number: int) -> dict[str, Any]:
    group, heard = Group(LIMIT_MB), Heard()
    try:
        with household.orderly(), household.broker() as url:
            settings = settings_of(arguments, number, url)
            connection = subscriber(settings.broker, f"pressure-{os.getpid()}", [f"{wire.ROOT}/#"], heard.take)
            connection.start()
            with daemon(group, settings) as process:
                sampler = Sampler(group, process.pid)
                row = squeeze(arguments, group, heard, process, sampler)
                sampler.close()
            connection.close()
    finally:
        group.close()
    print(json.dumps(row), flush=True)
    return row


def squeeze(
    arguments: argparse.Namespace,
    group: Group,
    heard: Heard,
    process: "subprocess.Popen[bytes]",
    sampler: Sampler,
) -> dict[str, Any]:
    """Let it run, take its memory away, give it back."""
    until(lambda: any(state == "tracking" for _, state in heard.frames))
    time.sleep(HOLD_S)
    began_s = time.monotonic()
    before_mb, before_pss_mb = sampler.held_mb(began_s - HOLD_S / 2, began_s)
    hog = start_hog(arguments.kind, group)
    assert hog.stdin is not None
    until(lambda: hog.poll() is not None or process.poll() is not None or b"full" in said(hog), 40)
    time.sleep(HOLD_S if arguments.kind == "memory" else 0)
    full_s = time.monotonic()
    after_mb, after_pss_mb = sampler.held_mb(full_s - HOLD_S / 2, full_s)
    voiced = [state for at_s, state in heard.frames if at_s > full_s - HOLD_S / 2]
    lowest_mb = min(room_mb for at_s, room_mb in sampler.room if at_s > began_s)
    hog.kill()
    hog.wait()
    freed_s = time.monotonic()
    came_back = until(lambda: heard.health.get("load", {}).get("step") == "all" or process.poll() is not None)
    back_s = time.monotonic()
    tracked = until(lambda: any(at_s > back_s - 5 and state == "tracking" for at_s, state in heard.frames), 15)
    signs_s = (sampler.stalled_s(STALLED_PERCENT, began_s), sampler.crossed_s(HIGH_MB, began_s))
    high_s = min((at_s for at_s in signs_s if at_s), default=None)
    critical_s = sampler.crossed_s(CRITICAL_MB, began_s)
    return {
        "kills": group.kills() + (process.poll() is not None),
        "least room, MB": round(lowest_mb, 1),
        "high to shed, s": after(high_s, heard.shed_s("rare_searches", began_s)),
        "critical to shed, s": after(critical_s, heard.shed_s("pools_released", began_s)),
        "critical to voice only, s": after(critical_s, heard.shed_s("voice_only", began_s)),
        "resident before, MB": round(before_mb, 1),
        "resident after, MB": round(after_mb, 1),
        "less resident, %": round(100 * (1 - after_mb / before_mb), 1),
        "shared once before, MB": round(before_pss_mb, 1),
        "shared once after, MB": round(after_pss_mb, 1),
        "less, shared once, %": round(100 * (1 - after_pss_mb / before_pss_mb), 1),
        "frames a second at the end": round(len(voiced) / (HOLD_S / 2), 1),
        "states then": sorted(set(voiced)),
        "all restored after, s": round(back_s - freed_s, 1) if came_back else None,
        "tracks again": tracked,
    }


def start_hog(kind: str, group: Group) -> "subprocess.Popen[bytes]":
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    if kind == "memory":
        wanted_mb = round(group.room_mb() + OVER_MB)
        return group.inside([sys.executable, "-c", HOG, str(wanted_mb), str(HOG_MB_S)], **pipes)
    place = Path(tempfile.gettempdir()) / "avatar-pressure.bin"
    if not place.exists():
        with place.open("wb") as file:
            for _ in range(LIMIT_MB + LIMIT_MB // 4):
                file.write(os.urandom(MB))
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # or its pages would be charged to us
    return group.inside([sys.executable, "-c", THRASH, str(place), str(THRASH_S)], **pipes)


def said(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    return process.stdout.read() or b""


def after(crossed_s: float | None, shed_s: float | None) -> float | None:
    return None if crossed_s is None or shed_s is None else round(shed_s - crossed_s, 2)


if __name__ == "__main__":
    sys.exit(main())
