"""The console script: help for everybody, and an exit status for every end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.__main__ import COMMANDS

CONTRACT = {
    *("demo", "run", "check", "models", "engines", "calibrate", "monitor", "viewer", "bridge"),
    *("record", "replay", "bench"),
}
BESIDE_IT = {"exporter"}


def appliance(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "appliance", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_commands_are_the_contracts() -> None:
    assert set(COMMANDS) == CONTRACT | BESIDE_IT


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    done = appliance(command, "--help")

    assert done.returncode == 0
    for words in ("example:", f"appliance {command}", "--config FILE", "--set section.key=value", "--verbose"):
        assert words in done.stdout


def test_the_help_lists_every_command() -> None:
    done = appliance("--help")

    assert done.returncode == 0
    assert all(f"\n    {command}" in done.stdout for command in COMMANDS)


def test_numpy_has_one_thread_whatever_the_machine_has() -> None:
    work = "import os, appliance, numpy as np; np.eye(999) @ np.eye(999); print(*os.listdir('/proc/self/task'))"
    unset = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", work], env=unset, capture_output=True, text=True, check=True)

    assert len(done.stdout.split()) == 1


def test_a_wrong_command_line_is_2() -> None:
    assert appliance("dance").returncode == 2
    assert appliance("demo", "--sekonds", "3").returncode == 2


def test_wrong_settings_are_78_and_one_line(tmp_path: Path) -> None:
    path = tmp_path / "appliance.toml"
    path.write_text('[[camera]]\nname = "cam0"\nsource = "file:x"\nfps = 0\n')

    done = appliance("run", "--config", str(path))

    assert done.returncode == 78
    assert done.stderr == "appliance: camera[0].fps must be between 1 and 120, got 0\n"


def test_no_camera_in_the_settings_is_78(tmp_path: Path) -> None:
    path = tmp_path / "appliance.toml"
    path.write_text("")

    done = appliance("run", "--config", str(path))

    assert (done.returncode, done.stderr.count("\n")) == (78, 1)


def test_no_settings_file_is_78_and_says_where_it_belongs(tmp_path: Path) -> None:
    done = appliance("run", "--config", str(tmp_path / "none.toml"))

    assert done.returncode == 78
    assert "no settings at" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_an_operator_can_mend_is_1_and_one_line(tmp_path: Path) -> None:
    done = appliance("replay", str(tmp_path))

    assert done.returncode == 1
    assert done.stderr.startswith("appliance: ")
    assert done.stderr.count("\n") == 1
