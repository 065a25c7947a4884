import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.watchdog import Watchdog


@pytest.fixture(params=["library", "datagram"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "datagram":
        monkeypatch.setitem(sys.modules, "systemd", None)  # what a machine without systemd-python sees
    return str(request.param)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The service manager's end."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(address))
        listening.settimeout(2.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        yield listening


def waiting(manager: socket.socket) -> list[str]:
    """Everything sent so far."""
    manager.setblocking(False)
    messages: list[str] = []
    while True:
        try:
            messages.append(manager.recv(4096).decode())
        except BlockingIOError:
            return messages


@pytest.mark.usefixtures("transport")
def test_the_service_manager_hears_every_stage_of_a_life(manager: socket.socket) -> None:
    watchdog = Watchdog()

    watchdog.ready()
    watchdog.status("two\ncameras, 30 fps")
    watchdog.alive()
    watchdog.stopping()

    assert waiting(manager) == ["READY=1", "STATUS=two cameras, 30 fps", "WATCHDOG=1", "STOPPING=1"]


def test_a_fast_loop_beats_only_a_few_times_an_interval(manager: socket.socket) -> None:
    watchdog = Watchdog()

    end_s = time.monotonic() + 0.5
    calls = 0
    while time.monotonic() < end_s:
        watchdog.alive()
        calls += 1
        time.sleep(0.001)

    beats = waiting(manager)
    assert set(beats) == {"WATCHDOG=1"}
    assert 2 <= len(beats) <= 11  # 0.5 s at four beats per 0.2 s
    assert calls > 2 * len(beats)


@pytest.mark.parametrize("usec", ["", "0", "soon"])
def test_no_beat_is_sent_where_no_watchdog_runs(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, usec: str
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)

    Watchdog().alive()

    assert waiting(manager) == []


def test_a_watchdog_for_another_process_is_not_ours(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_PID", "1")

    Watchdog().alive()

    assert waiting(manager) == []


@pytest.mark.usefixtures("transport")
def test_an_abstract_address_is_understood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = f"avatar-test-{tmp_path.name}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")

        Watchdog().ready()

        assert waiting(listening) == ["READY=1"]


def test_without_a_service_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    watchdog = Watchdog()

    watchdog.ready()
    watchdog.alive()
    watchdog.stopping()


@pytest.mark.usefixtures("transport")
def test_a_service_manager_that_went_away_does_not_stop_the_loop(manager: socket.socket) -> None:
    watchdog = Watchdog()
    watchdog.ready()
    manager.close()

    watchdog.alive()
    watchdog.stopping()


def test_a_service_manager_that_does_not_read_does_not_stop_the_loop(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "systemd", None)
    watchdog = Watchdog()

    for _ in range(2000):  # far more than a socket's queue holds
        watchdog.status("busy")

    assert 0 < len(waiting(manager)) < 2000


@pytest.mark.usefixtures("transport")
def test_once_ready_every_beat_says_what_is_being_done(manager: socket.socket) -> None:
    watchdog = Watchdog()

    watchdog.ready(lambda: "sending cam0/0\n30 frames/s")
    watchdog.alive()

    assert waiting(manager) == ["READY=1", "WATCHDOG=1", "STATUS=sending cam0/0 30 frames/s"]
