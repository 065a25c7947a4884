"""Our expression network in its place: what it is fed, what it says of a real face, what stays geometry's."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from appliance.avatar.channels import BLENDSHAPES
from appliance.daemon import build_tracker
from appliance.demo.clip import SPEECH_JSON, frames, read_photograph
from appliance.demo.timeline import Timeline, build_timeline
from appliance.face.expression import ExpressionReader
from appliance.face.expression_network import (
    OWN_MODEL,
    PICTURE_PX,
    Look,
    NetworkExpressionReader,
    own_network,
    picture_matrix,
    take_picture,
    upright,
)
from appliance.settings import Camera, Settings
from appliance.values import Expression, Float32, Frame, Image
from engines.errors import EngineError
from engines.fetch import file_sha256
from engines.opening import open_runner
from engines.own import own_model, own_model_path
from engines.preprocess import Cut
from engines.runners import Outputs, Tensors

SIZE = (1280, 720)
FOV_DEG = 65.0


@pytest.fixture(scope="module")
def reader() -> NetworkExpressionReader:
    return NetworkExpressionReader(open_runner(own_model_path(OWN_MODEL)), own_network(own_model(OWN_MODEL).inputs))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network that sees points and picture, at random."""
    folder = tmp_path_factory.mktemp("models") / OWN_MODEL
    folder.mkdir()
    rng = np.random.default_rng(1)
    sizes = {"landmarks": (478, 2), "picture": (3, PICTURE_PX, PICTURE_PX)}
    weights = {
        name: rng.normal(0, np.prod(size) ** -0.5, (int(np.prod(size)), len(BLENDSHAPES))).astype(np.float32)
        for name, size in sizes.items()
    }
    nodes = [helper.make_node("Flatten", [name], [f"{name}_flat"]) for name in sizes]
    nodes += [helper.make_node("MatMul", [f"{name}_flat", f"{name}_weights"], [f"{name}_sum"]) for name in sizes]
    nodes += [
        helper.make_node("Add", [f"{name}_sum" for name in sizes], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["blendshapes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mixed",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *size]) for name, size in sizes.items()],
        [helper.make_tensor_value_info("blendshapes", TensorProto.FLOAT, ["batch", len(BLENDSHAPES)])],
        [numpy_helper.from_array(values, f"{name}_weights") for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    (folder / "own_model.toml").write_text(
        f"""licence = "none"\nmade_by = "this test"\nsha256 = "{file_sha256(folder / "model.onnx")}"
        [inputs]\nlandmarks = ["batch", 478, 2]\npicture = ["batch", 3, {PICTURE_PX}, {PICTURE_PX}]
        [outputs]\nblendshapes = ["batch", 52]\n[tolerance]\nblendshapes = 0.02\n"""
    )
    return folder.parent


def one_picture(photograph: Path, frame: int) -> Image:
    """One picture of the demonstration."""
    whole = build_timeline(SPEECH_JSON)
    moment = Timeline(**{name: getattr(whole, name)[frame : frame + 1] for name in Timeline.__slots__})
    return next(frames(read_photograph(photograph), moment))


@pytest.fixture(scope="module")
def image(photograph: Path) -> Image:
    return one_picture(photograph, 100)


@pytest.fixture(scope="module")
def points(desk: Settings, image: Image) -> Float32:
    """The landmarks of that picture."""
    tracker = build_tracker(replace(desk, camera=(Camera("cam0", "file:x"),)))
    tracker.read([Frame("cam0", 1, 1, image)])
    slot = tracker._watched["cam0"].slots[0]
    assert slot.landmarks is not None
    return slot.landmarks.points_px


def move(angle_deg: float, scale: float, x_px: float, y_px: float) -> Float32:
    """2 x 3: about the picture's middle, then aside."""
    matrix = cv2.getRotationMatrix2D((640, 360), angle_deg, scale)
    matrix[:, 2] += (x_px, y_px)
    return matrix.astype(np.float32)


def moved(points: Float32, by: Float32) -> Float32:
    result = points * np.hypot(by[0, 0], by[0, 1])
    result[:, :2] = points[:, :2] @ by[:, :2].T + by[:, 2]
    return result.astype(np.float32)


def some_points() -> Float32:
    return np.random.default_rng(1).normal(400, 60, (478, 3)).astype(np.float32)


def test_upright_points_have_the_eyes_one_unit_apart_on_a_level() -> None:
    seen = upright(some_points())

    assert seen[33] == pytest.approx((-0.5, 0), abs=1e-5)
    assert seen[263] == pytest.approx((0.5, 0), abs=1e-5)


def test_place_size_and_roll_of_the_face_do_not_matter() -> None:
    points = some_points()

    assert upright(moved(points, move(30, 1.7, 20, -50))) == pytest.approx(upright(points), abs=1e-4)


def test_a_face_picture_is_upright_and_hangs_on_the_eyes() -> None:
    points = moved(some_points(), move(25, 0.7, 20, -50))
    edge = PICTURE_PX - 0.5  # of the last pixel
    square = np.array([[-0.5, -0.5], [edge, edge], [(PICTURE_PX - 1) / 2] * 2])

    matrix = picture_matrix(points)

    seen = points.copy()
    seen[:3, :2] = square @ matrix[:, :2].T + matrix[:, 2]
    assert upright(seen)[:3] == pytest.approx(np.array([[-0.9, -0.52], [0.9, 1.28], [0, 0.38]]), abs=1e-4)


def test_a_face_picture_is_the_same_wherever_the_face_is(image: Image, points: Float32) -> None:
    by = move(20, 1.3, 60, -40)
    elsewhere = np.asarray(cv2.warpAffine(image, by, SIZE), np.uint8)
    here, there = np.zeros((2, 3, PICTURE_PX, PICTURE_PX), np.float32)

    take_picture(image, points, here)
    take_picture(elsewhere, moved(points, by), there)

    assert here.std() > 0.1
    assert np.abs(here - there).mean() < 0.02


def test_what_the_network_does_not_know_is_geometrys(
    image: Image, points: Float32, reader: NetworkExpressionReader
) -> None:
    learned = reader.read_all([Look(points, image, FOV_DEG)])[0]
    geometric = ExpressionReader().read(points, SIZE, FOV_DEG, None)

    assert learned is not None
    assert geometric is not None
    known = own_network(own_model(OWN_MODEL).inputs).targets
    for index, name in enumerate(BLENDSHAPES):
        if index in known:
            assert 0 <= learned.blendshapes[index] <= 1, name
        else:
            assert learned.blendshapes[index] == geometric.blendshapes[index], name
    assert (learned.head, learned.gaze) == (geometric.head, geometric.gaze)


def test_a_network_that_sees_landmarks_alone_leaves_to_geometry_what_they_do_not_tell() -> None:
    network = own_network(["landmarks"])

    assert network.picture is None
    left = {name for index, name in enumerate(BLENDSHAPES) if index not in network.targets}
    assert left == {
        *("cheekPuff", "jawForward", "tongueOut"),
        *(f"{name}{side}" for name in ("cheekSquint", "noseSneer") for side in ("Left", "Right")),
    }


def test_a_network_that_sees_the_picture_tells_all_52_of_it(mixed: Path, image: Image, points: Float32) -> None:
    runner = open_runner(mixed / OWN_MODEL / "model.onnx")
    network = own_network(["landmarks", "picture"])
    shown = np.zeros((1, 3, PICTURE_PX, PICTURE_PX), np.float32)
    take_picture(image, points, shown[0])

    expression = NetworkExpressionReader(runner, network).read_all([Look(points, image, FOV_DEG)])[0]

    told = runner({"landmarks": upright(points)[None], "picture": shown})["blendshapes"][0]
    assert expression is not None
    assert told.std() > 0.05
    assert expression.blendshapes == pytest.approx(np.minimum(told * network.reach, 1), abs=1e-5)


def test_the_daemon_shows_each_face_its_own_part_of_the_picture(
    desk: Settings, mixed: Path, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.own.MODELS", mixed)
    dark = np.asarray(image // 4, np.uint8)
    two = replace(desk, camera=(Camera("cam0", "file:x"), Camera("cam1", "file:x")))

    together = build_tracker(two).read([Frame("cam0", 1, 1, image), Frame("cam1", 1, 1, dark)])

    read = [face.expression.blendshapes for face in together if face.expression]
    alone = []
    for picture in (image, dark):
        (face,) = build_tracker(replace(desk, camera=two.camera[:1])).read([Frame("cam0", 1, 1, picture)])
        assert face.expression is not None
        alone.append(face.expression.blendshapes)
    np.testing.assert_allclose(read, alone, atol=1e-4)
    assert np.abs(read[0] - read[1]).max() > 0.1


@pytest.mark.parametrize("of", ["ours", "mixed"])
def test_several_faces_are_read_as_each_alone(
    of: str, mixed: Path, image: Image, points: Float32, reader: NetworkExpressionReader
) -> None:
    if of == "mixed":
        model = mixed / OWN_MODEL / "model.onnx"
        reader = NetworkExpressionReader(open_runner(model), own_network(["landmarks", "picture"]))
    looks = [Look(moved(points, move(angle, 1, 0, 0)), image, FOV_DEG) for angle in (0, 10, -20)]
    looks.insert(1, Look(np.full((478, 3), np.nan, np.float32), image, FOV_DEG))

    together = reader.read_all(looks)

    assert together[1] is None
    for look, one in zip(looks, together, strict=True):
        alone = reader.read_all([look])[0]
        assert (alone is None) == (one is None)
        if one is not None and alone is not None:
            np.testing.assert_allclose(one.blendshapes, alone.blendshapes, atol=1e-5)
    assert reader.read_all([]) == []


def test_the_head_is_read_while_a_gpu_runs_the_network(
    monkeypatch: pytest.MonkeyPatch, image: Image, points: Float32
) -> None:
    done: list[str] = []
    read = ExpressionReader.read

    class OnGpu:
        def __call__(self, inputs: Tensors) -> Tensors:
            raise AssertionError("this one cuts by itself")

        def cut(self, cuts: Sequence[Cut], others: Tensors) -> Outputs:
            done.append("begun")
            return self.outputs

        def outputs(self) -> Tensors:
            done.append("asked for")
            return {"blendshapes": np.full((1, len(BLENDSHAPES)), 0.5, np.float32)}

    def noted(*seen: Any) -> Expression | None:
        done.append("head")
        return read(*seen)

    monkeypatch.setattr(ExpressionReader, "read", noted)
    (face,) = NetworkExpressionReader(OnGpu(), own_network(own_model(OWN_MODEL).inputs)).read_all(
        [Look(points, image, FOV_DEG)]
    )

    assert done == ["begun", "head", "asked for"]
    assert face is not None
    assert face.blendshapes[BLENDSHAPES.index("cheekPuff")] == 0.5


def test_a_damaged_network_of_ours_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / OWN_MODEL
    folder.mkdir()
    content = bytearray(own_model_path(OWN_MODEL).read_bytes())
    content[1000] ^= 1
    (folder / "model.onnx").write_bytes(content)
    (folder / "own_model.toml").write_bytes((own_model_path(OWN_MODEL).parent / "own_model.toml").read_bytes())
    monkeypatch.setattr("engines.own.MODELS", tmp_path)

    with pytest.raises(EngineError, match="must have SHA-256"):
        own_model_path(OWN_MODEL)


def test_its_manifest_says_what_it_takes_and_what_made_it() -> None:
    model = own_model(OWN_MODEL)

    assert model.made_by == "engines.training.expression"
    assert model.inputs["landmarks"] == ("batch", 478, 2)
    assert model.outputs == {"blendshapes": ("batch", 52)}
    runner = open_runner(own_model_path(OWN_MODEL))
    given = {name: np.zeros((1, *map(int, shape[1:])), np.float32) for name, shape in model.inputs.items()}
    assert runner(given)["blendshapes"].shape == (1, 52)
