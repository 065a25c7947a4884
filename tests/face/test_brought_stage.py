"""A network that the owner brought reads expressions: from their ONNX file to weights, and to a plan in eight bits."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import tensorrt_rtx_bindings
from onnx import TensorProto, helper, numpy_helper

from appliance.avatar.channels import BLENDSHAPES
from appliance.checks.finding import Verdict
from appliance.checks.models_and_engines import models
from appliance.daemon import build_tracker
from appliance.demo.clip import read_photograph
from appliance.face.expression_network import brought_network
from appliance.installed import every_network, network_named, networks
from appliance.settings import Camera, Engines, Settings
from appliance.values import Expression, Frame, Image
from calibration.activations import in_eight_bits, ranges_of, spreads
from calibration.methods import wants_ranges
from engines.build import Library, Options, build_plan
from engines.half import to_fp16
from engines.networks import Network, network
from engines.opening import open_runner
from engines.quantize import quantize
from engines.ranges import TARGET
from engines.rewrites import for_target

pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")

SIZE = 112
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
UNKNOWN = ("tongueOut", "jawLeft")


def residual_network(path: Path) -> None:
    """ResNet's shape in small: a stem, two blocks with residuals, the mean, 52 logits; weights from a seed."""
    rng = np.random.default_rng(3)
    weights: dict[str, np.ndarray] = {}

    def node(operator: str, given: list[str], name: str, **about: object) -> str:
        nodes.append(helper.make_node(operator, given, [name], name=name, **about))
        return name

    def convolve(name: str, source: str, channels: int, filters: int, stride: int = 1) -> str:
        weights[f"{name}_w"] = rng.standard_normal((filters, channels, 3, 3)) * np.sqrt(1 / (9 * channels))
        weights[f"{name}_b"] = rng.standard_normal(filters) * 0.1
        return node("Conv", [source, f"{name}_w", f"{name}_b"], name, strides=[stride, stride], pads=[1] * 4)

    nodes: list[onnx.NodeProto] = []
    made = node("Relu", [convolve("stem", "input.1", 3, 16, 4)], "stem_relu")
    for block in ("first", "second"):
        inner = node("Relu", [convolve(f"{block}_a", made, 16, 16)], f"{block}_relu")
        made = node(
            "Relu", [node("Add", [convolve(f"{block}_b", inner, 16, 16), made], f"{block}_sum")], f"{block}_out"
        )
    made = node("Flatten", [node("GlobalAveragePool", [made], "mean")], "flat")
    weights |= {"dense_w": rng.standard_normal((52, 16)), "dense_b": rng.standard_normal(52)}
    node("Gemm", [made, "dense_w", "dense_b"], "191", transB=1)
    graph = helper.make_graph(
        nodes,
        "resnet",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("191", TensorProto.FLOAT, ["batch", 52])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("brought") / "small_resnet"
    folder.mkdir()
    residual_network(folder / "resnet.onnx")
    channels = ["" if name in UNKNOWN else name for name in BLENDSHAPES]
    (folder / "model.toml").write_text(
        f"""onnx = "resnet.onnx"
        [input]\ntensor = "input.1"\ncolours = "rgb"\nmean = {MEAN}\ndeviation = {DEVIATION}
        side_eyes = 2.8\nbelow_eyes = 0.6\noutside = "edge"
        [output]\ntensor = "191"\nactivation = "sigmoid"\nchannels = {channels}\n"""
    )
    return folder / "model.toml"


@pytest.fixture(scope="module")
def settings(desk: Settings, manifest: Path) -> Settings:
    return replace(desk, camera=(Camera("brought0", "file:x"),), engines=Engines(expression=str(manifest)))


@pytest.fixture(scope="module")
def one(settings: Settings, manifest: Path) -> Network:
    return network(str(manifest), settings.storage.models)


@pytest.fixture(scope="module")
def image(photograph: Path) -> Image:
    return read_photograph(photograph)


def read(settings: Settings, image: Image) -> Expression:
    (face,) = build_tracker(settings).read([Frame("brought0", 1, 1, image)])
    assert face.expression is not None
    return face.expression


def test_the_stage_runs_on_it(settings: Settings, manifest: Path, one: Network, image: Image) -> None:
    """The same weights as cutting, normalising and running by hand."""
    tracker = build_tracker(settings)
    (face,) = tracker.read([Frame("brought0", 1, 1, image)])
    landmarks = tracker._watched["brought0"].slots[0].landmarks
    assert face.expression is not None
    assert landmarks is not None
    matrix = brought_network(manifest, one.inputs).square.matrix(landmarks.points_px)
    cut = cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    normalised = (cut[..., ::-1] / 255.0 - MEAN) / DEVIATION
    whole = np.ascontiguousarray(normalised.transpose(2, 0, 1)[None], np.float32)
    logits = open_runner(manifest.with_name("resnet.onnx"), "onnxruntime")({"input.1": whole})["191"][0]

    known = [index for index, name in enumerate(BLENDSHAPES) if name not in UNKNOWN]
    np.testing.assert_allclose(face.expression.blendshapes[known], (1 / (1 + np.exp(-logits)))[known], atol=0.003)


def test_what_it_does_not_name_stays_geometrys(settings: Settings, desk: Settings, image: Image) -> None:
    geometry = [BLENDSHAPES.index(name) for name in UNKNOWN]
    ours = read(replace(settings, engines=desk.engines), image)
    theirs = read(settings, image)

    assert theirs.head == ours.head
    assert 0 <= theirs.blendshapes[geometry].min() <= theirs.blendshapes[geometry].max() <= 1
    assert not np.allclose(theirs.blendshapes, ours.blendshapes, atol=0.05)


def test_it_takes_the_place_of_ours(settings: Settings, manifest: Path) -> None:
    task = replace(settings, engines=replace(settings.engines, face="task"))

    assert every_network(settings) == ("face_detector", "face_landmarks", str(manifest))
    assert networks(task) == ("face_detector", "face_landmarks_256")
    assert network_named(settings, "small_resnet").name == "small_resnet"
    assert wants_ranges(str(manifest))


def test_it_is_built_in_eight_bits_with_ranges_of_what_it_was_shown(one: Network) -> None:
    pictures = np.random.default_rng(1).random((6, 3, SIZE, SIZE), np.float32)
    found, count = spreads(one, [{"picture": pictures}])
    ranges = ranges_of(one, found, "mse", count)

    told = in_eight_bits(one, ranges)({"picture": pictures[:1]})["blendshapes"]
    form = quantize(to_fp16(for_target(onnx.load(one.onnx), TARGET)), ranges.ranges)
    trt = Library(tensorrt_rtx_bindings, (11, 0))
    plan, _ = build_plan(trt, form.SerializeToString(), one.name, Options("int8"), 256 << 20, b"", print)

    true = open_runner(one.onnx, "onnxruntime")({"picture": pictures[:1]})["blendshapes"]
    assert np.abs(told - true).mean() <= one.tolerance["blendshapes"]
    assert len(plan) > 1000


def test_check_says_what_is_wrong_with_its_manifest(settings: Settings, tmp_path: Path) -> None:
    wrong = replace(settings, engines=Engines(expression=str(tmp_path / "none/model.toml")))

    (good,), (bad,) = (
        [found for found in models(each) if "expression" in found.cure + found.text] for each in (settings, wrong)
    )

    assert (good.verdict, bad.verdict) == (Verdict.FINE, Verdict.STOP)
    assert "model.toml cannot be read" in bad.text
