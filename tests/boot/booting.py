"""From the power switch to the first frame, and what the running service may and may not do."""

import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from .machine import SERVICE, Machine
from .results import Result, at_most, holds

BOOT_LIMIT_S, START_LIMIT_S, MOST_EXPOSURE = 6.0, 2.5, 2.0
NETWORK_LIMIT_S = 6.0


def boot(machine: Machine, times: int) -> Iterator[Result]:
    """Switch on several times, with files read before and after a night; the slowest counts."""
    for warmth in ("files in memory", "files on disk alone"):
        boots_s, starts_s = [], []
        for _ in range(times):
            if warmth == "files on disk alone":
                machine.cool()
            on_ns = machine.start()
            first_ns = machine.first_frame_ns(on_ns)
            began_ns = int(machine.shown("ExecMainStartTimestampMonotonic")) * 1000
            boots_s.append((first_ns - on_ns) / 1e9)
            starts_s.append((first_ns - began_ns) / 1e9)
            machine.cut()
        for what, taken_s, limit_s in (("power-on", boots_s, BOOT_LIMIT_S), ("process start", starts_s, START_LIMIT_S)):
            middle_s = statistics.median(taken_s)
            text = f"{what} to first frame outside, {warmth}: slowest of {times} (median {middle_s:.2f} s)"
            yield at_most(text, max(taken_s), limit_s)


def sandbox(machine: Machine) -> Iterator[Result]:
    """What the kernel says that the service is held to, and systemd's own opinion."""
    machine.first_frame_ns(machine.start())
    said = machine.run("systemd-analyze", "security", SERVICE, "--no-pager")
    exposure = float((re.search(r"exposure level for \S+: ([0-9.]+)", said) or ["", "10"])[1])
    yield Result("systemd-analyze security", f"{exposure}", f"{MOST_EXPOSURE}", exposure <= MOST_EXPOSURE)
    status = Path(f"/proc/{machine.main_pid()}/status").read_text()
    kept = {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    for name, value in kept.items():
        found = (re.search(rf"{name}:\s+(\S+)", status) or ["", "nothing"])[1]
        yield holds(f"kernel: {name} is {value}", found == value, found)
    seen = Path(f"/proc/{machine.main_pid()}/root")
    yield holds("its /home is empty", not list((seen / "home").iterdir()))
    pid = machine.shown("MainPID")
    enter = ["nsenter", "-t", pid, "-m", "--setuid", machine.run("id", "-u", "avatar"), "sh", "-c"]
    for place in ("/etc", "/opt/avatar-appliance", "/var/log", "/usr"):
        text = machine.run(*enter, f"touch {place}/avatar-was-here 2>&1", check=False)
        yield holds(f"it cannot write to {place}", "Read-only" in text or "denied" in text, text)
    text = machine.run(*enter, "cat /etc/avatar-appliance/mqtt.password", check=False)
    yield holds("the broker's password is root's file, and systemd hands it over", "denied" in text, text)
    yield holds("nothing listens on a port", "LISTEN" not in machine.run("ss", "-Htln"))
    yield holds("no unit has failed", machine.run("systemctl", "--failed", "--plain", "--no-legend") == "")
    yield holds("systemctl status says what is sent", bool(re.match(r"sending cam0/0 \d+ frames/s", _status(machine))))
    said = machine.run("udevadm", "test", "--action=add", "/sys/class/net/lo", check=False)
    ours = [line for line in said.splitlines() if "avatar" in line]
    yield holds("udev has nothing to object to in our rules", len(ours) == 1 and "Reading" in ours[0], f"{ours}")
    look = "from appliance.checks.service import service; print(service())"
    found = machine.run("/opt/avatar-appliance/current/bin/python", "-c", look)
    yield holds("check finds the service well", "Verdict.FINE" in found and "sending cam0/0" in found, found)
    yield from _viewer(machine)
    again = machine.run("/opt/avatar-appliance/current/share/avatar-appliance/systemd/install", check=False)
    yield holds("units install again on a running device, in silence", again == "", again)
    found = machine.run("journalctl", "-o", "cat", "EVENT=face_found", "STREAM=cam0", "-t", "avatar-appliance")
    yield holds("journalctl finds events by their fields", "face_found" in found, found)


def _viewer(machine: Machine) -> Iterator[Result]:
    """The optional web page, under the same roof."""
    machine.run("systemctl", "start", "avatar-viewer.service")
    fetch = (
        "import time, urllib.request\n"
        "for _ in range(100):\n"
        "    try:\n"
        "        print(urllib.request.urlopen('http://127.0.0.1:8080/').status); break\n"
        "    except OSError: time.sleep(0.1)\n"
    )
    found = machine.run("/opt/avatar-appliance/current/bin/python", "-c", fetch)
    yield holds("the optional viewer serves its page", found == "200", found)
    listening = machine.run("ss", "-Htln")
    yield holds("to this device alone", "127.0.0.1:8080" in listening and listening.count("LISTEN") == 1, listening)


def _status(machine: Machine) -> str:
    machine.wait_until("ActiveState", ["active"])
    since_ns = machine.network.heard[-1].at_ns
    machine.network.first("health", since_ns + 3_000_000_000, 10)  # a beat has passed
    return machine.shown("StatusText")


def late_network(machine: Machine, late_s: float = 12.0) -> Iterator[Result]:
    """A switch that comes up long after the device."""
    machine.network.plug(connected=False)
    on_ns = machine.start()
    time.sleep(late_s)
    yield holds("no frame before the network", machine.network.first("cam0/0/frame", on_ns, 0) is None)
    up_ns = time.monotonic_ns()
    machine.network.plug(connected=True)
    back_s = (machine.first_frame_ns(up_ns) - up_ns) / 1e9
    yield at_most(f"network {late_s:g} s late: from then to first frame", back_s, NETWORK_LIMIT_S)


def read_only(machine: Machine) -> Iterator[Result]:
    """The whole system read-only, but for its own disk."""
    on_ns = machine.start("--volatile=state")
    first_ns = machine.first_frame_ns(on_ns)
    text = machine.run("touch", "/usr/was-here", check=False)
    yield holds("the root is read-only", "Read-only" in text, text)
    yield at_most("read-only root: power-on to first frame", (first_ns - on_ns) / 1e9, BOOT_LIMIT_S)
