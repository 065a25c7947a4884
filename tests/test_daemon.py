"""The daemon as a device runs it: a real process, a real broker, a real face on a clip."""

import itertools
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import daemons
import jsonschema
import pytest
from brokers import Mosquitto, Reader, wait_until

from appliance.demo.clip import SPEECH_WAV
from appliance.demo.household import to_toml
from appliance.demo.scene import DESK, film
from appliance.publish import wire
from appliance.settings import Settings, from_table

ROOT = "avatar/v1/demo/desk"
FRAME = f"{ROOT}/demo/0/frame"


@pytest.fixture
def table(clip: Path, mosquitto: Mosquitto) -> dict[str, Any]:
    """The settings of the demonstration as a table to change."""
    filmed = asdict(film(from_table(DESK), clip, f"mqtt://127.0.0.1:{mosquitto.port}"))
    return {name: list(part) if isinstance(part, tuple) else part for name, part in filmed.items()}


@contextmanager
def running(table: dict[str, Any], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    path = folder / "appliance.toml"
    path.write_text(to_toml(table))
    with daemons.running(path) as process:
        yield process


@contextmanager
def reading(mosquitto: Mosquitto) -> Iterator[Reader]:
    reader = Reader(mosquitto.port)
    try:
        yield reader
    finally:
        reader.close()


def of(reader: Reader, topic: str) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in list(reader.messages) if message.topic == topic]


def soon(true: Callable[[], bool], within_s: float = 20) -> None:
    assert wait_until(true, within_s)


