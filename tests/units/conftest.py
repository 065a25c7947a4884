"""A root folder in which the units are installed as ``systemd/install`` does it, for systemd's own tools to look at."""

import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
VENDOR = Path("/usr/lib/systemd/system")
PROGRAMS = ("opt/avatar-appliance/current/bin/appliance", "bin/sh", "bin/bash", "usr/bin/cage")


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(VENDOR, root / VENDOR.relative_to("/"), symlinks=True)
    for name in PROGRAMS:
        program = root / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch(0o755)
    subprocess.run([SYSTEMD / "install", root], check=True, capture_output=True)
    return root
