"""The daemon under heat and want of memory that a board's tool tells of: what it does, and that it is undone."""

import itertools
import json
import os
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import daemons
import pytest
from brokers import Mosquitto, Reader, wait_until

from appliance.demo.household import to_toml
from appliance.demo.scene import DESK, film
from appliance.health.processes import ProcessUse, tree
from appliance.settings import from_table

ROOT = "avatar/v1/demo/desk"
CAMERA = f"shedding-{os.getpid()}"
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

    def family(self) -> list[ProcessUse]:
        return tree(self.daemon)

    def resident_mb(self) -> float:
        return sum(use.rss_mb for use in self.family())

    def gap_ms(self) -> float:
        """The median time from one of the newest frames to the next."""
        stamps = [frame["captured_ns"] for frame in self.frames()[-12:]]
        return statistics.median((later - earlier) / 1e6 for earlier, later in itertools.pairwise(stamps))


@pytest.fixture
def told(clip: Path, mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    reader = Reader(mosquitto.port)
    board = Told(tmp_path, reader)
    monkeypatch.setenv("PATH", f"{board.path}{os.pathsep}{os.environ['PATH']}")
    settings = from_table(DESK, [f'camera.name="{CAMERA}"'])
    path = tmp_path / "appliance.toml"
    path.write_text(to_toml(asdict(film(settings, clip, f"mqtt://127.0.0.1:{mosquitto.port}"))))
    with daemons.running(path) as process:
        board.daemon = process.pid
        yield board
    reader.close()


def soon(true: Any, within_s: float = 20) -> None:
    assert wait_until(true, within_s)


def test_heat_costs_frames_and_want_of_memory_the_face_until_they_pass(told: Told) -> None:
    soon(lambda: any(frame["state"] == "tracking" for frame in told.frames()))
    assert told.gap_ms() == pytest.approx(1000 / 30, abs=8)

    told.says(available_mb=5000, celsius=91)
    soon(lambda: told.gap_ms() == pytest.approx(2000 / 30, abs=8))
    told.says(available_mb=5000, celsius=97)
    soon(lambda: told.gap_ms() == pytest.approx(4000 / 30, abs=8))
    assert told.frames()[-1]["state"] == "tracking"
    hot = told.of("health")[-1]
    assert hot["temperatures_c"] == {"tj": 97}
    assert [event["heat"] for event in told.of("event") if event["event"] == "heat_changed"] == ["warm", "hot"]
    assert hot["cameras"][CAMERA]["dropped"] == told.of("health")[0]["cameras"][CAMERA]["dropped"]

    before_mb, processes = told.resident_mb(), len(told.family())
    told.says(available_mb=300, celsius=50)
    soon(lambda: told.frames()[-1]["state"] == "voice" and len(told.family()) < processes)
    soon(lambda: told.resident_mb() < before_mb * (1 - LEAST_LESS))
    assert told.steps() == [("load_shed", "pools_released"), ("load_shed", "voice_only")]
    soon(lambda: max(frame["blendshapes"]["jawOpen"] for frame in told.frames()[-60:]) > 0.1)
    critical = told.of("health")[-1]
    assert (critical["level"], critical["load"]["step"]) == ("critical", "voice_only")

    told.says(available_mb=5000, celsius=50)
    seen = len(told.frames())
    soon(lambda: any(frame["state"] == "tracking" for frame in told.frames()[seen:]), 30)
    assert ("load_restored", "pools_released") in told.steps()
    assert [event for event in told.of("event") if event["event"] in ("camera_lost", "capture_restarted")] == []
