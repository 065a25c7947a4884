import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.health.readings import Reading, ReadingError
from appliance.health.tegrastats import Tegrastats, parse_tegrastats

from . import tegrastats_lines as lines


def parsed(line: str) -> Reading:
    reading = parse_tegrastats(line, 7)
    assert reading is not None
    return reading


def test_every_number_of_a_jetpack_4_line_is_read_in_its_unit() -> None:
    reading = parsed(lines.JETPACK_4)

    assert (reading.available_mb, reading.total_mb, reading.read_ns) == (4771, 7771, 7)
    assert (reading.swap_used_mb, reading.swap_total_mb) == (100, 3885)
    assert reading.lfb_mb == 4.0  # not that of IRAM, which is another memory
    assert reading.cpu_percent == pytest.approx(30)  # of the cores that are on
    assert dict(reading.temperatures_c) == {"ao": 29, "gpu": 31.5, "iwlwifi": 36, "cpu": -4.25, "thermal": 31.35}
    assert dict(reading.rails_mw) == {"VDD_IN": 6140, "GPU": 1155, "CPU": 385, "SYS5V": 2692}
    clocks_mhz = {"cpu0": 1420, "cpu2": 1190, "emc": 1600, "gr3d": 1109, "ape": 150, "nvenc": 716}
    assert dict(reading.clocks_mhz) == clocks_mhz


def test_without_rights_there_is_less_to_read_and_small_blocks_are_in_kilobytes() -> None:
    reading = parsed(lines.JETPACK_4_WITHOUT_RIGHTS)

    assert (reading.lfb_mb, reading.swap_used_mb, dict(reading.rails_mw)) == (0.5, 9, {})
    assert dict(reading.clocks_mhz) == {"cpu0": 102, "cpu1": 102}


def test_a_sensor_without_power_and_a_rail_without_a_wire_are_left_out() -> None:
    reading = parsed(lines.JETPACK_5)

    assert set(reading.temperatures_c) == {"cpu", "soc2", "tj"}
    assert dict(reading.rails_mw) == {"VDD_GPU_SOC": 4788, "VDDQ_VDD2_1V8AO": 707}
    assert {"gr3d": 114, "gr3d2": 99, "nvjpg1": 729, "vic": 115}.items() <= dict(reading.clocks_mhz).items()


def test_jetpack_6_brackets_clocks_and_names_engines_that_are_off() -> None:
    reading = parsed(lines.JETPACK_6)

    assert (reading.available_mb, reading.lfb_mb) == (1435, 2.0)
    assert {"gr3d": 621, "nvenc": 166, "vic": 115}.items() <= dict(reading.clocks_mhz).items()
    assert "nvdec" not in reading.clocks_mhz
    assert dict(reading.rails_mw) == {"VDD_IN": 12479, "VDD_CPU_GPU_CV": 4667}


def test_spaces_do_not_matter() -> None:
    reading = parsed(lines.JETPACK_6_WITH_ODD_SPACES)

    assert (reading.swap_used_mb, reading.lfb_mb, reading.clocks_mhz["gr3d"]) == (4915, 4.0, 306)
    assert dict(reading.rails_mw) == {"VDD_GPU_SOC": 3205}


def test_of_jetpack_7s_peaks_the_present_value_is_taken() -> None:
    reading = parsed(lines.JETPACK_7)

    assert (reading.swap_total_mb, reading.lfb_mb) == (0, 2.0)
    assert dict(reading.temperatures_c) == {"cpu": 50.718, "soc1": 49}
    assert dict(reading.rails_mw) == {"VDD_GPU": 4925, "VIN": 16802}
    assert {"gr3d": 314, "nvenc0": 1556, "vic": 423, "ofa": 1556}.items() <= dict(reading.clocks_mhz).items()
    assert reading.cpu_percent == pytest.approx(55.5)


@pytest.mark.parametrize("line", ["", "\n", "tegrastats: not found", "IRAM 0/252kB(lfb 252kB)", "RAM off", "RAM /MB"])
def test_a_line_that_does_not_tell_the_memory_is_no_reading(line: str) -> None:
    assert parse_tegrastats(line, 0) is None


def test_fields_that_nobody_knows_yet_are_passed_over() -> None:
    reading = parsed("NPU 5%@[1,2] " + lines.JETPACK_7 + " fan0#33% XYZ{9} lid@open VDD_NEW 3W rpm 1200rpm")

    assert reading.available_mb == parsed(lines.JETPACK_7).available_mb
    assert reading.clocks_mhz["npu"] == 2


def test_no_damaged_line_raises_and_what_is_read_makes_sense() -> None:
    for line in lines.damaged(100_000, seed=6):
        reading = parse_tegrastats(line, 0)
        if reading is not None:
            assert 0 <= reading.available_mb <= reading.total_mb
            assert 0 <= reading.cpu_percent <= 100


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """A tool that writes what stands beside it, for as long as it is told to."""
    path = tmp_path / "tegrastats"
    path.write_text("#!/bin/sh\n" + f"echo $$ > {tmp_path}/pid; . {tmp_path}/does\n")
    path.chmod(0o755)
    return path


def does(tool: Path, script: str) -> Tegrastats:
    (tool.parent / "does").write_text(script)
    return Tegrastats(str(tool), silent_s=1)


def first(source: Tegrastats) -> Reading:
    until_s = time.monotonic() + 5
    while (reading := source.read()) is None and time.monotonic() < until_s:
        time.sleep(0.01)
    assert reading is not None
    return reading


def line(used_mb: int) -> str:
    return f"RAM {used_mb}/8000MB (lfb 5x4MB) CPU [1%@729]"


def ended(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def soon(pid: int) -> bool:
    until_s = time.monotonic() + 5
    while time.monotonic() < until_s and not ended(pid):
        time.sleep(0.02)
    return ended(pid)


def test_the_newest_whole_line_counts(tool: Path) -> None:
    source = does(tool, f"echo '{line(1000)}'; sleep 0.3")
    first(source)
    time.sleep(0.6)
    with pytest.raises(ReadingError, match="it ended"):
        source.read()
    (tool.parent / "does").write_text(f"echo '{line(3000)}'; exec sleep 60")

    assert first(source).available_mb == 5000
    source.close()


def test_a_tool_that_says_nothing_of_use_is_an_error_after_a_while_and_never_waited_for(tool: Path) -> None:
    source = does(tool, "echo hello; exec sleep 60")
    assert source.read() is None
    time.sleep(1.1)

    with pytest.raises(ReadingError, match="no line that tells the memory for 1 s"):
        source.read()


def test_a_tool_that_falls_silent_is_an_error(tool: Path) -> None:
    source = does(tool, f"echo '{line(1000)}'; exec sleep 60")
    first(source)
    time.sleep(1.1)

    with pytest.raises(ReadingError, match="no line that tells the memory for 1 s"):
        source.read()


def test_a_tool_that_is_not_there_is_an_error_with_its_cure() -> None:
    with pytest.raises(ReadingError, match=r"not on this machine; set memory.source = auto"):
        Tegrastats("tegrastats-of-nobody").read()


def test_the_tool_ends_when_whoever_started_it_is_killed(tool: Path) -> None:
    (tool.parent / "does").write_text(f"while echo '{line(1000)}'; do sleep 0.1; done")
    program = (
        "import sys, time\nfrom appliance.health.tegrastats import Tegrastats\n"
        f"source = Tegrastats({str(tool)!r}); time.sleep(source.read() is None)\n"
        "time.sleep(0.2); print('reads', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reads\n"
        os.kill(reader.pid, signal.SIGKILL)

    assert soon(int((tool.parent / "pid").read_text()))
