"""Hangs, crashes, wrong settings: what the service manager makes of them."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from .machine import SERVICE, Machine
from .results import Result, at_most, holds

RETRY = "retry-avatar-appliance.service"
BEYOND_WATCHDOG_S = 4.0


def hang(machine: Machine, times: int = 2) -> Iterator[Result]:
    """Stop the daemon in its tracks; the watchdog must notice, and frames come back."""
    machine.first_frame_ns(machine.start())
    watchdog_s = int(machine.shown("WatchdogUSec").removesuffix("s"))
    waits_s = []
    for _ in range(times):
        time.sleep(3)
        os.kill(machine.main_pid(), signal.SIGSTOP)
        hung_ns = time.monotonic_ns()
        back_ns = machine.first_frame_ns(hung_ns + 1_000_000_000, watchdog_s + 20)
        waits_s.append((back_ns - hung_ns) / 1e9)
    yield at_most(f"hang to publishing again (WatchdogSec {watchdog_s})", max(waits_s), watchdog_s + BEYOND_WATCHDOG_S)
    yield holds("the journal says why", "Watchdog timeout" in machine.journal("-u", SERVICE, "-n", "200"))
    time.sleep(2)
    os.kill(machine.main_pid(), signal.SIGABRT)  # what the watchdog sends, to a process that can still hear it
    machine.first_frame_ns(time.monotonic_ns() + 1_000_000_000)
    yield holds(
        "and where each thread was",
        "appliance/loop.py" in machine.journal("-u", SERVICE, "-n", "400", "_TRANSPORT=stdout"),
    )


def crash(machine: Machine) -> Iterator[Result]:
    """Crash again and again: restarted at once, then no more, then once more after a pause."""
    machine.first_frame_ns(machine.start("--volatile=overlay", _short_pause(machine)))
    crashes, began_s, down_s = 0, time.monotonic(), []
    while machine.wait_until("ActiveState", ["active", "failed"]) == "active" and crashes < 20:
        os.kill(machine.main_pid(), signal.SIGSEGV)
        crashed_ns = time.monotonic_ns()
        crashes += 1
        machine.wait_until("SubState", ["auto-restart", "start", "failed"])
        if machine.wait_until("ActiveState", ["active", "failed"]) == "active":
            down_s.append((machine.first_frame_ns(crashed_ns + 200_000_000) - crashed_ns) / 1e9)
    took_s = time.monotonic() - began_s
    yield at_most(f"crash to publishing again, slowest of {len(down_s)}", max(down_s), BEYOND_WATCHDOG_S)
    limit = int(machine.shown("StartLimitBurst"))
    yield Result(f"crashes until it rests, {took_s:.0f} s", str(crashes), str(limit), crashes == limit)
    rested_ns = time.monotonic_ns()
    offline = machine.network.first("availability", rested_ns - 10**10, 5, lambda payload: payload == "offline")
    yield holds("the broker says that it is offline", offline is not None)
    yield holds("after the pause it is back", machine.network.first("cam0/0/frame", rested_ns, 20) is not None)


def _short_pause(machine: Machine) -> str:
    """The unit of the next try with three seconds for ten minutes, as an option of the container."""
    unit = Path(__file__).parents[2] / "systemd/system" / RETRY
    short = machine.folder / RETRY
    short.write_text(unit.read_text().replace("sleep 600", "sleep 3"))
    return f"--bind-ro={short}:/etc/systemd/system/{RETRY}"


def wrong_settings(machine: Machine) -> Iterator[Result]:
    """A setting that cannot be: one line, and it stays down until it is mended."""
    path = machine.disk.path / "etc/appliance.toml"
    good = path.read_text()
    path.write_text(good + "\n[avatar]\nsmoothing = 'velvet'\n")
    machine.start()
    for _ in range(100):
        if Path(f"/proc/{machine.leader()}").exists():
            break
        time.sleep(0.05)
    time.sleep(2)
    yield holds("wrong settings: it is down", machine.wait_until("ActiveState", ["failed"]) == "failed")
    yield Result("exit status", machine.shown("ExecMainStatus"), "78", machine.shown("ExecMainStatus") == "78")
    yield holds("the journal names setting and cure", "avatar.smoothing must be one of" in machine.journal())
    time.sleep(5)
    yield Result("restarts", machine.shown("NRestarts"), "0", machine.shown("NRestarts") == "0")
    yield holds("and nobody tries again later", machine.shown("ActiveState", RETRY) == "inactive")
    path.write_text(good)
    machine.run("systemctl", "start", SERVICE)
    yield holds("mended, it runs", machine.network.first("cam0/0/frame", time.monotonic_ns(), 10) is not None)
