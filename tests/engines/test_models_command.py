import argparse
import json
from pathlib import Path

import pytest
from task_files import small_task_file

from appliance.commands import models as command
from appliance.settings import Settings, from_table
from engines.errors import EngineError

NAMES = ["astronaut", "face_detector", "face_landmarks"]
OPTIONAL = ["face_blendshapes", "face_landmarks_256"]


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
    states = [(row["name"], row["state"]) for row in listed]
    assert states == [(name, "ready") for name in NAMES] + [(name, "absent") for name in OPTIONAL]
    assert all(row["bytes"] > 100_000 for row in listed if row["name"] in NAMES)


def test_the_list_tells_absent_from_corrupt(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/face_detector.onnx").write_bytes(b"half")

    run(tmp_path, "list")

    table = capsys.readouterr().out
    assert [line.split()[1:4:2] for line in table.splitlines() if "face_d" in line] == [["face_detector", "corrupt"]]
    assert table.count("absent") == 2 + len(OPTIONAL)


def test_the_second_model_set_is_listed_as_optional_until_its_owner_brings_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = small_task_file(tmp_path / "small.task")
    listed = []

    for words in ([], ["fetch", "--task", str(file)]):
        if words:
            assert run(tmp_path, *words) == 0
        capsys.readouterr()
        run(tmp_path, "list", "--json")
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        listed.append([(rows[name]["state"], rows[name]["source"], len(rows[name]["sha256"])) for name in OPTIONAL])

    assert listed == [[("absent", "optional: fetch --task FILE", 0)] * 2, [("ready", "your task file", 64)] * 2]


def test_a_bundle_and_a_task_file_are_not_taken_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, "fetch", "--bundle", "models.tar", "--task", "face_landmarker.task")

    assert ended.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_fetching_what_cannot_be_had_is_an_engine_error(shelf: Path, tmp_path: Path) -> None:
    for wheel in shelf.iterdir():
        wheel.unlink()

    with pytest.raises(EngineError, match=r"pip cannot download scikit-image 0\.25\.2"):
        run(tmp_path, "fetch")
