import time
from pathlib import Path

import pytest

from appliance.health.proc import (
    CpuTimes,
    cpu_percent,
    parse_cpu_times,
    parse_largest_block,
    parse_pressure,
    read_proc,
)


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


def add(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_largest_free_block_is_that_of_any_zone(machine: Path) -> None:
    add(
        machine,
        "proc/buddyinfo",
        "Node 0, zone      DMA      0      0      0      0      0      0      0      0      0      0      0\n"
        "Node 0, zone   Normal    532    959    991   3399   3672   2153   1299    378    164      0      0\nodd\n",
    )

    reading, _ = read_proc(root=machine)

    assert reading.lfb_mb == 1.0  # 256 pages of 4 kB


def test_without_a_single_free_page_the_largest_block_is_nothing() -> None:
    assert parse_largest_block("Node 0, zone Normal 0 0 0 0 0 0 0 0 0 0 0") == 0.0


@pytest.mark.parametrize(
    "text", ["", "Node 0, zone", "Node 0, zone Normal 1 2 3", "Node 0, zone Normal a b c d e f g h"]
)
def test_free_blocks_of_another_form_are_not_told(text: str) -> None:
    assert parse_largest_block(text) is None


GROUP = "system.slice/avatar.service"


def test_a_control_group_that_grants_less_than_the_machine_is_what_is_available(machine: Path) -> None:
    add(machine, "proc/self/cgroup", f"0::/{GROUP}\n")
    add(machine, f"sys/fs/cgroup/{GROUP}/memory.high", "max\n")
    add(machine, f"sys/fs/cgroup/{GROUP}/memory.max", f"{1000 << 20}\n")
    add(machine, f"sys/fs/cgroup/{GROUP}/memory.current", f"{700 << 20}\n")
    add(
        machine,
        f"sys/fs/cgroup/{GROUP}/memory.stat",
        f"anon 1\nactive_file {70 << 20}\ninactive_file {50 << 20}\nfile_mapped {30 << 20}\n",
    )
    add(machine, f"sys/fs/cgroup/{GROUP}/memory.pressure", "some avg10=7.00 avg60=0 avg300=0 total=1\n")

    reading, _ = read_proc(root=machine)

    assert reading.available_mb == 390  # what no process has mapped of the page cache is given back when it is needed
    assert reading.psi_some_avg10 == 7.0  # its own stalls, not those of others


def test_the_tightest_of_the_groups_around_it_counts(machine: Path) -> None:
    add(machine, "proc/self/cgroup", f"0::/{GROUP}\n")
    for folder, limit_mb in ((GROUP, 3000), ("system.slice", 900)):
        add(machine, f"sys/fs/cgroup/{folder}/memory.max", f"{limit_mb << 20}\n")
        add(machine, f"sys/fs/cgroup/{folder}/memory.current", f"{800 << 20}\n")

    assert read_proc(root=machine)[0].available_mb == 100


def test_groups_of_version_1_count_as_well_and_its_huge_number_is_no_limit(machine: Path) -> None:
    add(machine, "proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/booth\n0::/\n")
    add(machine, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    add(machine, "sys/fs/cgroup/memory/memory.usage_in_bytes", "5000000000\n")
    add(machine, "sys/fs/cgroup/memory/booth/memory.limit_in_bytes", f"{600 << 20}\n")
    add(machine, "sys/fs/cgroup/memory/booth/memory.usage_in_bytes", f"{500 << 20}\n")
    add(
        machine,
        "sys/fs/cgroup/memory/booth/memory.stat",
        f"active_file 1\ntotal_cache 9\ntotal_active_file {15 << 20}\n"
        f"total_inactive_file {20 << 20}\ntotal_mapped_file {5 << 20}\n",
    )

    assert read_proc(root=machine)[0].available_mb == 130


def test_a_group_that_holds_more_than_it_may_grants_nothing(machine: Path) -> None:
    add(machine, "proc/self/cgroup", "0::/booth\n")
    add(machine, "sys/fs/cgroup/booth/memory.high", f"{500 << 20}\n")
    add(machine, "sys/fs/cgroup/booth/memory.current", f"{600 << 20}\n")

    assert read_proc(root=machine)[0].available_mb == 0


def test_the_board_says_where_it_slows_down_and_what_it_slows_down_now(machine: Path) -> None:
    thermal = "sys/class/thermal"
    trips = [("70000", "passive"), ("99000", "passive"), ("104500", "critical"), ("51000", "active")]
    for number, (milli, kind) in enumerate(trips):  # as Orin's: at 70 degrees it only warns of its case
        add(machine, f"{thermal}/thermal_zone0/trip_point_{number}_temp", milli)
        add(machine, f"{thermal}/thermal_zone0/trip_point_{number}_type", kind)
    devices = [
        ("pwm-fan", "3"),
        ("cpu-throttle-alert", "1"),
        ("devfreq-17000000.gpu", "4"),
        ("cpufreq-cpu0", "0"),
        ("hot-surface-alert", "1"),
        ("LCD", "7"),
    ]
    for number, (kind, state) in enumerate(devices):
        add(machine, f"{thermal}/cooling_device{number}/type", f"{kind}\n")
        add(machine, f"{thermal}/cooling_device{number}/cur_state", f"{state}\n")

    reading, _ = read_proc(root=machine)

    assert reading.throttles_at_c == 99
    assert reading.throttled == ("cpu-throttle-alert", "devfreq-17000000.gpu")


def test_fan_clocks_and_rails_are_read_where_they_are(machine: Path) -> None:
    add(machine, "sys/class/hwmon/hwmon0/pwm1", "102\n")
    add(machine, "sys/class/hwmon/hwmon3/in1_label", "VDD_IN\n")
    add(machine, "sys/class/hwmon/hwmon3/in1_input", "5000\n")
    add(machine, "sys/class/hwmon/hwmon3/curr1_input", "960\n")
    add(machine, "sys/class/hwmon/hwmon3/in7_label", "sum of shunt voltages\n")
    add(machine, "sys/class/hwmon/hwmon3/in7_input", "5\n")
    add(machine, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "729600\n")
    add(machine, "sys/devices/system/cpu/cpu10/cpufreq/scaling_cur_freq", "1510400\n")
    add(machine, "sys/devices/system/cpu/cpufreq/policy0", "")

    reading, _ = read_proc(root=machine)

    assert reading.fan_percent == 40.0
    assert dict(reading.rails_mw) == {"VDD_IN": 4800}
    assert dict(reading.clocks_mhz) == {"cpu0": 729.6, "cpu10": 1510.4}


def test_a_sensor_that_says_the_same_whatever_the_heat_is_left_out(machine: Path) -> None:
    add(machine, "sys/class/thermal/thermal_zone4/type", "PMIC-Die\n")
    add(machine, "sys/class/thermal/thermal_zone4/temp", "100000\n")

    assert max(read_proc(root=machine)[0].temperatures_c.values()) == 46.0
