import argparse
import json
from pathlib import Path

import pytest
from brokers import Mosquitto, a_state, free_port, publishing

from appliance.commands import monitor
from appliance.errors import BrokerError
from appliance.settings import Broker, Settings
from appliance.values import Event

HEALTH = {
    "fps": {"cam0/0": 29.97},
    "dropped": 4,
    "stages": {"total": {"p50_ms": 12.34, "p99_ms": 20.5}},
    "ram": {"available_mb": 3120, "total_mb": 7620},
    "temperatures_c": {"cpu": 48.2, "gpu": 51.0},
    "level": "high",
}


def watch(port: int, *words: str) -> int:
    parser = argparse.ArgumentParser()
    monitor.configure(parser)
    return monitor.run(parser.parse_args(words), Settings(broker=Broker(url=f"mqtt://127.0.0.1:{port}")))


def test_one_look_as_json(mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    with publishing(mosquitto.port) as made:
        made.send(a_state())
        made.health(HEALTH)

        assert watch(mosquitto.port, "--once", "--json") == 0

    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "device": "lobby/orin-07",
        "availability": "online",
        "stream": "cam0/0",
        "state": "tracking",
        "fps": 29.97,
        "p50_ms": 12.34,
        "p99_ms": 20.5,
        "dropped": 4,
        "available_mb": 3120,
        "total_mb": 7620,
        "hottest_c": 51.0,
        "level": "high",
        "event": "",
    }


def test_plain_lines_where_there_is_no_terminal(mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    with publishing(mosquitto.port) as made:
        made.send(a_state())
        made.health(HEALTH)

        assert watch(mosquitto.port, "--seconds", "1.2") == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "lobby/orin-07  online  cam0/0  tracking  30.0 fps  12.3/20.5 ms  4 dropped" in lines[0]


def test_an_empty_broker_is_said_to_be_empty(mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    assert watch(mosquitto.port, "--once") == 0
    assert "no device on this broker" in capsys.readouterr().out


def test_no_broker_is_an_error_with_its_address() -> None:
    with pytest.raises(BrokerError, match=r"mqtt://127\.0\.0\.1:\d+ cannot be reached"):
        watch(free_port(), "--once")


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("avatar/v1/a/b/health", b"{"),
        ("avatar/v1/a/b/health", b'{"fps": 3, "stages": {"total": 1}, "ram": [], "temperatures_c": {"cpu": "hot"}}'),
        ("avatar/v1/a/b/availability", b"\xff"),
        ("avatar/v1/a/b/cam0/0/state", b"[]"),
        ("something/else", b"online"),
    ],
)
def test_what_cannot_be_read_is_passed_over(topic: str, payload: bytes) -> None:
    fleet = monitor.Fleet()

    fleet.hear(topic, payload)

    assert all(row.fps is None and row.p50_ms is None and row.hottest_c is None for row in fleet.rows())


def test_a_table_shows_every_stream_of_every_device() -> None:
    fleet = monitor.Fleet()
    for device in ("b", "a"):
        fleet.hear(f"avatar/v1/lobby/{device}/availability", b"online")
        for slot in (1, 0):
            fleet.hear(f"avatar/v1/lobby/{device}/cam0/{slot}/state", b'{"state": "lost"}')
        fleet.hear(f"avatar/v1/lobby/{device}/event", json.dumps({"event": Event("face_lost").name}).encode())

    rows = [(row.device, row.stream, row.state) for row in fleet.rows()]

    assert rows == [(f"lobby/{device}", f"cam0/{slot}", "lost") for device in "ab" for slot in (0, 1)]
    assert fleet.rows()[0].event.endswith("face_lost")
    assert Path(monitor.__file__).name == "monitor.py"
