import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.errors import EngineError
from engines.fetch import model_path
from engines.keys import Wanted
from engines.networks import network
from engines.opening import InUse, in_use, open_network, open_runner


def wanted(folder: Path) -> Wanted:
    return Wanted("int8", folder / "engines", folder / "calibration")


def test_auto_is_openvino_where_it_is_installed(models: Path) -> None:
    runner = open_runner(model_path(models, "face_detector"))

    assert type(runner).__name__ == "OpenVinoRunner"


@pytest.mark.parametrize(
    ("runner", "message"),
    [
        ("tensorrt", r"engines\.runner = tensorrt needs the package tensorrt; it comes with JetPack"),
        ("cuda", "must be one of auto, tensorrt, .*, got 'cuda'"),
    ],
)
def test_a_runner_that_cannot_be_had_is_one_clear_line(tmp_path: Path, runner: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        open_network(network("expression", tmp_path), runner, wanted(tmp_path))


def test_a_machine_without_a_gpu_runs_fp32_on_the_processor(tmp_path: Path) -> None:
    expression = network("expression", tmp_path)

    assert in_use(expression, "auto", wanted(tmp_path)) == InUse("openvino", "fp32", "")
    assert type(open_network(expression, "auto", wanted(tmp_path))).__name__ == "OpenVinoRunner"


@pytest.mark.parametrize("runner", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("content", [None, b"", b"no network"])
def test_a_file_that_is_no_network_is_an_engine_error(tmp_path: Path, runner: str, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(EngineError, match=r"cannot load .*model\.onnx"):
        open_runner(path, runner)


@pytest.mark.parametrize("runner", ["openvino", "onnxruntime"])
def test_one_sample_and_a_batch_compute_the_same(models: Path, runner: str) -> None:
    run = open_runner(model_path(models, "face_landmarks"), runner)
    images = np.random.default_rng(4).random((3, 3, 192, 192), dtype=np.float32)

    batch = {name: output.copy() for name, output in run({"image": images}).items()}
    alone = [{name: output.copy() for name, output in run({"image": images[i : i + 1]}).items()} for i in range(3)]

    for name, outputs in batch.items():
        np.testing.assert_array_equal(outputs, np.concatenate([sample[name] for sample in alone]))


def test_importing_the_package_loads_no_library() -> None:
    code = """
import sys, engines.opening, engines.fetch, engines.bundle
print(*sorted({"openvino", "onnxruntime", "onnx", "tflite", "cv2", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() in ([], ["numpy"])
