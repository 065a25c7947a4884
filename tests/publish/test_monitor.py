import argparse
import json

import pytest
from brokers import Mosquitto, a_state, free_port, publishing

from appliance.commands import monitor
from appliance.errors import BrokerError
from appliance.settings import Broker, Settings

HEALTH = {
    "fps": {"cam0/0": 29.97},
    "dropped": 4,
    "stages": {"total": {"p50_ms": 12.34, "p99_ms": 20.5}},
    "ram": {"available_mb": 3120, "total_mb": 7620},
    "temperatures_c": {"cpu": 48.2, "gpu": 51.0},
    "level": "high",
    "load": {"step": "half_rate", "shed": [], "heat": "cool"},
    "cameras": {"cam0": {"captured": 9, "dropped": 0, "restarts": 1, "error": "/dev/video0 is not there"}},
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
        "load": "half_rate",
        "alarms": ["cam0: /dev/video0 is not there"],
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
    assert "high (half_rate)" in lines[0]


def test_an_empty_broker_is_said_to_be_empty(mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    assert watch(mosquitto.port, "--once") == 0
    assert "no device on this broker" in capsys.readouterr().out


def test_no_broker_is_an_error_with_its_address() -> None:
    with pytest.raises(BrokerError, match=r"mqtt://127\.0\.0\.1:\d+ cannot be reached"):
        watch(free_port(), "--once")


def test_one_site_of_a_broker_is_asked_for(mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    with publishing(mosquitto.port) as made:
        made.send(a_state())
        made.health(HEALTH)

        assert watch(mosquitto.port, "--once", "--site", "elsewhere") == 0
        assert watch(mosquitto.port, "--once", "--site", "lobby", "--device", "orin-07") == 0

    first, second = capsys.readouterr().out.splitlines()
    assert first == "no device on this broker  ?"
    assert "cam0: /dev/video0 is not there" in second
