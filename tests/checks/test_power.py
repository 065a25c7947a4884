"""What ``appliance check`` says of power mode, heat and memory."""

import os
from pathlib import Path

import pytest

from appliance.checks.finding import Verdict
from appliance.checks.memory import memory
from appliance.checks.power import heat, power_mode
from appliance.settings import Memory
from engines.board import Board
from engines.store import Key, Record, Store

SUPER = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0"


@pytest.fixture
def nvpmodel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tool that says what stands in the file beside it."""
    tool = tmp_path / "bin/nvpmodel"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ncat {tmp_path}/said\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "said"


def built_for(folder: Path, mode: str) -> Path:
    """A store with one engine, built in a power mode."""
    board = Board("10.3.0", "Orin (nvgpu)", "8.7", "36.4.3", mode)
    key = Key("face_landmarks", "int8", "0123", "manifest", "c1", "batch 1", board)
    store = Store(folder)
    with store.locked(print):
        store.put(Record(key, "a.plan", "0" * 64, 6, 1.0, 90.0, "gpu", "inputs", {"x": 0.1}), b"a plan")
    return folder


def file(root: Path, name: str, content: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_the_mode_that_engines_were_built_for_is_fine(nvpmodel: Path, tmp_path: Path) -> None:
    nvpmodel.write_text("NV Power Mode: 15W\n0\n")

    finding = power_mode(built_for(tmp_path / "engines", "15W"), tmp_path)

    assert (finding.verdict, finding.text) == (Verdict.FINE, "15W, as engines were built for")


def test_another_mode_than_that_of_the_engines_is_told_with_both_and_a_cure(nvpmodel: Path, tmp_path: Path) -> None:
    nvpmodel.write_text("NV Power Mode: 15W\n0\n")

    finding = power_mode(built_for(tmp_path / "engines", "MAXN_SUPER"), tmp_path)

    assert (finding.verdict, finding.text) == (Verdict.WEAK, "15W, and engines were built for MAXN_SUPER")
    assert "nvpmodel -m" in finding.cure
    assert "engines build" in finding.cure


def test_an_orin_nano_super_that_is_held_at_15_watts_is_told(nvpmodel: Path, tmp_path: Path) -> None:
    file(tmp_path, "proc/device-tree/model", SUPER)
    nvpmodel.write_text("NV Power Mode: 15W\n0\n")
    held = power_mode(tmp_path / "none", tmp_path)
    nvpmodel.write_text("NV Power Mode: MAXN_SUPER\n2\n")

    assert held.verdict is Verdict.WEAK
    assert power_mode(tmp_path / "none", tmp_path).verdict is Verdict.FINE


def test_a_tool_that_says_nothing_wants_more_rights(nvpmodel: Path, tmp_path: Path) -> None:
    nvpmodel.write_text("permission denied")

    assert power_mode(tmp_path / "none", tmp_path).cure == "run check as root"


def test_a_machine_without_the_tool_has_no_modes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert power_mode(tmp_path, tmp_path).text == "this machine has none"


def zone(root: Path, celsius: int) -> None:
    file(root, "sys/class/thermal/thermal_zone0/type", "tj-thermal\n")
    file(root, "sys/class/thermal/thermal_zone0/temp", f"{celsius}000\n")
    file(root, "sys/class/thermal/thermal_zone0/trip_point_0_type", "passive\n")
    file(root, "sys/class/thermal/thermal_zone0/trip_point_0_temp", "99000\n")


@pytest.mark.parametrize(("celsius", "verdict"), [(50, Verdict.FINE), (92, Verdict.WEAK)])
def test_heat_is_weak_near_the_point_where_the_board_slows_down(tmp_path: Path, celsius: int, verdict: Verdict) -> None:
    zone(tmp_path, celsius)

    finding = heat(tmp_path)

    assert (finding.verdict, finding.text) == (verdict, f"tj-thermal at {celsius} degrees, slowed down from 99 on")


def test_a_board_that_is_slowed_down_now_is_told_of(tmp_path: Path) -> None:
    zone(tmp_path, 60)
    file(tmp_path, "sys/class/thermal/cooling_device0/type", "gpu-throttle-alert\n")
    file(tmp_path, "sys/class/thermal/cooling_device0/cur_state", "1\n")

    finding = heat(tmp_path)

    assert finding.verdict is Verdict.WEAK
    assert finding.text.endswith("slowed down now: gpu-throttle-alert")


def test_a_machine_without_sensors_is_not_hot(tmp_path: Path) -> None:
    assert heat(tmp_path).verdict is Verdict.FINE


BLOCKS = "Node 0, zone   Normal    532    959    991   3399   3672   2153   1299    378    164    286   3869\n"
PIECES = "Node 0, zone   Normal    532    959    991   3399   3672   2153   0    0    0    0   0\n"


@pytest.mark.parametrize(
    ("available_mb", "blocks", "verdict", "says"),
    [
        (4000, BLOCKS, Verdict.FINE, "4000 of 8000 MB available, the largest free block 4 MB"),
        (1500, PIECES, Verdict.WEAK, "too little to load networks in"),
        (800, BLOCKS, Verdict.WEAK, "below memory.high_mb = 900"),
    ],
)
def test_memory_is_held_against_the_settings_and_what_networks_need(
    tmp_path: Path, available_mb: int, blocks: str, verdict: Verdict, says: str
) -> None:
    file(tmp_path, "proc/meminfo", f"MemTotal: {8000 << 10} kB\nMemAvailable: {available_mb << 10} kB\n")
    file(tmp_path, "proc/buddyinfo", blocks)

    finding = memory(Memory(), tmp_path)

    assert finding.verdict is verdict
    assert says in finding.text
