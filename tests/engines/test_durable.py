import os
from pathlib import Path

import pytest

from engines.durable import settle


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the disk, in order; it is also done."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        steps.append(f"rename {path.name} {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    return steps


def test_what_a_file_holds_reaches_the_disk_before_its_name_and_its_name_before_we_go_on(
    tmp_path: Path, steps: list[str]
) -> None:
    (tmp_path / "made").mkdir()
    aside, path = tmp_path / "made/aside", tmp_path / "kept"
    aside.write_text("new")
    path.write_text("old")

    settle(aside, path)

    assert path.read_text() == "new"
    assert not aside.exists()
    assert steps == ["sync aside", "rename aside kept", f"sync {tmp_path.name}"]
