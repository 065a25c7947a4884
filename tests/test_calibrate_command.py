"""Calibration as an operator does it: film, compute, compare, forget; and everything that can be wrong with it."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import daemons
import numpy as np
import pytest
from brokers import Mosquitto, wait_until

from appliance.demo.clip import SPEECH_WAV
from appliance.demo.household import to_toml
from appliance.demo.scene import DESK, film
from appliance.settings import Settings, from_table
from calibration.folder import CalibrationFolder
from engines.keys import find_held_out, find_ranges
from engines.networks import network
from engines.verifying import read_samples

NETWORKS = ["expression", "face_landmarks", "viseme"]


def calibrate(settings_file: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "appliance", "calibrate", *words, "--config", str(settings_file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def written(folder: Path, settings: Settings, clip: Path, url: str = "mqtt://127.0.0.1:1", **camera: Any) -> Path:
    """Settings of a device that films the clip and hears speech, with a storage of its own."""
    table = {
        key: list(part) if isinstance(part, tuple) else part
        for key, part in asdict(film(from_table(DESK), clip, url)).items()
    }
    table["camera"][0].update({"name": f"filmed-{os.getpid()}", **camera})  # a name that no demonstration has
    table["microphone"][0]["source"] = f"file:{SPEECH_WAV}"
    table["storage"]["directory"] = str(folder)
    (folder / "models").symlink_to(settings.storage.models)
    path = folder / "appliance.toml"
    path.write_text(to_toml(table))
    return path


@pytest.fixture(scope="module")
def filmed(desk: Settings, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of twelve seconds, of which loading the networks takes four where others keep the machine busy."""
    folder = tmp_path_factory.mktemp("filmed")
    done = calibrate(written(folder, desk, clip), "record", "--yes", "--seconds", "12", "--count", "48")
    assert done.returncode == 0, done.stderr
    return folder / "calibration"


