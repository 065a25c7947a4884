"""What systemd's own tools say of our units, and what the units promise to the program and to the settings.

Booting them for real is ``python -m tests.boot``.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.__main__ import COMMANDS
from appliance.errors import ConfigError
from appliance.journal import IDENTIFIER
from appliance.settings import DEFAULT_PATH, Storage

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = sorted(path.name for path in (SYSTEMD / "system").iterdir() if path.is_file())
SANDBOXED = [name for name in UNITS if name.startswith("avatar-") and name.endswith(".service")]
MOST_EXPOSURE = 2.0


def analyze(root: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = ["systemd-analyze", f"--root={root}", "--no-pager", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def lines(unit: str) -> Iterator[tuple[str, str]]:
    """Key and value of every assignment of a unit, its drop-in's after its own."""
    texts = [SYSTEMD / "system" / unit]
    if unit in SANDBOXED:
        texts.append(SYSTEMD / "system/avatar-.service.d/10-sandbox.conf")
    for path in texts:
        for line in path.read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                yield key, value


def values(unit: str, key: str) -> list[str]:
    return [value for name, value in lines(unit) if name == key]


def conf(folder: str) -> list[str]:
    text = (SYSTEMD / folder / "avatar-appliance.conf").read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_has_nothing_to_object_to(root: Path, unit: str) -> None:
    done = analyze(root, "verify", unit)

    said = (done.stdout + done.stderr).splitlines()
    assert [line for line in said if "avatar" in line or "kiosk" in line] == []  # of others' units it says much
    assert done.returncode == 0


@pytest.mark.parametrize("unit", SANDBOXED)
def test_a_service_is_exposed_no_more_than_it_must(root: Path, unit: str) -> None:
    said = analyze(root, "security", "--offline=yes", unit).stdout

    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert exposure is not None, said
    assert float(exposure[1]) <= MOST_EXPOSURE


def test_the_appliance_has_its_camera_microphone_and_gpu_and_no_disk() -> None:
    allowed = [value.split()[0] for value in values("avatar-appliance.service", "DeviceAllow")]

    assert {"char-video4linux", "char-alsa", "char-drm", "/dev/nvmap", "char-nv*"} <= set(allowed)
    assert values("avatar-appliance.service", "DevicePolicy") == ["closed"]
    assert [name for name in allowed if name.startswith("block")] == []


def test_only_the_appliance_hears_and_sees() -> None:
    seeing = [name for name in SANDBOXED if "char-video4linux rw" in values(name, "DeviceAllow")]

    assert seeing == ["avatar-appliance.service"]


def test_wrong_settings_stay_down() -> None:
    prevented = values("avatar-appliance.service", "RestartPreventExitStatus")

    assert prevented == [str(ConfigError.exit_status)]
    assert f"!= {ConfigError.exit_status}" in values("retry-avatar-appliance.service", "ExecCondition")[0]


def test_the_watchdog_leaves_a_hang_no_more_than_four_seconds_beyond_itself() -> None:
    assert values("avatar-appliance.service", "Type") == ["notify"]
    assert values("avatar-appliance.service", "WatchdogSec") == ["10"]
    assert values("avatar-appliance.service", "TimeoutAbortSec") == ["500ms"]
    assert values("avatar-appliance.service", "Restart") == ["always"]


@pytest.mark.parametrize("unit", SANDBOXED)
def test_a_unit_runs_a_command_that_the_program_has(unit: str) -> None:
    (program,) = values(unit, "ExecStart")
    path, command, *_ = program.split()

    assert path == "/opt/avatar-appliance/current/bin/appliance"
    assert command in COMMANDS


def test_the_state_is_where_the_program_keeps_it() -> None:
    (directory,) = set(values("avatar-appliance.service", "StateDirectory"))

    assert f"/var/lib/{directory}" == Storage().directory


def test_every_credential_may_be_absent_and_is_kept_from_others() -> None:
    kept = {line.split()[1]: line.split()[2:5] for line in conf("tmpfiles.d") if line.startswith("z")}
    for unit in ("avatar-appliance.service", "avatar-viewer.service"):
        loaded = dict(value.split(":") for value in values(unit, "LoadCredential"))
        assert [value.split(":")[0] for value in values(unit, "SetCredential")] == list(loaded)
        assert [kept[path] for path in loaded.values()] == [["0600", "root", "root"]] * len(loaded)


def test_settings_may_hold_a_stream_s_password_and_are_kept_from_others() -> None:
    kept = {line.split()[1]: line.split()[2] for line in conf("tmpfiles.d")}

    assert kept[str(DEFAULT_PATH)] == "0640"
    assert kept[str(DEFAULT_PATH.parent)] == "0750"


def test_nothing_waits_for_time_camera_broker_or_network() -> None:
    awaited = " ".join(values("avatar-appliance.service", "After") + values("avatar-engines.service", "After"))

    for late in ("time-sync.target", "network-online.target", "mosquitto", "dev-video", "sound.target", "multi-user"):
        assert late not in awaited


def test_our_user_is_one_that_logind_leaves_alone(root: Path) -> None:
    users = {line.split(":")[0]: int(line.split(":")[2]) for line in (root / "etc/passwd").read_text().splitlines()}
    groups = {line.split(":")[0]: line.split(":")[3] for line in (root / "etc/group").read_text().splitlines()}

    assert users["avatar"] < 1000
    for group in ("video", "audio", "render"):
        assert "avatar" in groups[group].split(",")


def test_the_journal_is_searched_by_the_unit_s_own_name() -> None:
    assert f"{IDENTIFIER}.service" in UNITS


def test_installing_twice_changes_nothing(root: Path) -> None:
    before = sorted(path.relative_to(root) for path in root.rglob("*"))

    done = subprocess.run([SYSTEMD / "install", root], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before
