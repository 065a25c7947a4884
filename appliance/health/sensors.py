"""Heat, fan, clocks and power from /sys, on any Linux machine. What is not there is left out."""

from pathlib import Path

from appliance.health.files import number, text

_OFF_MILLI = -200_000  # a sensor without power
_NO_SENSOR = "PMIC"  # says 50 or 100 degrees on every board, whatever it is like
_COOLEST_TRIP_C = 80.0  # Orin's trip at 70 degrees warns of a hot case and slows nothing down
_FULL_PWM = 255
_SLOWS = ("cpufreq", "devfreq", "throttle", "processor")  # what of the cooling devices is no fan and no display


def read_temperatures(thermal: Path) -> dict[str, float]:
    """Degrees by zone type; zones of one type are numbered; a zone that is off does not read."""
    temperatures: dict[str, float] = {}
    for zone in _numbered(thermal, "thermal_zone*"):
        name, milli = text(zone / "type").strip() or zone.name, number(zone / "temp")
        if milli is None or milli < _OFF_MILLI or name.startswith(_NO_SENSOR):
            continue
        count = sum(1 for known in temperatures if known == name or known.startswith(f"{name}-"))
        temperatures[f"{name}-{count + 1}" if count else name] = milli / 1000.0
    return temperatures


def throttles_at_c(thermal: Path) -> float | None:
    """The lowest temperature at which the kernel slows something down; ``None`` where no zone tells."""
    trips_c = [
        milli / 1000.0
        for kind in thermal.glob("thermal_zone*/trip_point_*_type")
        if text(kind).strip() == "passive"
        and (milli := number(kind.with_name(kind.name.replace("_type", "_temp")))) is not None
    ]
    return min((trip_c for trip_c in trips_c if trip_c >= _COOLEST_TRIP_C), default=None)


def throttled(thermal: Path) -> tuple[str, ...]:
    """What is being slowed down against heat now."""
    devices = _numbered(thermal, "cooling_device*")
    acting = [text(device / "type").strip() for device in devices if (number(device / "cur_state") or 0) > 0]
    return tuple(sorted({name for name in acting if any(word in name.lower() for word in _SLOWS)}))


def fan_percent(hwmon: Path) -> float | None:
    """How hard the fan is driven, of the first one that there is."""
    for speed in sorted(hwmon.glob("hwmon*/pwm1")):
        if (level := number(speed)) is not None:
            return round(100.0 * level / _FULL_PWM, 1)
    return None


def read_clocks(cpus: Path) -> dict[str, float]:
    """Megahertz of each core that tells."""
    clocks = ((cpu.name, number(cpu / "cpufreq/scaling_cur_freq")) for cpu in _numbered(cpus, "cpu[0-9]*"))
    return {name: khz / 1000.0 for name, khz in clocks if khz is not None}


def read_rails(hwmon: Path) -> dict[str, float]:
    """Milliwatts of each rail of the board's power meters, INA3221; their sums of shunts are no rails."""
    rails: dict[str, float] = {}
    for label in sorted(hwmon.glob("hwmon*/in[0-9]*_label")):
        index = label.name.removeprefix("in").removesuffix("_label")
        millivolts, milliamperes = (
            number(label.with_name(f"in{index}_input")),
            number(label.with_name(f"curr{index}_input")),
        )
        if millivolts is not None and milliamperes is not None and "shunt" not in text(label):
            rails[text(label).strip()] = round(millivolts * milliamperes / 1000.0, 1)
    return rails


def _numbered(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda path: (len(path.name), path.name))