def test_everything_published_is_what_the_schemas_say(
    table: dict[str, Any], mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with reading(mosquitto) as reader, running(table, tmp_path):
        soon(lambda: len(of(reader, FRAME)) >= 45 and len(of(reader, f"{ROOT}/health")) >= 2)
        soon(lambda: any(frame["state"] == "tracking" for frame in of(reader, FRAME)))
        messages = list(reader.messages)

    leaves = set()
    for message in messages:
        address = wire.parse_topic(message.topic)
        if address is None:
            continue
        leaves.add(address.leaf)
        if address.leaf != "availability":
            jsonschema.validate(json.loads(message.payload), wire.schema(address.leaf))
        if address.leaf == "frame":
            assert len(message.payload) <= wire.MAX_FRAME_BYTES
            assert (message.qos, message.retain) == (0, False)
    assert leaves == {*wire.DEVICE_LEAVES, *wire.STREAM_LEAVES}


def test_a_real_face_is_found_tracked_and_timed(table: dict[str, Any], mosquitto: Mosquitto, tmp_path: Path) -> None:
    with reading(mosquitto) as reader, running(table, tmp_path):
        soon(lambda: any(frame["state"] == "tracking" for frame in of(reader, FRAME)))
        frames = of(reader, FRAME)
        events = of(reader, f"{ROOT}/event")

    last = frames[-1]
    assert last["session"]
    assert last["confidence"] > 0.9
    assert last["head"]["position"][2] < -0.2
    assert {"capture", "detect", "landmarks", "expression", "total"} <= set(last["latency_ms"])
    assert [frame["seq"] for frame in frames] == list(range(frames[0]["seq"], frames[0]["seq"] + len(frames)))
    assert "face_found" in [event["event"] for event in events]


def test_sigterm_ends_it_in_order(table: dict[str, Any], mosquitto: Mosquitto, tmp_path: Path) -> None:
    with reading(mosquitto) as reader, running(table, tmp_path) as daemon:
        soon(lambda: bool(of(reader, FRAME)))
        daemon.send_signal(signal.SIGTERM)
        status = daemon.wait(10)
        soon(lambda: [m.payload for m in reader.messages if m.topic == f"{ROOT}/availability"][-1] == b"offline")

    assert status == 0
    assert not Path("/dev/shm/avatar-demo").exists()


def test_a_kill_leaves_no_child_and_the_next_start_works(
    table: dict[str, Any], mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with reading(mosquitto) as reader:
        with running(table, tmp_path) as daemon:
            soon(lambda: bool(of(reader, FRAME)))
            children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
            daemon.kill()
        assert children
        soon(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
        before = len(of(reader, FRAME))
        with running(table, tmp_path):
            soon(lambda: len(of(reader, FRAME)) > before + 10)


def test_a_missing_camera_is_told_and_stops_neither_the_other_nor_the_microphone(
    table: dict[str, Any], mosquitto: Mosquitto, tmp_path: Path
) -> None:
    table["camera"].append({"name": "cam1", "source": "v4l2:/dev/video99"})
    with reading(mosquitto) as reader, running(table, tmp_path):
        soon(lambda: any((health["cameras"]["cam1"]["error"] or "") != "" for health in of(reader, f"{ROOT}/health")))
        soon(lambda: of(reader, f"{ROOT}/health")[-1]["cameras"]["demo"]["captured"] > 60)
        health = of(reader, f"{ROOT}/health")[-1]
        absent = of(reader, f"{ROOT}/cam1/0/state")

    assert "/dev/video99" in health["cameras"]["cam1"]["error"]
    assert health["microphones"]["speech"]["blocks"] > 50
    assert absent[0]["state"] == "absent"


def test_without_a_broker_it_runs_on_and_is_there_when_the_broker_comes(
    table: dict[str, Any], mosquitto: Mosquitto, tmp_path: Path
) -> None:
    mosquitto.stop()
    with running(table, tmp_path) as daemon:
        time.sleep(3)
        assert daemon.poll() is None
        mosquitto.start()
        with reading(mosquitto) as reader:
            soon(lambda: len(of(reader, FRAME)) > 10)
            frames, health = of(reader, FRAME), of(reader, f"{ROOT}/health")

    assert frames[0]["captured_ns"] > time.monotonic_ns() - 20_000_000_000
    assert all(entry["dropped"] > 0 for entry in health)


def test_a_clip_that_does_not_loop_ends_the_daemon_with_0(
    table: dict[str, Any], mosquitto: Mosquitto, photograph: Path, tmp_path: Path
) -> None:
    table["camera"][0] |= {"source": f"file:{photograph}", "loop": False}
    with running(table, tmp_path) as daemon:
        assert daemon.wait(20) == 0


def test_a_visitor_who_leaves_is_lost_and_the_frames_go_on(
    table: dict[str, Any], mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with reading(mosquitto) as reader, running(table, tmp_path):
        soon(lambda: any(frame["state"] == "lost" for frame in of(reader, FRAME)), 45)
        soon(lambda: of(reader, FRAME)[-1]["state"] in ("tracking", "acquiring"))
        frames, events = of(reader, FRAME), [event["event"] for event in of(reader, f"{ROOT}/event")]

    lost = [frame for frame in frames if frame["state"] == "lost"]
    assert len(lost) > 5
    assert events.count("face_found") > events.count("face_lost") - 1 >= 0
    gaps_ms = [(later["captured_ns"] - earlier["captured_ns"]) / 1e6 for earlier, later in itertools.pairwise(frames)]
    assert sorted(gaps_ms)[len(gaps_ms) // 2] == pytest.approx(1000 / 30, abs=5)


def test_no_picture_is_published_or_left_on_the_disk(
    table: dict[str, Any], desk: Settings, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    kept = Path(desk.storage.directory).expanduser()
    before = sorted(kept.rglob("*"))
    with reading(mosquitto) as reader, running(table, tmp_path):
        soon(lambda: len(of(reader, FRAME)) > 30)
        largest = max(len(message.payload) for message in reader.messages)

    assert largest < 8_000  # info, with all its names; the smallest picture of a face is larger
    assert sorted(kept.rglob("*")) == before


VOICE_FRAME = f"{ROOT}/speech/0/frame"


def test_a_microphone_alone_is_an_avatar_and_needs_no_model_of_a_face(
    table: dict[str, Any], mosquitto: Mosquitto, tmp_path: Path
) -> None:
    table["camera"], table["storage"] = [], {"directory": str(tmp_path / "empty")}
    table["microphone"][0]["source"] = f"file:{SPEECH_WAV}"
    with reading(mosquitto) as reader, running(table, tmp_path):
        soon(lambda: len(of(reader, VOICE_FRAME)) > 100 and len(of(reader, f"{ROOT}/health")) >= 2)
        frames, states = of(reader, VOICE_FRAME), of(reader, f"{ROOT}/speech/0/state")
        health, info = of(reader, f"{ROOT}/health")[-1], of(reader, f"{ROOT}/info")[-1]

    for frame in frames:
        jsonschema.validate(frame, wire.schema("frame"))
    jsonschema.validate(info, wire.schema("info"))
    jsonschema.validate(health, wire.schema("health"))
    assert {frame["state"] for frame in frames} == {"voice"}
    assert [state["state"] for state in states] == ["voice"]
    assert abs(states[0]["since_utc_ns"] - time.time_ns()) < 60e9
    assert [frame["seq"] for frame in frames] == list(range(frames[0]["seq"], frames[0]["seq"] + len(frames)))
    assert all(later["captured_ns"] > earlier["captured_ns"] for earlier, later in itertools.pairwise(frames))
    assert any(frame["voice"]["level"] > 0.3 for frame in frames)
    assert health["fps"]["speech/0"] > 25
    assert (health["cameras"], info["cameras"]) == ({}, [])
    assert not (tmp_path / "empty").exists()


def test_a_recording_heard_alone_ends_the_daemon_with_a_shut_mouth(
    table: dict[str, Any], mosquitto: Mosquitto, tmp_path: Path
) -> None:
    table["camera"] = []
    table["microphone"][0] |= {"source": f"file:{SPEECH_WAV}", "loop": False}
    with reading(mosquitto) as reader, running(table, tmp_path) as daemon:
        soon(lambda: bool(of(reader, VOICE_FRAME)))
        status = daemon.wait(30)
        soon(lambda: [m.payload for m in reader.messages if m.topic == f"{ROOT}/availability"][-1] == b"offline")
        last = of(reader, VOICE_FRAME)[-1]

    assert status == 0
    assert (last["voice"]["active"], last["blendshapes"]["jawOpen"]) == (False, 0)


def test_a_microphone_of_its_own_goes_on_beside_a_camera_that_is_missing(
    table: dict[str, Any], mosquitto: Mosquitto, tmp_path: Path
) -> None:
    table["camera"][0] |= {"source": "v4l2:/dev/video99", "microphone": ""}
    with reading(mosquitto) as reader, running(table, tmp_path):
        soon(lambda: len(of(reader, VOICE_FRAME)) > 60)
        soon(lambda: of(reader, f"{ROOT}/health")[-1]["fps"].get("speech/0", 0) > 25)
        absent = of(reader, FRAME)

    assert {frame["state"] for frame in absent} == {"absent"}


def test_without_a_camera_and_a_microphone_the_settings_are_wrong(table: dict[str, Any], tmp_path: Path) -> None:
    table["camera"], table["microphone"] = [], []
    with running(table, tmp_path) as daemon:
        assert daemon.wait(10) == 78
