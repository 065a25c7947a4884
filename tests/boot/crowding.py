"""Full disks, a flooded journal, a wall clock that jumps, somebody who logs in and out."""

import time
from collections.abc import Iterator

from .machine import Machine, fill, free_mb
from .results import Result, at_most, holds
from .root import TECHNICIAN

FRAMES = "cam0/0/frame"
LONGEST_GAP_S = 1.0
YEARS = 10
_YEAR_S = 365 * 86400


def disk_full(machine: Machine) -> Iterator[Result]:
    """Not a byte left on the device's disk: it runs, and it starts."""
    machine.first_frame_ns(machine.start())
    machine.run("journalctl", "--flush")
    rubbish = machine.disk.path / "lib/rubbish"
    full_ns = time.monotonic_ns()
    fill(rubbish)
    left_mb = free_mb(machine.disk.path)
    time.sleep(5)
    yield at_most(
        f"disk full ({left_mb:.1f} MB left): longest gap", machine.network.longest_gap_s(FRAMES, full_ns), 1.0
    )
    machine.cut()
    on_ns = machine.start()
    yield at_most("disk full: power-on to first frame", (machine.first_frame_ns(on_ns) - on_ns) / 1e9, 6.0)
    rubbish.unlink()


def journal_full(machine: Machine) -> Iterator[Result]:
    """A program that floods the journal, and then no room for any journal at all."""
    machine.first_frame_ns(machine.start())
    began_ns = time.monotonic_ns()
    flood = "for i in $(seq 40); do head -c 2000000 /dev/urandom | base64 -w 2000 | systemd-cat -t flood; done"
    machine.run("sh", "-c", flood)
    fill(machine.disk.path / "log/rubbish")
    machine.run("sh", "-c", "head -c 2000000 /dev/urandom | base64 -w 2000 | systemd-cat -t flood")
    time.sleep(3)
    yield at_most(
        "journal flooded, then without room: longest gap", machine.network.longest_gap_s(FRAMES, began_ns), 1.0
    )
    (machine.disk.path / "log/rubbish").unlink()
    used = sum(path.stat().st_size for path in (machine.disk.path / "log").rglob("*.journal")) / 2**20
    yield Result("journal on the disk", f"{used:.0f} MB", "200 MB", used <= 200)


def clock(machine: Machine) -> Iterator[Result]:
    """Ten years forth and back while it runs; and a start in a year whose certificates are not valid."""
    machine.first_frame_ns(machine.start())
    for years in (YEARS, -YEARS):
        began_ns = time.monotonic_ns()
        machine.devices.set_clock(years * _YEAR_S)
        time.sleep(4)
        machine.devices.set_clock(0)
        time.sleep(3)
        gap_s = machine.network.longest_gap_s(FRAMES, began_ns)
        yield at_most(f"clock {years:+d} years and back: longest gap", gap_s, LONGEST_GAP_S)
        steps = [event["step_s"] for event in machine.network.said("event", began_ns) if event["event"] == "clock_step"]
        told = any(abs(step - years * _YEAR_S) < 60 for step in steps)
        yield holds(f"clock {years:+d} years: event clock_step", told, f"{steps}")
    yield Result("restarts meanwhile", machine.shown("NRestarts"), "0", machine.shown("NRestarts") == "0")
    machine.cut()
    machine.devices.set_clock(-YEARS * _YEAR_S)
    machine.start()
    time.sleep(8)
    said = machine.shown("StatusText")
    yield holds("started ten years ago it says what is wrong", "certificate" in said and "clock" in said, said)
    right_ns = time.monotonic_ns()
    machine.devices.set_clock(0)
    first = machine.network.first(FRAMES, right_ns, 20)
    yield holds("and publishes once the time is right", first is not None)
    if first:
        yield at_most("time right to first frame", (first.at_ns - right_ns) / 1e9, 10.0)


def log_out(machine: Machine) -> Iterator[Result]:
    """A technician logs in and out; logind then clears the technician's shared memory, and not ours."""
    machine.first_frame_ns(machine.start())
    session = "touch /dev/shm/of-the-technician; sleep 1"
    words = f"--uid={TECHNICIAN} --property=PAMName=login --wait --quiet sh -c"
    machine.run("systemd-run", *words.split(), session)
    out_ns = time.monotonic_ns()
    time.sleep(14)
    left = machine.run("ls", "/dev/shm").split()
    yield holds("logind cleared what the technician left", "of-the-technician" not in left, f"{left}")
    yield holds("the ring is still there", "avatar-cam0" in left, f"{left}")
    yield at_most("log-out: longest gap", machine.network.longest_gap_s(FRAMES, out_ns), LONGEST_GAP_S)
