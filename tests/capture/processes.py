"""Appliances and capture processes as an operating system sees them."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

APPLIANCE = """
import signal, sys
from appliance import settings
from appliance.capture.supervisor import Cameras
camera = settings.Camera(name=sys.argv[1], source=sys.argv[2], width=320, height=240, loop=True)
with Cameras([camera], print) as cameras:
    signal.signal(signal.SIGTERM, lambda *_: cameras.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for step in cameras.ready():
        print(step[0].sequence, flush=True)
"""


def start_appliance(name: str, source: str) -> "subprocess.Popen[bytes]":
    """Run an appliance of one camera in a process of its own, until its first picture."""
    appliance = subprocess.Popen([sys.executable, "-c", APPLIANCE, name, source], stdout=subprocess.PIPE)
    assert appliance.stdout is not None
    while appliance.stdout.readline().strip() == b"0":
        pass
    return appliance


def capture_processes(parent: int) -> list[int]:
    """The capture processes of a process, by its number."""
    found = subprocess.run(["pgrep", "-P", str(parent), "-f", "appliance.capture.process"], stdout=subprocess.PIPE)
    return [int(line) for line in found.stdout.split()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], limit_s: float = 10.0) -> bool:
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
