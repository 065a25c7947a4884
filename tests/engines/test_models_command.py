import argparse
import json
from pathlib import Path

import pytest

from appliance.commands import models as command
from appliance.settings import Settings, from_table
from engines.errors import EngineError

NAMES = ["astronaut", "face_detector", "face_landmarks"]


def run(folder: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args(words), settings(folder))


def settings(folder: Path) -> Settings:
    return from_table({"storage": {"directory": str(folder)}})


def test_a_device_without_a_network_is_served_by_the_bundle_another_machine_wrote(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path / "desk", "fetch", "--bundle", str(tmp_path / "models.tar")) == 0
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))

    assert run(tmp_path / "device", "fetch", "--bundle", str(tmp_path / "models.tar")) == 0
    capsys.readouterr()
    assert run(tmp_path / "device", "list", "--json") == 0

    listed = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["state"]) for row in listed] == [(name, "ready") for name in NAMES]
    assert all(row["bytes"] > 100_000 for row in listed)


def test_the_list_tells_absent_from_corrupt(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/face_detector.onnx").write_bytes(b"half")

    run(tmp_path, "list")

    table = capsys.readouterr().out
    assert [line.split()[1:4:2] for line in table.splitlines() if "face_d" in line] == [["face_detector", "corrupt"]]
    assert table.count("absent") == 2


def test_fetching_what_cannot_be_had_is_an_engine_error(shelf: Path, tmp_path: Path) -> None:
    for wheel in shelf.iterdir():
        wheel.unlink()

    with pytest.raises(EngineError, match=r"pip cannot download scikit-image 0\.25\.2"):
        run(tmp_path, "fetch")
