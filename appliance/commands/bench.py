"""Measure this machine: frames a second, latency by stage, processor, memory, and how well the face is read."""

import argparse
import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from appliance.demo import household
from appliance.demo.scene import DESK as DESK
from appliance.demo.scene import film, judge, prepare
from appliance.demo.score import Score
from appliance.demo.subscriber import Notes, Subscriber, await_first
from appliance.health.processes import tree
from appliance.settings import Settings

SETTINGS = "desk"
EXAMPLE = """
appliance bench
appliance bench --seconds 600 --json > bench.json
"""

_SETTLE_S = 3.0  # after the first frame, before anything is counted
_STEP_S = 1.0


@dataclass(slots=True)
class Use:
    """What the daemon's processes took, a sample a second."""

    resident_mb: list[float] = field(default_factory=list)
    shared_once_mb: list[float] = field(default_factory=list)
    began_s: float = 0.0
    began_cpu_s: float = 0.0
    cpu_percent: float = 0.0

    def sample(self, pid: int) -> None:
        """Look at every process of the daemon once."""
        now_s, uses = time.monotonic(), tree(pid)
        cpu_s = sum(use.cpu_s for use in uses)
        self.resident_mb.append(sum(use.rss_mb for use in uses))
        self.shared_once_mb.append(sum(use.pss_mb or use.rss_mb for use in uses))
        if not self.began_s:
            self.began_s, self.began_cpu_s = now_s, cpu_s
        elif now_s > self.began_s:
            self.cpu_percent = 100 * (cpu_s - self.began_cpu_s) / (now_s - self.began_s)

    def growth_mb(self) -> float:
        """Mean of the last fifth of the samples minus that of the first."""
        fifth = max(1, len(self.resident_mb) // 5)
        return float(np.mean(self.resident_mb[-fifth:]) - np.mean(self.resident_mb[:fifth]))


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the measurement."""
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="how long to measure (default: 60)")
    parser.add_argument("--broker", metavar="mqtt://HOST:PORT", help="a broker to go through (default: its own)")
    parser.add_argument("--no-quality", action="store_true", help="leave out the score against the clip's truth")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Measure the demo clip through the real daemon, a broker and a subscriber, then print."""
    console = Console(stderr=arguments.json)
    clip = prepare(settings, console.print)
    with ExitStack() as parts:
        parts.enter_context(household.orderly())
        url = arguments.broker or parts.enter_context(household.broker())
        filmed = film(settings, clip, url)
        subscriber = parts.enter_context(Subscriber(filmed.broker, filmed.device))
        started_s = time.monotonic()
        daemon = parts.enter_context(household.daemon(filmed, arguments.verbose))
        await_first(subscriber, daemon)
        first_s = time.monotonic() - started_s
        use, before = _measure(arguments.seconds, subscriber, daemon, console)
        cameras = [camera.name for camera in filmed.camera]
        figures = _figures(subscriber, before, use, first_s, cameras)
    if cameras and not arguments.no_quality:
        console.print("scoring every picture of the clip against its truth")
        figures["quality"] = _quality(judge(clip, settings))
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        _print(console, figures)
    return 0


def _measure(
    seconds: float, subscriber: Subscriber, daemon: household.Process, console: Console
) -> tuple[Use, dict[str, Any]]:
    """Let it run; return what it took and the health when counting began."""
    time.sleep(_SETTLE_S)
    subscriber.begin()
    before, use, ends_s = dict(subscriber.health), Use(), time.monotonic() + seconds
    with console.status(f"measuring for {seconds:.0f} s"):
        while time.monotonic() < ends_s:
            use.sample(daemon.pid)
            household.check_running(daemon, "the daemon")
            time.sleep(min(_STEP_S, max(0.0, ends_s - time.monotonic())))
    use.sample(daemon.pid)
    return use, before


def _figures(
    subscriber: Subscriber, before: dict[str, Any], use: Use, first_s: float, cameras: list[str]
) -> dict[str, Any]:
    notes: Notes = subscriber.notes()
    after = subscriber.health
    return {
        "machine": {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
        "frames": {
            "received": notes.frames,
            "fps": round(notes.fps, 2),
            "states": dict(notes.states),
            "pictures dropped": {name: _grown(before, after, "cameras", name, "dropped") for name in cameras},
            "frames not sent": _grown(before, after, "dropped"),
            "frames lost on the way": notes.lost,
        },
        "latency_ms": {
            name: {"p50": round(p50, 2), "p99": round(p99, 2)} for name, (p50, p99) in notes.percentiles().items()
        },
        "start": {"process start to first frame received, s": round(first_s, 2)},
        "daemon": {
            "cpu, percent of a core": round(use.cpu_percent, 1),
            "resident, MB": round(max(use.resident_mb), 1),
            "resident, shared pages once, MB": round(max(use.shared_once_mb), 1),
            "growth, MB": round(use.growth_mb(), 2),
        },
    }


def _grown(before: dict[str, Any], after: dict[str, Any], *path: str) -> int | None:
    """How much a counter of the health topic grew; None where the topic never came."""
    for key in path:
        before, after = before.get(key, {}), after.get(key, {})
    return after - before if isinstance(after, int) and isinstance(before, int) else None


def _quality(score: Score) -> dict[str, Any]:
    return {
        "correlation": {name: round(value, 3) for name, value in score.correlation.items()},
        "found after, s": [round(value, 2) for value in score.found_s],
        "lost after, s": [round(value, 2) for value in score.lost_s],
    }


def _print(console: Console, figures: dict[str, Any]) -> None:
    latency = Table("stage", "p50 ms", "p99 ms", title="Latency")
    for name, row in figures["latency_ms"].items():
        latency.add_row(name, f"{row['p50']:.2f}", f"{row['p99']:.2f}")
    console.print(latency)
    rest = Table("what", "figure", title="The rest")
    for section in ("machine", "frames", "start", "daemon", "quality"):
        for name, value in figures.get(section, {}).items():
            rest.add_row(name, json.dumps(value).strip('"{}'))
    console.print(rest)
