"""The soak of a real appliance, seen from outside: its process, and what it publishes."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from appliance.publish.connection import subscriber
from appliance.publish.wire import Topics, decode
from appliance.settings import load
from tests.soak.observing import Latencies, Report, Sample, look

SAMPLE_S = 10.0
SERVICE = "avatar-appliance.service"


class Witness:
    """A subscriber on the device who notes latencies and events."""

    def __init__(self, settings_file: Path, hours: float) -> None:
        settings = load(settings_file)
        self._topics = Topics(settings.device.site, settings.device.name)
        topics = [f"{self._topics.root}/+/+/frame", self._topics.event]
        self.connection = subscriber(settings.broker, "soak", topics, self._hear)
        self._began_s, self._lasts_s = time.monotonic(), hours * 3600
        self.latencies = Latencies()
        self.events: dict[str, int] = {}

    @property
    def share(self) -> float:
        """How much of the run is over."""
        return (time.monotonic() - self._began_s) / self._lasts_s

    def _hear(self, topic: str, payload: bytes) -> None:
        if topic == self._topics.event:
            event = str(json.loads(payload).get("event"))
            self.events[event] = self.events.get(event, 0) + 1
        else:
            self.latencies.add(self.share, (time.monotonic_ns() - decode(payload).captured_ns) / 1e6)


def watch(hours: float, settings_file: Path, pid: int | None) -> Report:
    """Look on at a running appliance for so many hours. Another process in its place is a failure."""
    pid = pid or _main_pid()
    witness, samples, failures = Witness(settings_file, hours), list[Sample](), list[str]()
    witness.connection.start()
    began_s = time.monotonic()
    step_s = min(SAMPLE_S, hours * 3600 / 100)
    while witness.share < 1:
        sample = look(pid, witness.share)
        if sample is None:
            failures.append(f"process {pid} ended after {witness.share * hours:.2f} hours")
            break
        samples.append(sample)
        time.sleep(step_s)
    witness.connection.close()
    latencies: dict[str, Any] = {"capture to subscriber": witness.latencies}
    count = witness.latencies.count()
    report = Report("Soak of a device", hours, time.monotonic() - began_s, count, samples, latencies)
    report.notes, report.failures = {"events": witness.events}, failures
    return report


def _main_pid() -> int:
    shown = subprocess.run(["systemctl", "show", "-P", "MainPID", SERVICE], stdout=subprocess.PIPE, text=True)
    pid = int(shown.stdout.strip() or 0)
    if not pid:
        raise SystemExit(f"{SERVICE} does not run; start it, or name a process with --pid")
    return pid
