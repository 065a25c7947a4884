import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.health.jtop import Jtop, to_reading
from appliance.health.proc import Kernel
from appliance.health.readings import Reading, ReadingError, joined
from appliance.health.sources import Readings, source_of
from appliance.health.tegrastats import parse_tegrastats
from appliance.values import Event

from . import tegrastats_lines as lines


class Board:
    """A tool that does what the test says next."""

    def __init__(self) -> None:
        self.says: Reading | ReadingError | None = None
        self.asked = 0

    def read(self) -> Reading | None:
        self.asked += 1
        if isinstance(self.says, ReadingError):
            raise self.says
        return self.says

    def close(self) -> None:
        self.says = None


@pytest.fixture
def machine(tmp_path: Path) -> Kernel:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8192000 kB\nMemAvailable: 4096000 kB\n")
    return Kernel(tmp_path)


def readings(machine: Kernel, board: Board, events: list[Event], clock: list[float]) -> Readings:
    return Readings(machine, board, events.append, lambda: clock[0])


def test_what_only_the_board_tells_joins_what_the_kernel_tells(machine: Kernel) -> None:
    board = Board()
    board.says = parse_tegrastats(lines.JETPACK_6, 0)

    reading = readings(machine, board, [], [0.0]).read()

    assert (reading.available_mb, reading.total_mb) == (1435, 8000)  # the less of the two
    assert reading.rails_mw["VDD_IN"] == 12479
    assert reading.clocks_mhz["gr3d"] == 621
    assert reading.temperatures_c["tj"] == 53.968


def test_a_tool_that_fails_is_told_of_once_and_asked_again_after_pauses_that_grow(machine: Kernel) -> None:
    board, events, clock = Board(), [], [0.0]
    board.says = ReadingError("it ended")
    source = readings(machine, board, events, clock)

    for tick in range(2400):  # ten minutes
        clock[0] = tick / 4
        assert source.read().available_mb == 4000  # the kernel goes on telling

    assert [event.name for event in events] == ["readings_lost"]
    assert 10 < board.asked < 20


def test_a_tool_that_comes_back_is_told_of(machine: Kernel) -> None:
    board, events, clock = Board(), [], [0.0]
    board.says = ReadingError("it ended")
    source = readings(machine, board, events, clock)
    source.read()
    board.says = parse_tegrastats(lines.JETPACK_7, 0)

    clock[0] = 2.0
    source.read()

    assert [event.name for event in events] == ["readings_lost", "readings_back"]


def test_a_tool_that_ends_after_each_line_earns_no_short_pauses(machine: Kernel) -> None:
    board, events, clock = Board(), [], [0.0]
    source = readings(machine, board, events, clock)
    for tick in range(2400):  # ten minutes
        clock[0] = tick / 4
        board.says = ReadingError("it ended") if board.asked % 2 else parse_tegrastats(lines.JETPACK_7, 0)
        source.read()

    assert [event.name for event in events].count("readings_lost") < 20


def test_a_tool_that_has_just_been_started_is_neither_lost_nor_found(machine: Kernel) -> None:
    events: list[Event] = []

    reading = readings(machine, Board(), events, [0.0]).read()

    assert (reading.available_mb, events) == (4000, [])


def test_auto_does_without_tegrastats_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    events: list[Event] = []

    assert source_of("auto", events.append).read().total_mb > 0
    assert events == []


def test_auto_takes_tegrastats_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "tegrastats"
    tool.write_text(f"#!/bin/sh\necho '{lines.JETPACK_6}'; exec /bin/sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    source = source_of("auto", lambda event: None)

    until_s = time.monotonic() + 5
    while not (rails_mw := source.read().rails_mw) and time.monotonic() < until_s:
        time.sleep(0.02)
    source.close()

    assert rails_mw["VDD_IN"] == 12479


def test_a_source_that_was_asked_for_and_is_not_there_is_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    events: list[Event] = []

    assert source_of("tegrastats", events.append).read().total_mb > 0
    assert "not on this machine" in str(events[0].details["error"])


class Shown:
    """What jtop shows some tables as: a class of its own, no dictionary."""

    def __init__(self, **inner: Any) -> None:
        self._inner = inner

    def items(self) -> Any:
        return self._inner.items()


def board(**changes: Any) -> SimpleNamespace:
    whole: dict[str, Any] = {
        "memory": Shown(
            RAM={"tot": 8 << 20, "used": 3 << 20, "lfb": 20, "shared": 100}, SWAP={"tot": 4 << 20, "used": 1 << 20}
        ),
        "temperature": {
            "CPU": {"temp": 50.5, "online": True},
            "GPU": {"temp": -256, "online": False},
            "tj": {"temp": 51},
        },
        "power": {"rail": {"VDD_IN": {"power": 4500, "avg": 4400}}, "tot": {"power": 4500}},
        "cpu": {"total": {}, "cpu": [{"online": True, "freq": {"cur": 1_500_000}}, {"online": False}]},
        "gpu": Shown(ga10b={"freq": {"cur": 625_000}, "status": {"load": 3.0}}),
        "fan": Shown(pwmfan={"speed": [40.0], "rpm": [1200]}),
        "nvpmodel": "MAXN_SUPER",
    }
    return SimpleNamespace(**{**whole, **changes})


def test_what_jtop_shows_becomes_a_reading() -> None:
    reading = to_reading(board(), 9)

    assert (reading.available_mb, reading.total_mb) == (5120, 8192)
    assert (reading.swap_used_mb, reading.swap_total_mb, reading.read_ns) == (1024, 4096, 9)
    assert dict(reading.temperatures_c) == {"cpu": 50.5, "tj": 51}
    assert (dict(reading.rails_mw), reading.fan_percent) == ({"VDD_IN": 4500}, 40)
    assert dict(reading.clocks_mhz) == {"cpu0": 1500, "ga10b": 625}
    assert reading.power_mode == "MAXN_SUPER"


def test_a_board_that_jtop_knows_little_of_gives_a_poorer_reading() -> None:
    empty = board(memory=Shown(), temperature={}, power={}, cpu={}, gpu=Shown(), fan=Shown(), nvpmodel=None)

    reading = to_reading(empty, 0)

    assert (reading.total_mb, dict(reading.rails_mw), reading.fan_percent, reading.power_mode) == (0, {}, None, None)


def test_jtop_without_its_service_is_an_error_with_its_cure() -> None:
    with pytest.raises(ReadingError, match=r"memory\.source = auto"):
        Jtop().read()


def test_memory_that_one_of_two_does_not_tell_is_the_others() -> None:
    kernel = Reading(0, 0, 0, 0, 1)
    told = Reading(3000, 8000, 10, 20, 2)

    assert joined(kernel, told).available_mb == 3000
    assert joined(kernel, told).total_mb == 8000
