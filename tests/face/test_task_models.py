"""The second model set: by itself with a network that says what it was given, and with its owner's file, where it is.

That file is not in the repository: it is looked for in ``shared/data`` beside the checkout.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from projected import PICTURE_PX, project, turn

from appliance.avatar.channels import BLENDSHAPES
from appliance.daemon import build_tracker
from appliance.face.detector import Detector
from appliance.face.expression import ExpressionReader
from appliance.face.expression_network import Look, NetworkExpressionReader
from appliance.face.landmarks import LandmarkReader
from appliance.face.regions import region_from_detection
from appliance.face.task_models import BLENDSHAPE_MODEL, LANDMARK_MODEL, TASK
from appliance.settings import Camera, Engines, Settings, Storage
from appliance.values import Expression, Frame, Image, Landmarks
from engines.errors import EngineError
from engines.fetch import model_path
from engines.opening import open_runner
from engines.runners import Tensors
from engines.task_file import take

ROOT = Path(__file__).parents[2]
TASK_FILE = ROOT.parent / "shared/data/face_landmarker.task"
ORIGINAL = ROOT / "tests/engines/original_task.npz"
STEPS_PER_PX = 32  # in which the original's landmarks are stored
FOV_DEG = 60.0
GREY = np.full((PICTURE_PX[1], PICTURE_PX[0], 3), 128, np.uint8)

needs_task_file = pytest.mark.skipif(
    not TASK_FILE.is_file(), reason="needs Google's face_landmarker.task as ../shared/data/face_landmarker.task"
)


class Echo:
    """A network whose weights are what it was given: the first 52 numbers of each face."""

    def __init__(self) -> None:
        self.given: list[npt.NDArray[Any]] = []

    def __call__(self, inputs: Tensors) -> Tensors:
        self.given.append(inputs["points"].copy())
        return {"blendshapes": inputs["points"].reshape(len(inputs["points"]), -1)[:, :52]}


def faces() -> list[Look]:
    poses = [turn(0, 0), turn(20, -5, 10), turn(-15, 8)]
    return [Look(project(pose, (0.02, -0.01, -0.6)), GREY, FOV_DEG) for pose in poses]


def scale(these: npt.NDArray[Any], those: npt.NDArray[Any]) -> float:
    return float(np.linalg.norm(these[1] - these[0]) / np.linalg.norm(those[1] - those[0]))


def test_all_faces_are_read_in_one_call_each_from_its_own_points() -> None:
    network, looks = Echo(), faces()

    expressions = NetworkExpressionReader(network, TASK).read_all(looks)

    assert [points.shape for points in network.given] == [(3, 146, 2)]
    for look, points, expression in zip(looks, network.given[0], expressions, strict=True):
        chosen = look.points_px[[0, 1, 477], :2]  # the network is given them shifted and scaled
        given = points[[0, 1, -1]]
        np.testing.assert_allclose(given[1:] - given[0], (chosen[1:] - chosen[0]) * scale(given, chosen), atol=1e-5)
        assert np.abs(points).max() == pytest.approx(1)
        assert expression is not None
        assert expression.blendshapes[0] == points.ravel()[1]


def test_weights_are_ours_by_name_without_the_neutral_and_the_tongue_stays_in() -> None:
    with np.load(ORIGINAL) as original:
        names = [str(name) for name in original["names"]]
    network, look = Echo(), faces()[1]

    (expression,) = NetworkExpressionReader(network, TASK).read_all([look])

    assert expression is not None
    given = dict(zip(names, network.given[0].ravel()[:52], strict=True))
    named = dict(zip(BLENDSHAPES, expression.blendshapes, strict=True))
    assert named.pop("tongueOut") == 0
    assert given.pop("_neutral") not in named.values()
    assert named == given


def test_head_and_gaze_are_those_of_our_own_reader() -> None:
    look = faces()[1]
    previous = ExpressionReader().read(look.points_px + 3, PICTURE_PX, FOV_DEG, None)

    ours = ExpressionReader().read(look.points_px, PICTURE_PX, FOV_DEG, previous)
    theirs = NetworkExpressionReader(Echo(), TASK).read_all([replace(look, previous=previous)])[0]

    assert ours is not None
    assert theirs is not None
    assert (theirs.head, theirs.gaze) == (ours.head, ours.gaze)


def test_points_that_are_no_face_are_no_expression_and_no_faces_are_no_call() -> None:
    network = Echo()
    reader = NetworkExpressionReader(network, TASK)

    assert reader.read_all([Look(np.zeros((478, 3), np.float32), GREY, FOV_DEG)]) == [None]
    assert len(network.given) == 1
    assert reader.read_all([]) == []
    assert len(network.given) == 1


def test_without_the_file_the_setting_is_an_error_that_says_how_to_bring_it(desk: Settings, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"face_landmarks_256 is absent .*appliance models fetch --task FILE"):
        build_tracker(second_set(models_with(desk, tmp_path)))


def second_set(models: Path) -> Settings:
    """The settings of a machine that reads faces with a task file's networks."""
    storage = Storage(directory=str(models.parent))
    return Settings(camera=(Camera("cam0", "file:x"),), engines=Engines(face="task"), storage=storage)


