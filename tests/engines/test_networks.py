"""Networks by name and by file."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from engines.errors import EngineError
from engines.fetch import file_sha256
from engines.networks import network


def save(path: Path, *shape: int | str | None) -> Path:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "small", inputs, outputs)
    onnx.save(helper.make_model(graph), path)
    return path


def test_ours_keeps_in_16_bits_what_its_manifest_says(tmp_path: Path) -> None:
    ours = network("expression", tmp_path)

    assert ours.keep_fp16 == tuple(f"{who}_dense_{layer}" for who in ("taught", "true") for layer in range(3))
    assert ours.onnx_sha256 == file_sha256(ours.onnx)
    assert ours.tolerance == {"blendshapes": 0.02}


def test_a_fetched_one_is_the_converted_file(models: Path) -> None:
    fetched = network("face_detector", models)

    assert fetched.onnx == models / "face_detector.onnx"
    assert fetched.onnx_sha256 == file_sha256(fetched.onnx)
    assert fetched.manifest_sha256 != ""


def test_a_file_is_read_for_its_inputs(tmp_path: Path) -> None:
    brought = network(str(save(tmp_path / "mine.onnx", "n", 3, 224, 224)), tmp_path)

    assert brought.name == "mine"
    assert brought.inputs == {"x": ("batch", 3, 224, 224)}
    assert brought.tolerance == {}


@pytest.mark.parametrize(
    ("shape", "shown"),
    [(("n", 3, "h", 224), r"\[n, 3, h, 224\]"), ((4, 3), r"\[4, 3\]"), (("n", None), r"\[n, \?\]"), ((), r"\[\]")],
)
def test_an_open_size_behind_the_batch_is_refused_by_name(
    tmp_path: Path, shape: tuple[int | str | None, ...], shown: str
) -> None:
    path = save(tmp_path / "mine.onnx", *shape)

    with pytest.raises(EngineError, match=rf"mine\.onnx: input x must have .* got {shown}; export"):
        network(str(path), tmp_path)


@pytest.mark.parametrize("content", [b"", b"no network", b"\x00" * 100])
def test_what_is_no_onnx_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.onnx").write_bytes(content)

    with pytest.raises(EngineError, match=r"mine\.onnx must be an ONNX file"):
        network(str(tmp_path / "mine.onnx"), tmp_path)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"none\.onnx cannot be read"):
        network(str(tmp_path / "none.onnx"), tmp_path)


def test_an_unknown_name_is_one_line_that_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no model or asset is named 'nobody'; there are: "):
        network("nobody", tmp_path)
