import time
from pathlib import Path

import pytest

from appliance.health.proc import CpuTimes, cpu_percent, parse_cpu_times, parse_pressure, read_proc


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine's /proc and /sys, with numbers that are easy to check."""
    files = {
        "proc/meminfo": "MemTotal: 8192000 kB\nMemFree: 102400 kB\nMemAvailable: 2048000 kB\n"
        "SwapTotal: 4096000 kB\nSwapFree: 3072000 kB\nHugePages_Total: 0\nodd line\n",
        "proc/pressure/memory": "some avg10=1.50 avg60=0.80 avg300=0.10 total=123\n"
        "full avg10=0.25 avg60=0.10 avg300=0.00 total=45\n",
        "proc/stat": "cpu  100 20 30 800 50 5 5 0 7 0\ncpu0 1 2 3 4\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "45375\n",
        "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
        "sys/class/thermal/thermal_zone1/temp": "-256000\n",
        "sys/class/thermal/thermal_zone2/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone2/temp": "46000\n",
        "sys/class/thermal/thermal_zone3/type": "broken\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_every_number_is_read_in_its_unit(machine: Path) -> None:
    reading, times = read_proc(root=machine)

    assert (reading.total_mb, reading.available_mb) == (8000, 2000)
    assert (reading.swap_total_mb, reading.swap_used_mb) == (4000, 1000)
    assert (reading.psi_some_avg10, reading.psi_full_avg10) == (1.5, 0.25)
    assert reading.temperatures_c == {"cpu-thermal": 45.375, "cpu-thermal-2": 46.0}  # a zone that is off is left out
    assert reading.cpu_percent == 0.0
    assert times == CpuTimes(busy=160, total=1010)


def test_the_cpu_share_is_that_between_two_readings(machine: Path) -> None:
    _, before = read_proc(root=machine)
    (machine / "proc/stat").write_text("cpu  175 20 30 825 50 5 5 0 7 0\n")

    reading, _ = read_proc(before, root=machine)

    assert reading.cpu_percent == pytest.approx(75.0)


@pytest.mark.parametrize(
    "missing", ["proc/meminfo", "proc/pressure/memory", "proc/stat", "sys/class/thermal/thermal_zone0/type"]
)
def test_a_file_that_a_container_hides_costs_only_its_own_numbers(machine: Path, missing: str) -> None:
    (machine / missing).unlink()

    reading, _ = read_proc(CpuTimes(1, 2), root=machine)

    assert (reading.total_mb == 0) == (missing == "proc/meminfo")
    assert (reading.psi_some_avg10 is None) == (missing == "proc/pressure/memory")
    assert (reading.cpu_percent == 0.0) == (missing == "proc/stat")
    assert 46.0 in reading.temperatures_c.values()


def test_an_empty_root_gives_an_empty_reading(tmp_path: Path) -> None:
    reading, times = read_proc(CpuTimes(5, 10), root=tmp_path)

    assert (reading.total_mb, reading.cpu_percent, dict(reading.temperatures_c)) == (0, 0.0, {})
    assert times == CpuTimes()


def test_this_machine_reads_plausibly() -> None:
    before_ns = time.monotonic_ns()

    reading, _ = read_proc()

    assert 0 < reading.available_mb <= reading.total_mb
    assert before_ns <= reading.read_ns <= time.monotonic_ns()


@pytest.mark.parametrize("text", ["", "some", "some avg10=x", "full total=3", "some avg60=1.0"])
def test_pressure_of_another_form_is_no_pressure(text: str) -> None:
    assert parse_pressure(text) == (None, None)


@pytest.mark.parametrize("text", ["", "cpu", "cpu 1 2 3", "cpu a b c d", "intr 1 2 3 4"])
def test_cpu_times_of_another_form_are_none(text: str) -> None:
    assert parse_cpu_times(text) == CpuTimes()


def test_counters_that_went_back_give_no_share() -> None:
    assert cpu_percent(CpuTimes(50, 100), CpuTimes(10, 20)) == 0.0