@pytest.fixture
def device(desk: Settings, clip: Path, filmed: Path, tmp_path: Path) -> Path:
    """The settings of a device where that was filmed."""
    shutil.copytree(filmed, tmp_path / "calibration")
    return written(tmp_path, desk, clip)


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    """The last line of an operator's error; there is no traceback above it."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_nothing_is_filmed_without_consent(desk: Settings, clip: Path, tmp_path: Path) -> None:
    done = calibrate(written(tmp_path, desk, clip), "record")

    said = done.stderr.splitlines()
    assert "keeps at most 300 samples" in said[0]
    assert "deleted after 30 days" in said[0]
    assert one_line(done) == ("appliance: nothing is filmed without consent; ask those who are filmed, then give --yes")
    assert not (tmp_path / "calibration").exists()


@pytest.mark.parametrize(
    ("answer", "then"), [("no", "nothing is filmed without consent"), ("yes", "a face must be seen")]
)
def test_consent_is_asked_for_on_a_terminal(answer: str, then: str, desk: Settings, clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((480, 640, 3), 90, np.uint8))
    device = written(tmp_path, desk, clip, source=f"file:{tmp_path / 'wall.png'}")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "appliance", "calibrate", "record", "--seconds", "1", "--config", str(device)]
    with subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, text=True) as process:
        os.write(ours, f"{answer}\n".encode())
        _, said = process.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)

    assert "Do all who are filmed agree? Type yes:" in said
    assert then in said.splitlines()[-1]
    assert process.returncode == 1


def test_a_recording_keeps_what_the_networks_were_shown(filmed: Path) -> None:
    folder = CalibrationFolder(filmed)

    counts = folder.counts()
    faces = [block["image"] for out in (False, True) for block in folder.blocks("face_landmarks", out)]
    speech = [block["features"] for out in (False, True) for block in folder.blocks("viseme", out)]

    assert sorted(counts) == NETWORKS  # and no whole picture, as the detector sees it
    assert counts["face_landmarks"] >= 10
    assert {picture.shape[1:] for picture in faces} == {(3, 192, 192)}
    assert min(float(picture.std()) for picture in faces) > 0.05
    assert {piece.shape[1:] for piece in speech} == {(100, 80, 1, 1)}


def test_ranges_and_held_out_inputs_are_what_engines_are_built_with(device: Path, desk: Settings) -> None:
    done = calibrate(device, "ranges", "--json")

    rows = json.loads(done.stdout)
    assert (done.returncode, [row["model"] for row in rows]) == (0, NETWORKS)
    for row in rows:
        each = network(row["model"], desk.storage.models)
        ranges = find_ranges(each, device.parent / "calibration")
        held_out = find_held_out(each, device.parent / "calibration")
        assert ranges is not None
        assert ranges.samples == row["samples"]
        assert held_out is not None
        assert held_out.is_relative_to(device.parent)
        assert len(next(iter(read_samples(held_out, each).values()))) >= 1


def test_a_report_names_every_blendshape_and_viseme(device: Path) -> None:
    done = calibrate(device, "report", "--json")

    reports = {one["model"]: one for one in json.loads(done.stdout)}
    shapes = {channel["name"]: channel for channel in reports["expression"]["channels"]["blendshapes"]}
    sounds = {channel["name"] for channel in reports["viseme"]["channels"]["visemes"]}
    measures = {row["measure"]: row["value"] for row in reports["face_landmarks"]["rows"]}
    assert done.returncode == 0
    assert len(shapes) == 52
    assert 0 <= shapes["jawOpen"]["error"] < 0.02
    assert {"sil", "PP", "aa"} < sounds
    assert 0 < measures["mean distance, % from eye to eye"] < 1
    assert reports["expression"]["holds"]


def test_a_report_is_a_table_for_people(device: Path) -> None:
    done = calibrate(device, "report", "--model", "expression", "--method", "minmax")

    assert done.returncode == 0
    assert "expression, minmax" in done.stdout
    assert "jawOpen" in done.stdout
    assert "INT8 holds" in done.stdout


def test_forgetting_leaves_the_ranges_and_says_what_went(device: Path) -> None:
    calibrate(device, "ranges", "--model", "expression")

    done, again, ranges = (calibrate(device, "forget", *more) for more in ((), (), ("--ranges",)))

    assert "files of pictures and sound" in done.stdout
    assert again.stdout.startswith("nothing lay in")
    assert "the ranges of 1 networks" in ranges.stdout
    assert [path.name for path in (device.parent / "calibration").rglob("*")] == [".lock"]


def expire(device: Path) -> None:
    stamp = device.parent / "calibration" / "set.json"
    stamp.write_text(json.dumps({"made_utc_s": time.time() - 200, "expires_utc_s": time.time() - 100}))


def test_an_expired_set_goes_at_the_next_command(device: Path) -> None:
    expire(device)

    done = calibrate(device, "ranges")

    assert one_line(done).endswith("holds no samples, for they expired; film some: appliance calibrate record")
    assert list((device.parent / "calibration").rglob("*.npz")) == []


def test_an_expired_set_goes_when_the_daemon_starts(
    desk: Settings, clip: Path, filmed: Path, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    shutil.copytree(filmed, tmp_path / "calibration")
    device = written(tmp_path, desk, clip, f"mqtt://127.0.0.1:{mosquitto.port}")
    expire(device)

    with daemons.running(device):
        assert wait_until(lambda: not (tmp_path / "calibration" / "set.json").exists(), 20)  # it goes last

    assert list((tmp_path / "calibration").rglob("*.npz")) == []


def test_before_a_recording_there_are_no_ranges(desk: Settings, clip: Path, tmp_path: Path) -> None:
    done = calibrate(written(tmp_path, desk, clip), "ranges")

    assert one_line(done).endswith("holds no samples; film some: appliance calibrate record")


def test_ranges_of_an_older_network_give_way_to_those_that_ship(device: Path) -> None:
    calibrate(device, "ranges", "--model", "expression")
    path = device.parent / "calibration" / "expression" / "ranges.json"
    path.write_text(path.read_text().replace('"onnx_sha256": "', '"onnx_sha256": "0'))

    done = calibrate(device, "report", "--model", "expression")

    assert done.returncode == 0, done.stderr
    assert "expression: this site's ranges are of an older network, those that ship are used" in done.stderr


def test_a_network_that_was_not_filmed_is_named(device: Path) -> None:
    done = calibrate(device, "ranges", "--model", "face_detector")

    assert one_line(done) == (
        "appliance: --model must be a network that was filmed: expression, face_landmarks, viseme; got 'face_detector'"
    )


def test_where_nobody_stands_nothing_is_kept(desk: Settings, clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((480, 640, 3), 90, np.uint8))
    device = written(tmp_path, desk, clip, source=f"file:{tmp_path / 'wall.png'}")

    done = calibrate(device, "record", "--yes", "--seconds", "2")

    assert re.search(r"a face must be seen, and none was in \d+ s, so nothing is kept", one_line(done))
    assert [path for path in (tmp_path / "calibration").rglob("*") if path.suffix in (".npz", ".json")] == []


def test_networks_that_are_not_for_eight_bits_need_no_film(desk: Settings, clip: Path, tmp_path: Path) -> None:
    device = written(tmp_path, desk, clip)
    device.write_text(device.read_text().split("[[microphone]]")[0].replace('microphone = "speech"', 'microphone = ""'))

    done = calibrate(device, "record", "--yes", "--set", "engines.face=task", "--set", f"storage.directory={tmp_path}")

    assert one_line(done).endswith("is for eight bits: nothing is to be filmed")


@pytest.fixture
def recording(desk: Settings, clip: Path, tmp_path: Path) -> "Iterator[subprocess.Popen[str]]":
    """A recording that has kept its first blocks of time."""
    device = written(tmp_path, desk, clip)
    words = ["record", "--yes", "--seconds", "40", "--count", "200", "--config", str(device)]
    command = [sys.executable, "-m", "appliance", "calibrate", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert wait_until(lambda: len(list((tmp_path / "calibration").rglob("*.npz"))) >= 3, 30)
        yield process
        process.terminate()  # a kill would leave the camera's ring in /dev/shm


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_what_was_kept_before_a_signal_is_whole(
    number: signal.Signals, recording: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    recording.send_signal(number)
    _, said = recording.communicate(timeout=20)

    folder = CalibrationFolder(tmp_path / "calibration")
    assert recording.returncode == 1
    assert said.splitlines()[-1].startswith("appliance: stopped by a signal; what was kept is whole (")
    assert folder.counts()["face_landmarks"] >= 3
    assert list(folder.path.rglob(".aside-*")) == []


def test_a_second_recording_at_once_is_refused(recording: "subprocess.Popen[str]", tmp_path: Path) -> None:
    done = calibrate(tmp_path / "appliance.toml", "forget")

    assert "a recording into" in one_line(done)
    assert recording.poll() is None


def test_a_folder_with_anything_else_in_it_is_not_touched(device: Path) -> None:
    (device.parent / "calibration" / "notes.txt").write_text("mine")

    done = calibrate(device, "forget", "--ranges")

    assert "must hold calibration samples alone, and holds notes.txt" in one_line(done)
    assert list((device.parent / "calibration").rglob("*.npz"))
