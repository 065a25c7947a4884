import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from engines.errors import EngineError
from engines.fetch import model_path
from engines.keys import Wanted
from engines.networks import network
from engines.opening import InUse, in_use, open_network, open_runner
from engines.own import own_model, own_model_path


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


@pytest.mark.parametrize("faces", [1, 2, 4])
@pytest.mark.parametrize("runner", ["openvino", "onnxruntime"])
def test_one_sample_and_a_batch_compute_the_same(models: Path, runner: str, faces: int) -> None:
    """Whatever batches it is ready for: three are one and one and one, or two and one."""
    run = open_runner(model_path(models, "face_detector"), runner, largest_batch=faces)
    images = np.random.default_rng(4).random((7, 3, 128, 128), dtype=np.float32)
    alone = [{name: output.copy() for name, output in run({"image": image[None]}).items()} for image in images]

    for count in (2, 3, 4, 7):
        batch = run({"image": images[:count]})
        for name, outputs in batch.items():
            true = np.concatenate([sample[name] for sample in alone[:count]])
            np.testing.assert_allclose(outputs, true, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("runner", ["openvino", "onnxruntime"])
def test_a_network_of_one_fixed_batch_runs_its_samples_one_by_one(tmp_path: Path, runner: str) -> None:
    model = onnx.load(own_model_path("expression"))
    for entry in (*model.graph.input, *model.graph.output):
        entry.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "one.onnx")
    shapes = own_model("expression").inputs
    given = {name: np.random.default_rng(1).random((3, *shape[1:]), np.float32) for name, shape in shapes.items()}

    fixed = open_runner(tmp_path / "one.onnx", runner, largest_batch=4)(given)["blendshapes"]

    true = open_runner(own_model_path("expression"), runner, largest_batch=4)(given)["blendshapes"]
    np.testing.assert_allclose(fixed, true, atol=1e-4)


def test_importing_the_package_loads_no_library() -> None:
    code = """
import sys, engines.opening, engines.fetch, engines.bundle
print(*sorted({"openvino", "onnxruntime", "onnx", "tflite", "cv2", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() in ([], ["numpy"])
