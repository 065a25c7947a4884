"""A network that somebody brings for a stage: what its manifest says becomes part of it, and what is wrong is named."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.errors import EngineError
from engines.networks import network
from engines.onnxruntime_runner import OnnxRuntimeRunner

SIZE, CHANNELS = 64, ("jawOpen", "", "mouthPucker", "browInnerUp")
MANIFEST = """
onnx = "net.onnx"

[input]
tensor = "image"
colours = "bgr"
mean = [0.406, 0.456, 0.485]
deviation = [0.225, 0.224, 0.229]
side_eyes = 2.6
below_eyes = 0.5
outside = "black"

[output]
tensor = "logits"
activation = "sigmoid"
channels = ["jawOpen", "", "mouthPucker", "browInnerUp"]
"""


def made(folder: Path, shape: list[int | str], outputs: int = len(CHANNELS)) -> onnx.ModelProto:
    """A convolution, the mean of each of its planes, and a dense layer."""
    rng = np.random.default_rng(2)
    weights = {
        "kernel": rng.standard_normal((8, 3, 5, 5)) / 5,
        "dense": rng.standard_normal((outputs, 8)),
        "bias": rng.standard_normal(outputs),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["planes"], strides=[4, 4]),
        helper.make_node("Relu", ["planes"], ["bright"]),
        helper.make_node("GlobalAveragePool", ["bright"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], outputs])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "net.onnx")
    return model


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    made(tmp_path / "mine", ["n", 3, SIZE, SIZE])
    path = tmp_path / "mine/model.toml"
    path.write_text(MANIFEST)
    return path


def run(path: Path, pictures: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    (outputs,) = OnnxRuntimeRunner(path)({name: pictures}).values()
    return np.asarray(outputs)


def test_it_speaks_as_the_stage_does(manifest: Path, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).random((3, 3, SIZE, SIZE), np.float32)
    mean, deviation = (
        np.array(values, np.float32).reshape(1, 3, 1, 1) for values in ([0.406, 0.456, 0.485], [0.225, 0.224, 0.229])
    )
    logits = run(manifest.with_name("net.onnx"), (pictures[:, ::-1] - mean) / deviation, "image")

    one = network(str(manifest), tmp_path)

    assert (one.name, one.inputs, one.tolerance) == (
        "mine",
        {"picture": ("batch", 3, SIZE, SIZE)},
        {"blendshapes": 0.02},
    )
    np.testing.assert_allclose(run(one.onnx, pictures, "picture"), 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_without_activation_weights_are_held_to_0_and_1(manifest: Path, tmp_path: Path) -> None:
    manifest.write_text(MANIFEST.replace("sigmoid", "none"))
    pictures = np.random.default_rng(0).random((2, 3, SIZE, SIZE), np.float32)

    weights = run(network(str(manifest), tmp_path).onnx, pictures, "picture")

    assert weights.min() == 0 or weights.max() == 1
    assert 0 <= weights.min() <= weights.max() <= 1


def test_it_is_made_once_for_each_file_and_manifest(manifest: Path, tmp_path: Path) -> None:
    first, again = (network(str(manifest), tmp_path) for _ in range(2))
    manifest.write_text(MANIFEST.replace("2.6", "2.8"))
    other = network(str(manifest), tmp_path)

    assert first == again
    assert other.onnx != first.onnx
    assert other.manifest_sha256 != first.manifest_sha256


def test_a_batch_of_one_stays_one(manifest: Path, tmp_path: Path) -> None:
    made(manifest.parent, [1, 3, SIZE, SIZE])

    assert network(str(manifest), tmp_path).inputs == {"picture": (1, 3, SIZE, SIZE)}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"bgr"', '"yuv"', "input.colours must be one of rgb, bgr, got 'yuv'"),
        ("[0.225, 0.224, 0.229]", "[0.225, 0.0, 0.229]", "input.deviation must be three numbers above 0"),
        ("[0.406, 0.456, 0.485]", "[0.5]", r"input.mean must be three numbers, got \[0.5\]"),
        ("2.6", "0.0", "input.side_eyes must be above 0, got 0.0"),
        ('"black"', '"white"', "outside must be one of black, edge, got 'white'"),
        ('"sigmoid"', '"tanh"', "output.activation must be one of none, sigmoid, got 'tanh'"),
        ('"mouthPucker"', '"jawOpen"', "each once, got 'jawOpen'"),
        ('["jawOpen", "", "mouthPucker", "browInnerUp"]', "[]", "got none"),
        (', "browInnerUp"', "", r"output logits must be \[batch, 3\].*got \[batch, 4\]"),
        ('tensor = "image"', 'tensor = "data"', "must have one input, data as its manifest says, got image"),
        ('tensor = "logits"', 'tensor = "scores"', "has no output scores, it has logits"),
        ('onnx = "net.onnx"', 'onnx = "other.onnx"', "other.onnx cannot be read: No such file"),
        ("[output]", '[calibration]\nmethod = "guess"\n[output]', "calibration.method must be one of .*got 'guess'"),
        ("[output]", "size = 3\n[output]", "missing or unknown: size"),
    ],
)
def test_what_is_wrong_is_one_line(manifest: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in MANIFEST
    manifest.write_text(MANIFEST.replace(old, new))

    with pytest.raises(EngineError, match=said) as found:
        network(str(manifest), tmp_path)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("shape", [["n", 1, SIZE, SIZE], ["n", 3, SIZE, 32], ["n", 3, "h", "w"], [4, 3, SIZE, SIZE]])
def test_an_input_that_is_no_square_picture_is_named(manifest: Path, tmp_path: Path, shape: list[int | str]) -> None:
    model = made(manifest.parent, ["n", 3, SIZE, SIZE])
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, shape))
    onnx.save(model, manifest.with_name("net.onnx"))

    with pytest.raises(EngineError, match=r"input image must be of 32 bits, \[batch or 1, 3, size, size\], got \["):
        network(str(manifest), tmp_path)


@pytest.mark.parametrize("content", [b"no network at all", b""])
def test_what_is_no_onnx_file_is_named(manifest: Path, tmp_path: Path, content: bytes) -> None:
    manifest.with_name("net.onnx").write_bytes(content)

    with pytest.raises(EngineError, match=r"net\.onnx must be an ONNX file"):
        network(str(manifest), tmp_path)


def test_a_manifest_that_is_not_there_and_a_name_of_ours_are_named(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"model\.toml cannot be read: No such file"):
        network(str(tmp_path / "nowhere/model.toml"), tmp_path)
    made(tmp_path / "expression", ["n", 3, SIZE, SIZE])
    (tmp_path / "expression/model.toml").write_text(MANIFEST)
    with pytest.raises(EngineError, match="must not be named as a network of ours, got 'expression'"):
        network(str(tmp_path / "expression/model.toml"), tmp_path)
