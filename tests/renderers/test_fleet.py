"""What is made of every device's topics."""

import json
from typing import Any

import pytest
from rich.console import Console

from appliance.commands.monitor import _table, rows
from appliance.renderers import fleet as fleets
from appliance.renderers.fleet import MOST_DEVICES, Device, Fleet

HEALTHY: dict[str, Any] = {
    "level": "normal",
    "throttled": [],
    "cameras": {"cam0": {"captured": 1, "dropped": 0, "restarts": 0, "error": None, "poor": None}},
    "microphones": {"mic0": {"blocks": 1, "overruns": 0, "restarts": 0, "error": None, "poor": None}},
}


def test_a_table_shows_every_stream_of_every_device() -> None:
    fleet = Fleet()
    for device in ("b", "a"):
        fleet.hear(f"avatar/v1/lobby/{device}/availability", b"online")
        for slot in (1, 0):
            fleet.hear(f"avatar/v1/lobby/{device}/cam0/{slot}/state", b'{"state": "lost"}')
        fleet.hear(f"avatar/v1/lobby/{device}/event", b'{"event": "face_lost"}')

    shown = rows(fleet.devices())

    assert [(row.device, row.stream, row.state) for row in shown] == [
        (f"lobby/{device}", f"cam0/{slot}", "lost") for device in "ab" for slot in (0, 1)
    ]
    assert shown[0].event.endswith("face_lost")


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("avatar/v1/a/b/health", b"{"),
        ("avatar/v1/a/b/health", b'{"fps": 3, "stages": {"total": 1}, "ram": [], "temperatures_c": {"cpu": "hot"}}'),
        ("avatar/v1/a/b/health", b'{"load": 1, "throttled": "all", "cameras": {"cam0": 3}, "microphones": []}'),
        ("avatar/v1/a/b/availability", b"\xff"),
        ("avatar/v1/a/b/cam0/0/state", b"[]"),
        ("something/else", b"online"),
    ],
)
def test_what_cannot_be_read_is_passed_over(topic: str, payload: bytes) -> None:
    fleet = Fleet()

    fleet.hear(topic, payload)

    assert all(row.fps is None and row.p50_ms is None and row.hottest_c is None for row in rows(fleet.devices()))


def test_strangers_do_not_fill_the_memory() -> None:
    fleet = Fleet()
    for n in range(MOST_DEVICES + 50):
        fleet.hear(f"avatar/v1/site/{n}/availability", b"online")

    assert len(fleet.devices()) == MOST_DEVICES


def test_words_from_the_network_cannot_paint_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    fleet = Fleet()
    fleet.hear("avatar/v1/a/b/event", json.dumps({"event": "[/red]\x1b[2J\nnews" + "x" * 500}).encode())
    fleet.hear("avatar/v1/a/b/health", json.dumps({"level": "[bold]", "fps": {"\x07cam": 3}}).encode())
    fleet.hear("avatar/v1/a/b\x1b[2J/availability", b"online")

    (device,) = fleet.devices()
    Console(width=200).print(_table([device], ""))

    shown = capsys.readouterr().out
    assert "[/red]" in shown
    assert "[bold]" in shown
    assert not any(sign in shown for sign in "\x1b\x07")
    assert len(device.event) <= 120


def worry(**health: Any) -> list[str]:
    return list(Device("a", "b", "online", health={**HEALTHY, **health}, health_age_s=0.5).alarms())


def test_a_device_that_is_well_alarms_nobody() -> None:
    assert worry() == []


@pytest.mark.parametrize(
    ("health", "alarm"),
    [
        ({"level": "critical"}, "memory is critical"),
        ({"throttled": ["gpu", "cpu"]}, "slowed down against heat: gpu, cpu"),
        ({"cameras": {"cam0": {"error": "not there"}}}, "cam0: not there"),
        ({"cameras": {"cam0": {"error": None, "poor": "dark"}}}, "cam0: dark"),
        ({"microphones": {"mic0": {"error": "gone"}}}, "mic0: gone"),
    ],
)
def test_what_needs_looking_after_is_said_in_words(health: dict[str, Any], alarm: str) -> None:
    assert worry(**health) == [alarm]


def test_a_device_that_is_off_has_one_alarm() -> None:
    assert Device("a", "b", "offline", health={"level": "critical"}).alarms() == ("offline",)


def test_health_that_stopped_coming_is_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(fleets.time, "monotonic", lambda: now_s)
    fleet = Fleet()
    fleet.hear("avatar/v1/a/b/availability", b"online")
    fleet.hear("avatar/v1/a/b/health", json.dumps(HEALTHY).encode())
    now_s = 109.0

    (device,) = fleet.devices()

    assert device.health_age_s == 9.0
    assert list(device.alarms()) == ["no health for 9 s"]
