"""That the judge of power cuts would notice. The cuts themselves are ``python -m tests.boot cuts``."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines.store import Store

from .churn import KEY, ranges_file
from .cutting import damage

KEEP = "import sys; from pathlib import Path; from boot.churn import keep_on; keep_on(*map(Path, sys.argv[1:]))"
ENOUGH = 3
WAIT_S = 120.0  # for a machine that is busy with its disk; a second elsewhere


@pytest.fixture
def kept(tmp_path: Path) -> int:
    """How many engines and ranges were kept in the folder before their keeper was killed."""
    said = tmp_path / "said"
    said.write_text("0")
    command = [sys.executable, "-c", KEEP, str(tmp_path), str(said)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
    ends_s = time.monotonic() + WAIT_S
    while int(said.read_text()) < ENOUGH and process.poll() is None and time.monotonic() < ends_s:
        time.sleep(0.02)
    process.kill()
    process.wait()
    number = int(said.read_text())
    assert number >= ENOUGH, f"only {number} were kept before {process.returncode}"
    return number


def found(storage: Path, said: int) -> list[str]:
    """What is damaged, but for the models, which are not there."""
    return [line for line in damage(storage, said) if not line.startswith("model")]


def test_what_was_kept_is_whole_after_a_kill(tmp_path: Path, kept: int) -> None:
    assert found(tmp_path, kept) == []


def test_what_was_said_to_be_kept_and_is_not_is_named(tmp_path: Path, kept: int) -> None:
    assert found(tmp_path, kept + 9) == [
        f"engine {kept + 9} was kept and is not there",
        f"calibration {kept + 9} was kept and is not there",
    ]


def test_a_torn_engine_and_torn_ranges_are_named(tmp_path: Path, kept: int) -> None:
    plan = tmp_path / "engines" / Store(tmp_path / "engines").record(KEY).plan
    plan.write_bytes(plan.read_bytes()[:-1])
    ranges = ranges_file(tmp_path)
    ranges.write_bytes(ranges.read_bytes()[:-9])

    engine, calibration = found(tmp_path, kept)

    assert engine == "engine damaged"
    assert calibration.startswith("calibration: the ranges")


def test_models_that_are_absent_are_named(tmp_path: Path) -> None:
    assert list(damage(tmp_path, 0)) == ["model face_detector", "model face_landmarks"]
