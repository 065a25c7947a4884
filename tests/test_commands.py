"""The commands as a person runs them: what they print, and how they end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from brokers import Mosquitto, Reader, wait_until
from daemons import running

from appliance.demo.household import to_toml
from appliance.demo.scene import DESK, film
from appliance.health.processes import tree
from appliance.settings import from_table

SUMMARY = re.compile(r"\d+ frames, \d+\.\d fps, latency p50 \d+\.\d ms, p99 \d+\.\d ms")


def appliance(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "appliance", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment}
    )


def payloads(reader: Reader, leaf: str) -> list[bytes]:
    return [message.payload for message in list(reader.messages) if message.topic.endswith(f"/{leaf}")]


@pytest.fixture
def settings_file(clip: Path, mosquitto: Mosquitto, tmp_path: Path) -> Path:
    """The settings of a device whose camera is the demo clip."""
    path = tmp_path / "appliance.toml"
    path.write_text(to_toml(asdict(film(from_table(DESK), clip, f"mqtt://127.0.0.1:{mosquitto.port}"))))
    return path


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_demonstration_ends_with_its_one_line(clip: Path) -> None:
    done = appliance("demo", "--seconds", "4", "--port", "0")

    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"the avatar is at http://127.0.0.1:[1-9]\d*/", lines[0])
    assert SUMMARY.fullmatch(lines[-1])
    assert int(lines[-1].split()[0]) > 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_the_demonstration_leaves_no_process_behind(clip: Path, mosquitto: Mosquitto, number: signal.Signals) -> None:
    heeding = ["env", "--default-signal=INT,HUP"]  # who starts the tests in the background may have these ignored
    options = ["--no-camera", "--no-viewer", "--broker", mosquitto.url]
    command = [*heeding, sys.executable, "-m", "appliance", "demo", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        said = [demo.stdout.readline(), demo.stdout.readline()]
        family = [use.pid for use in tree(demo.pid)]
        demo.send_signal(number)
        summary = demo.communicate(timeout=20)[0].splitlines()[-1]

    assert said[-1] == "press Ctrl-C to end\n"
    assert demo.returncode == 0
    assert SUMMARY.fullmatch(summary)
    assert len(family) > 1
    assert [pid for pid in family if Path(f"/proc/{pid}").exists()] == []


def test_the_demonstration_goes_without_a_camera(clip: Path, mosquitto: Mosquitto) -> None:
    reader = Reader(mosquitto.port)
    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    done = appliance("demo", "--no-camera", "--seconds", "2", "--no-viewer", "--broker", url)
    states = {json.loads(payload)["state"] for payload in payloads(reader, "frame")}
    reader.close()

    assert done.returncode == 0
    assert SUMMARY.fullmatch(done.stdout.splitlines()[-1])
    assert states == {"voice"}


def test_the_demonstration_publishes_to_the_broker_it_is_given(clip: Path, mosquitto: Mosquitto) -> None:
    reader = Reader(mosquitto.port)
    done = appliance("demo", "--seconds", "2", "--no-viewer", "--broker", f"mqtt://127.0.0.1:{mosquitto.port}")
    assert wait_until(lambda: payloads(reader, "availability")[-1] == b"offline")
    frames = len(payloads(reader, "frame"))
    reader.close()

    assert done.returncode == 0
    assert frames > 30


def test_a_port_that_is_taken_is_one_line_before_anything_else(taken_port: int) -> None:
    done = appliance("demo", "--port", str(taken_port))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"appliance: port {taken_port} is taken; choose another with --port\n"


def test_no_network_for_the_models_is_one_line_with_the_cure(tmp_path: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}

    done = appliance("demo", "--no-viewer", HOME=str(tmp_path), PIP_RETRIES="0", PIP_CONFIG_FILE=os.devnull, **nowhere)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "appliance models fetch --bundle FILE" in done.stderr


def test_a_broker_that_is_away_is_one_line(clip: Path) -> None:
    done = appliance("demo", "--seconds", "1", "--no-viewer", "--broker", "mqtt://127.0.0.1:9")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "appliance: broker mqtt://127.0.0.1:9 cannot be reached: Connection refused"


def test_the_bench_tells_every_stage_and_the_use_of_the_daemon(clip: Path) -> None:
    done = appliance("bench", "--seconds", "3", "--json", "--no-quality")

    figures = json.loads(done.stdout)
    assert done.returncode == 0
    assert figures["frames"]["received"] > 60
    assert {"capture", "detect", "landmarks", "expression", "total", "capture to subscriber"} <= set(
        figures["latency_ms"]
    )
    assert 50 < figures["daemon"]["resident, MB"] < 450


def test_check_of_a_device_that_is_well_exits_0(settings_file: Path) -> None:
    done = appliance("check", "--config", str(settings_file), "--json")

    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0
    assert findings["camera demo"]["text"] == "gives pictures of 1280 x 720"
    assert findings["microphone speech"]["verdict"] == "fine"
    assert findings["broker"]["text"].endswith("lets us in with MQTT 5")


def test_check_names_what_would_stop_it_each_with_its_cure(settings_file: Path) -> None:
    wrong = ("camera.source=v4l2:/dev/video99", "microphone.source=file:/none.wav", "broker.url=mqtt://127.0.0.1:9")

    done = appliance("check", "--config", str(settings_file), *(word for one in wrong for word in ("--set", one)))

    stops = [line for line in done.stdout.splitlines() if line.startswith("stop")]
    assert done.returncode == 1
    assert [line.split(":")[0] for line in stops] == ["stop  camera demo", "stop  microphone speech", "stop  broker"]
    assert "/dev/video99 does not exist" in stops[0]
    assert "/none.wav" in stops[1]
    assert all(" -> " in line for line in stops)


def test_what_was_recorded_replays_as_it_was_noted(settings_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "monday"

    recorded = appliance("record", str(folder), "--seconds", "2", "--config", str(settings_file))
    replayed = appliance("replay", str(folder))
    refused = appliance("record", str(folder), "--config", str(settings_file))

    assert (recorded.returncode, replayed.returncode, refused.returncode) == (0, 0, 1)
    assert {path.name for path in folder.iterdir()} == {
        "camera.npz", "voice.wav", "voice.jsonl", "session.json", "expected.jsonl",
    }  # fmt: skip
    assert "every state as expected" in replayed.stdout
    assert "new or an empty folder" in refused.stderr.splitlines()[-1]


def test_without_a_camera_there_is_nothing_to_record_but_all_is_well(settings_file: Path, tmp_path: Path) -> None:
    settings_file.write_text(to_toml({**asdict(from_table(DESK)), "camera": []}))

    recorded = appliance("record", str(tmp_path / "monday"), "--config", str(settings_file))
    checked = appliance("check", "--config", str(settings_file))

    assert recorded.returncode == 1
    assert "no [[camera]] is set" in recorded.stderr.splitlines()[-1]
    assert "camera: none is set: voices alone move the mouths" in checked.stdout


def test_memory_below_its_limit_is_told(settings_file: Path, mosquitto: Mosquitto) -> None:
    reader = Reader(mosquitto.port)
    limits = ("memory.high_mb=1000000", "memory.critical_mb=1")
    words = [word for limit in limits for word in ("--set", limit)]
    with running(settings_file, *words):
        told = wait_until(lambda: any(b"pressure_changed" in event for event in payloads(reader, "event")), 20)
        kept = wait_until(lambda: any(b'"level":"high"' in health for health in payloads(reader, "health")))
    reader.close()

    assert told
    assert kept
