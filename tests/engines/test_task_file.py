import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from task_files import (
    BLENDSHAPES,
    LANDMARKS,
    blendshape_network,
    landmark_network,
    small_task_file,
    write_task_file,
)

from engines import manifest
from engines.errors import EngineError
from engines.fetch import ensure, file_path, is_ready, model_path, source_path
from engines.manifest import picture_preprocessing
from engines.opening import open_runner
from engines.task_file import FILE_LIMIT_BYTES, MEMBER_LIMIT_BYTES, take

NAMES = ["face_blendshapes", "face_landmarks_256"]


def kept(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if path.is_file() and path.name != ".lock")


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taken")
    take(folder / "models", small_task_file(folder / "small.task"), print)
    return folder / "models"


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_a_taken_network_keeps_the_promises_of_its_manifest_for_any_batch(taken: Path, library: str) -> None:
    for name in NAMES:
        model = manifest.find_network(name)
        run = open_runner(model_path(taken, name), library)
        ((port, (_, *shape)),) = model.inputs.items()

        outputs = run({port: np.random.default_rng(1).random((3, *shape), dtype=np.float32)})

        expected = {output: (3, *sizes) for output, (_, *sizes) in model.outputs.items()}
        assert {output: values.shape for output, values in outputs.items()} == expected


def test_a_file_that_is_not_known_is_taken_for_its_shapes_and_said_to_be_unknown(tmp_path: Path) -> None:
    said: list[str] = []

    names = take(tmp_path / "models", small_task_file(tmp_path / "other.task"), said.append)

    assert names == NAMES
    assert all(is_ready(tmp_path / "models", name) for name in NAMES)
    assert "of no version that we know, SHA-256 " in said[0]


def test_only_what_is_needed_is_kept_whatever_else_the_file_holds(tmp_path: Path) -> None:
    members = {
        "../../escaped.txt": b"out",
        "/tmp/absolute.txt": b"out",
        LANDMARKS: landmark_network(),
        BLENDSHAPES: blendshape_network(),
    }

    take(tmp_path / "a/b/models", write_task_file(tmp_path / "rich.task", members), print)

    networks = [f"{name}.{ending}" for name in NAMES for ending in ("onnx", "onnx.json", "tflite")]
    assert kept(tmp_path) == sorted([*networks, "rich.task"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"landmarks": landmark_network(size_px=192)},
            r"face_landmarks_detector\.tflite must take \(1, 256, 256, 3\), got \(1, 192, 192, 3\)",
        ),
        ({"landmarks": landmark_network(points=468)}, "must give 1434, 1 numbers, got the shapes"),
        ({"blendshapes": blendshape_network(points=478)}, r"must take \(1, 146, 2\), got \(1, 478, 2\)"),
        ({"landmarks": b"no network at all"}, r"face_landmarks_detector\.tflite is not a TensorFlow Lite file"),
        ({"blendshapes": b""}, r"face_blendshapes\.tflite is not a TensorFlow Lite file"),
        ({"landmarks": landmark_network()[:3000]}, "face_landmarks_256 cannot be converted: "),
    ],
)
def test_networks_of_other_shapes_are_refused_in_one_line_and_nothing_is_kept(
    tmp_path: Path, changes: dict[str, bytes], message: str
) -> None:
    file = small_task_file(tmp_path / "wrong.task", **changes)

    with pytest.raises(EngineError, match=message) as raised:
        take(tmp_path / "models", file, print)

    assert str(raised.value).startswith(f"{file} must be a whole face_landmarker.task: ")
    assert "\n" not in str(raised.value)
    assert kept(tmp_path / "models") == []


