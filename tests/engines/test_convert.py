from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engines import manifest
from engines.convert import main
from engines.fetch import model_path
from engines.opening import open_runner

Arrays = dict[str, npt.NDArray[Any]]

LANDMARK_TOLERANCE_PX = 0.01
RAW_TOLERANCE = 0.002


def landmark_input(*pictures: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.stack([picture.astype(np.float32).transpose(2, 0, 1) / 255 for picture in pictures])


@pytest.mark.parametrize("runner", ["openvino", "onnxruntime"])
def test_landmarks_equal_those_of_mediapipe_sample_by_sample_of_a_batch(
    models: Path, original: Arrays, runner: str
) -> None:
    run = open_runner(model_path(models, "face_landmarks"), runner)
    tilted, upright = original["tilted"], original["upright"]

    outputs = run({"image": landmark_input(tilted, tilted[:, ::-1], upright)})

    expected = [original[f"{name}_landmarks"] for name in ("tilted", "mirrored", "upright")]
    assert outputs["landmarks"].shape == (3, 478, 3)
    assert np.abs(outputs["landmarks"] - np.stack(expected)).max() < LANDMARK_TOLERANCE_PX
    assert outputs["presence"].shape == (3, 1)
    assert (outputs["presence"] > 0.9).all()


def test_the_converted_graph_itself_computes_a_batch(models: Path, original: Arrays) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(model_path(models, "face_landmarks"), providers=["CPUExecutionProvider"])
    tilted, upright = original["tilted"], original["upright"]

    landmarks = session.run(["landmarks"], {"image": landmark_input(upright, tilted)})[0]

    expected = np.stack([original["upright_landmarks"], original["tilted_landmarks"]])
    assert np.abs(landmarks - expected).max() < LANDMARK_TOLERANCE_PX


def test_what_is_no_face_has_a_low_presence(models: Path) -> None:
    run = open_runner(model_path(models, "face_landmarks"))
    noise = np.random.default_rng(1).random((1, 3, 192, 192), dtype=np.float32)

    outputs = run({"image": noise})

    assert outputs["presence"][0, 0] < 0.1


@pytest.mark.parametrize("runner", ["openvino", "onnxruntime"])
def test_detector_outputs_equal_those_of_litert(models: Path, original: Arrays, runner: str) -> None:
    run = open_runner(model_path(models, "face_detector"), runner)
    image = (original["whole"].astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)

    outputs = run({"image": np.stack([image, image[:, ::-1, ::-1], image])})

    anchors = original["whole_anchors"]
    for sample in (0, 2):
        assert np.abs(outputs["boxes"][sample, anchors] - original["whole_boxes"]).max() < RAW_TOLERANCE
        assert np.abs(outputs["scores"][sample, anchors] - original["whole_scores"]).max() < RAW_TOLERANCE


@pytest.mark.parametrize("name", ["face_detector", "face_landmarks"])
def test_a_converted_network_keeps_the_promises_of_its_manifest(models: Path, name: str) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(model_path(models, name), providers=["CPUExecutionProvider"])

    model = manifest.load_model(name)
    assert {port.name: tuple(port.shape) for port in session.get_inputs()} == dict(model.inputs)
    assert {port.name: tuple(port.shape) for port in session.get_outputs()} == dict(model.outputs)


def test_a_network_with_an_unknown_operator_is_one_line_and_no_file(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = bytearray((models / "sources/face_landmarks.tflite").read_bytes())
    renamed = source.replace(b"TransformLandmarks", b"TransformSandmarks")
    (tmp_path / "renamed.tflite").write_bytes(renamed)

    status = main(["face_landmarks", str(tmp_path / "renamed.tflite"), str(tmp_path / "made.onnx")])

    assert status == 1
    assert capsys.readouterr().err == "renamed.tflite: operator TransformSandmarks is not known to the converter\n"
    assert not (tmp_path / "made.onnx").exists()