def models_with(desk: Settings, folder: Path, task_file: Path | None = None) -> Path:
    """A models folder of links to the desk's models, and of what a task file holds."""
    models = folder / "models"
    models.mkdir()
    for path in desk.storage.models.glob("face_detector*"):
        (models / path.name).symlink_to(path)
    if task_file:
        take(models, task_file, print)
    return models


@pytest.fixture(scope="module")
def models(desk: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models_with(desk, tmp_path_factory.mktemp("second"), TASK_FILE)


@pytest.fixture(scope="module")
def original() -> dict[str, npt.NDArray[Any]]:
    """What MediaPipe's Face Landmarker reads in some pictures; ``make_task_fixture.py`` says how."""
    with np.load(ORIGINAL) as stored:
        arrays = dict(stored)
    arrays["landmarks"] = arrays["landmarks"] / STEPS_PER_PX
    return arrays


def pictures(original: dict[str, npt.NDArray[Any]]) -> list[Image]:
    encoded = [original[f"picture_{index}_jpeg"] for index in range(len(original["landmarks"]))]
    return [np.asarray(cv2.imdecode(one, cv2.IMREAD_COLOR), np.uint8) for one in encoded]


def read(models: Path, seen: list[Image], library: str) -> tuple[list[Landmarks], list[Expression | None]]:
    """Detect the face of each picture, then read all faces in one batch, as the appliance does."""
    detector = Detector(open_runner(model_path(models, "face_detector"), library))
    landmarks = LandmarkReader(open_runner(model_path(models, LANDMARK_MODEL), library), LANDMARK_MODEL)
    expressions = NetworkExpressionReader(open_runner(model_path(models, BLENDSHAPE_MODEL), library), TASK)
    regions = [region_from_detection(max(detector.find(picture), key=lambda face: face.score)) for picture in seen]
    found = landmarks.read(list(zip(seen, regions, strict=True)))
    return found, expressions.read_all(
        [Look(one.points_px, picture, FOV_DEG) for one, picture in zip(found, seen, strict=True)]
    )


@needs_task_file
@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_our_stages_agree_with_the_original(models: Path, original: dict[str, npt.NDArray[Any]], library: str) -> None:
    found, expressions = read(models, pictures(original), library)

    theirs = original["landmarks"][:, :, :2]
    apart = np.linalg.norm(np.stack([one.points_px[:, :2] for one in found]) - theirs, axis=2)
    between_irises = np.linalg.norm(theirs[:, 468] - theirs[:, 473], axis=1)
    assert (apart.mean(axis=1) / between_irises).max() < 0.005
    assert (apart.max(axis=1) / between_irises).max() < 0.015
    assert min(one.presence for one in found) > 0.9
    weights = np.stack([one.blendshapes for one in expressions if one])[:, : len(BLENDSHAPES) - 1]
    expected = original["blendshapes"][:, 1:]
    assert np.corrcoef(weights.ravel(), expected.ravel())[0, 1] > 0.99
    assert np.abs(weights - expected).mean() < 0.01


@needs_task_file
def test_a_tracker_of_the_second_set_follows_a_face(models: Path, original: dict[str, npt.NDArray[Any]]) -> None:
    tracker = build_tracker(second_set(models))
    picture = pictures(original)[0]

    seen = [tracker.read([Frame("cam0", number, number * 33_000_000, picture)])[0] for number in range(1, 4)]

    assert all(face.expression is not None for face in seen)
    smile = [face.expression.blendshapes[BLENDSHAPES.index("mouthSmileLeft")] for face in seen if face.expression]
    expected = original["blendshapes"][0, list(original["names"]).index("mouthSmileLeft")]
    assert smile == pytest.approx([expected] * 3, abs=0.1)