def test_what_is_no_task_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.task").write_text("face\n" * 100)
    whole = small_task_file(tmp_path / "whole.task").read_bytes()
    (tmp_path / "half.task").write_bytes(whole[: len(whole) // 2])
    write_task_file(tmp_path / "poor.task", {LANDMARKS: landmark_network()})
    cases = {
        "text.task": "must be a task file, which is a zip file",
        "half.task": "must be a task file, which is a zip file",
        "poor.task": r"must hold face_blendshapes\.tflite, as face_landmarker\.task does",
        "absent.task": "cannot be read",
        ".": "cannot be read",
    }
    for name, message in cases.items():
        with pytest.raises(EngineError, match=message):
            take(tmp_path / "models", tmp_path / name, print)

    assert not (tmp_path / "models").exists()


def test_a_member_that_unpacks_to_more_than_a_network_is_never_unpacked(tmp_path: Path) -> None:
    members = {LANDMARKS: bytes(MEMBER_LIMIT_BYTES + 1), BLENDSHAPES: blendshape_network()}
    bomb = write_task_file(tmp_path / "bomb.task", members, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < MEMBER_LIMIT_BYTES / 50

    with pytest.raises(EngineError, match=f"must be at most {MEMBER_LIMIT_BYTES} bytes, got {MEMBER_LIMIT_BYTES + 1}"):
        take(tmp_path / "models", bomb, print)


def test_a_member_that_lies_about_its_size_is_not_read_beyond_it(tmp_path: Path) -> None:
    bomb = bytearray(
        write_task_file(
            tmp_path / "bomb.task",
            {BLENDSHAPES: blendshape_network(), LANDMARKS: bytes(MEMBER_LIMIT_BYTES + 1)},
            zipfile.ZIP_DEFLATED,
        ).read_bytes()
    )
    true_size = (MEMBER_LIMIT_BYTES + 1).to_bytes(4, "little")
    assert bomb.count(true_size) == 2
    (tmp_path / "lies.task").write_bytes(bomb.replace(true_size, (4096).to_bytes(4, "little")))

    with pytest.raises(EngineError, match="must be a task file, which is a zip file: Bad CRC-32"):
        take(tmp_path / "models", tmp_path / "lies.task", print)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    content = bytearray(small_task_file(tmp_path / "plain.task").read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1
    (tmp_path / "locked.task").write_bytes(content)

    with pytest.raises(EngineError, match="must be stored or deflated, and not encrypted"):
        take(tmp_path / "models", tmp_path / "locked.task", print)


def test_a_file_too_large_to_be_one_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "disc.task").open("wb") as file:
        file.truncate(FILE_LIMIT_BYTES + 1)  # holes: it takes no room

    with pytest.raises(EngineError, match=f"must be at most {FILE_LIMIT_BYTES} bytes"):
        take(tmp_path / "models", tmp_path / "disc.task", print)


def test_a_network_of_an_older_converter_is_converted_again_without_the_file(tmp_path: Path) -> None:
    models = tmp_path / "models"
    take(models, small_task_file(tmp_path / "small.task"), print)
    record = file_path(models, manifest.find(NAMES[0])).with_suffix(".onnx.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "converter": 0}))
    assert not is_ready(models, NAMES[0])

    ensure(models, NAMES, print)

    assert is_ready(models, NAMES[0])


@pytest.mark.parametrize("damaged", ["source", "record", "nothing"])
def test_what_cannot_be_converted_again_is_asked_for(tmp_path: Path, damaged: str) -> None:
    models, entry = tmp_path / "models", manifest.find(NAMES[1])
    if damaged != "nothing":
        take(models, small_task_file(tmp_path / "small.task"), print)
        file_path(models, entry).write_bytes(b"half")
        if damaged == "source":
            source_path(models, entry).write_bytes(b"half")
        else:
            file_path(models, entry).with_suffix(".onnx.json").write_text("[]")

    with pytest.raises(EngineError, match=r"face_\w+ is (absent|corrupt) .*models fetch --task FILE"):
        ensure(models, NAMES, print)


def test_a_network_that_takes_no_picture_has_no_way_from_a_picture_to_its_input() -> None:
    assert picture_preprocessing("face_landmarks_256").size_px == 256
    with pytest.raises(EngineError, match="takes no picture"):
        picture_preprocessing("face_blendshapes")
