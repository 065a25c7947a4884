"""The daemon under heat and want of memory that a board's tool tells of: what it does, and that it is undone."""

import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import daemons
import pytest
from brokers import Mosquitto, Reader, wait_until

from appliance.demo.clip import SPEECH_WAV
from appliance.demo.household import to_toml
from appliance.demo.scene import DESK, film
from appliance.health.processes import ProcessUse, tree
from appliance.settings import from_table

ROOT = "avatar/v1/demo/desk"
CAMERA = f"shedding-{os.getpid()}"
TOOL = ("tegrastats", "sh", "cat", "sleep")  # what the board's tool is made of
LEAST_LESS = 0.3  # of resident memory, when it is critical


class Told:
    """A board whose tool says what the test wants, and what the daemon publishes of it."""

    def __init__(self, folder: Path, reader: Reader) -> None:
        self._line = folder / "line"
        self.reader = reader
        self.daemon = 0
        tool = folder / "bin/tegrastats"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\nwhile cat {self._line}; do sleep 0.2; done\n")
        tool.chmod(0o755)
        self.path = str(tool.parent)
        self.says(available_mb=5000, celsius=50)

    def says(self, available_mb: int, celsius: int) -> None:
        aside = self._line.with_suffix(".new")
        aside.write_text(f"RAM {8000 - available_mb}/8000MB (lfb 5x4MB) CPU [1%@729] tj@{celsius}C\n")
        aside.replace(self._line)

    def of(self, leaf: str) -> list[dict[str, Any]]:
        return [json.loads(m.payload) for m in list(self.reader.messages) if m.topic == f"{ROOT}/{leaf}"]

    def frames(self) -> list[dict[str, Any]]:
        return self.of(f"{CAMERA}/0/frame")

    def steps(self) -> list[tuple[str, str]]:
        return [(event["event"], event["step"]) for event in self.of("event") if "step" in event]

    def heats(self) -> list[str]:
        return [event["heat"] for event in self.of("event") if event["event"] == "heat_changed"]

    def family(self) -> list[ProcessUse]:
        return [use for use in tree(self.daemon) if use.rss_mb > 1 and use.name not in TOOL]

    def resident_mb(self) -> float:
        return sum(use.rss_mb for use in self.family())

    def gap_ms(self) -> float:
        """The median time from one of the newest frames to the next; a machine that is busy only makes it longer."""
        stamps = [frame["captured_ns"] for frame in self.frames()[-12:]]
        return statistics.median((later - earlier) / 1e6 for earlier, later in itertools.pairwise(stamps))


@pytest.fixture
def told(clip: Path, mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    reader = Reader(mosquitto.port)
    board = Told(tmp_path, reader)
    monkeypatch.setenv("PATH", f"{board.path}{os.pathsep}{os.environ['PATH']}")
    settings = from_table(DESK, [f'camera.name="{CAMERA}"', f'microphone.source="file:{SPEECH_WAV}"'])
    path = tmp_path / "appliance.toml"
    path.write_text(to_toml(asdict(film(settings, clip, f"mqtt://127.0.0.1:{mosquitto.port}"))))
    with daemons.running(path) as process:
        board.daemon = process.pid
        yield board
    reader.close()


IMPATIENT = """
import sys
from appliance.__main__ import main
from appliance.health import shedding
shedding._HOPELESS_NS = shedding._LEAST_LIFE_NS = 500_000_000  # in place of minutes
sys.exit(main(["run", "--quiet", "--config", sys.argv[1]]))
"""


def test_memory_that_nothing_helps_ends_the_daemon_so_that_it_is_started_anew(
    clip: Path, mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(mosquitto.port)
    board = Told(tmp_path, reader)
    board.says(available_mb=100, celsius=50)
    monkeypatch.setenv("PATH", f"{board.path}{os.pathsep}{os.environ['PATH']}")
    filmed = film(from_table(DESK), clip, f"mqtt://127.0.0.1:{mosquitto.port}")
    path = tmp_path / "appliance.toml"
    path.write_text(to_toml({**asdict(filmed), "camera": []}))  # the voice alone starts sooner

    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT, path], capture_output=True, text=True, timeout=30, check=False
    )
    reader.close()

    assert done.returncode == 1
    assert "memory stayed below memory.critical_mb = 400 with all load shed, so this is a new start" in done.stderr
    assert board.steps()[-1] == ("load_shed", "restart")
    assert [m.payload for m in reader.messages if m.topic == f"{ROOT}/availability"][-1] == b"offline"


def soon(true: Any, within_s: float = 20) -> None:
    assert wait_until(true, within_s)


def test_heat_costs_frames_and_want_of_memory_the_face_until_they_pass(told: Told) -> None:
    soon(lambda: any(frame["state"] == "tracking" for frame in told.frames()))
    told.says(available_mb=5000, celsius=91)
    soon(lambda: told.heats() == ["warm"] and told.gap_ms() > 0.9 * 2000 / 30)
    told.says(available_mb=5000, celsius=97)
    soon(lambda: told.heats() == ["warm", "hot"] and told.gap_ms() > 0.9 * 4000 / 30)
    soon(lambda: told.of("health")[-1]["temperatures_c"] == {"tj": 97})

    before_mb = told.resident_mb()
    assert len(told.family()) == 2  # the daemon, and the capture process
    told.says(available_mb=300, celsius=50)
    soon(lambda: told.frames()[-1]["state"] == "voice" and len(told.family()) == 1)
    soon(lambda: told.resident_mb() < before_mb * (1 - LEAST_LESS))
    assert told.steps() == [("load_shed", "pools_released"), ("load_shed", "voice_only")]
    soon(lambda: max(frame["blendshapes"]["jawOpen"] for frame in told.frames()[-60:]) > 0.1)
    soon(lambda: told.of("health")[-1]["load"]["step"] == "voice_only")
    assert told.of("health")[-1]["level"] == "critical"

    told.says(available_mb=5000, celsius=50)
    seen = len(told.frames())
    soon(lambda: any(frame["state"] == "tracking" for frame in told.frames()[seen:]), 30)
    assert ("load_restored", "pools_released") in told.steps()
    assert [event for event in told.of("event") if event["event"] in ("camera_lost", "capture_restarted")] == []
