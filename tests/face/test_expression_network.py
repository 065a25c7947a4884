"""Our expression network in its place: what it is fed, what it says of a real face, what stays geometry's."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.avatar.channels import BLENDSHAPES
from appliance.daemon import build_tracker
from appliance.demo.clip import SPEECH_JSON, frames, read_photograph
from appliance.demo.timeline import Timeline, build_timeline
from appliance.face.expression import ExpressionReader
from appliance.face.expression_network import (
    OWN,
    OWN_MODEL,
    PICTURE_PX,
    Look,
    NetworkExpressionReader,
    picture_matrix,
    upright,
)
from appliance.settings import Camera, Settings
from appliance.values import Float32, Frame
from engines.errors import EngineError
from engines.opening import open_runner
from engines.own import own_model, own_model_path

SIZE = (1280, 720)
FOV_DEG = 65.0


@pytest.fixture(scope="module")
def reader() -> NetworkExpressionReader:
    return NetworkExpressionReader(open_runner(own_model_path(OWN_MODEL)), OWN)


def face_points(desk: Settings, photograph: Path, frame: int) -> Float32:
    """The landmarks of one picture of the demonstration."""
    whole = build_timeline(SPEECH_JSON)
    moment = Timeline(**{name: getattr(whole, name)[frame : frame + 1] for name in Timeline.__slots__})
    picture = next(frames(read_photograph(photograph), moment))
    tracker = build_tracker(replace(desk, camera=(Camera("cam0", "file:x"),)))
    tracker.read([Frame("cam0", 1, 1, picture)])
    slot = tracker._watched["cam0"].slots[0]
    assert slot.landmarks is not None
    return slot.landmarks.points_px


def turned(points: Float32, angle_deg: float, scale: float, x_px: float, y_px: float) -> Float32:
    matrix = cv2.getRotationMatrix2D((640, 360), angle_deg, scale)
    moved = points.copy()
    moved[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2] + (x_px, y_px)
    moved[:, 2] *= scale
    return moved.astype(np.float32)


def test_upright_points_have_the_eyes_one_unit_apart_on_a_level() -> None:
    points = np.random.default_rng(1).normal(400, 60, (478, 3)).astype(np.float32)

    seen = upright(points)

    assert seen[33] == pytest.approx((-0.5, 0), abs=1e-5)
    assert seen[263] == pytest.approx((0.5, 0), abs=1e-5)


def test_place_size_and_roll_of_the_face_do_not_matter() -> None:
    points = np.random.default_rng(1).normal(400, 60, (478, 3)).astype(np.float32)

    assert upright(turned(points, 30, 1.7, 20, -50)) == pytest.approx(upright(points), abs=1e-4)


def test_a_face_picture_is_upright_and_hangs_on_the_eyes() -> None:
    points = turned(np.random.default_rng(1).normal(400, 60, (478, 3)).astype(np.float32), 25, 0.7, 20, -50)
    edge = PICTURE_PX - 0.5  # of the last pixel
    square = np.array([[-0.5, -0.5], [edge, edge], [(PICTURE_PX - 1) / 2] * 2])

    matrix = picture_matrix(points)

    seen = points.copy()
    seen[:3, :2] = square @ matrix[:, :2].T + matrix[:, 2]
    assert upright(seen)[:3] == pytest.approx(np.array([[-0.9, -0.52], [0.9, 1.28], [0, 0.38]]), abs=1e-4)


def test_what_the_teacher_knows_is_the_networks_and_the_rest_is_geometrys(
    desk: Settings, photograph: Path, reader: NetworkExpressionReader
) -> None:
    points = face_points(desk, photograph, 100)

    learned = reader.read_all([Look(points, SIZE, FOV_DEG)])[0]
    geometric = ExpressionReader().read(points, SIZE, FOV_DEG, None)

    assert learned is not None
    assert geometric is not None
    for index, name in enumerate(BLENDSHAPES):
        if index in OWN.targets:
            assert 0 <= learned.blendshapes[index] <= 1, name
        else:
            assert learned.blendshapes[index] == geometric.blendshapes[index], name
    assert (learned.head, learned.gaze) == (geometric.head, geometric.gaze)


def test_several_faces_are_read_as_each_alone(
    desk: Settings, photograph: Path, reader: NetworkExpressionReader
) -> None:
    points = face_points(desk, photograph, 100)
    looks = [Look(turned(points, angle, 1, 0, 0), SIZE, FOV_DEG) for angle in (0, 10, -20)]
    looks.insert(1, Look(np.full((478, 3), np.nan, np.float32), SIZE, FOV_DEG))

    together = reader.read_all(looks)

    assert together[1] is None
    for look, one in zip(looks, together, strict=True):
        alone = reader.read_all([look])[0]
        assert (alone is None) == (one is None)
        if one is not None and alone is not None:
            np.testing.assert_allclose(one.blendshapes, alone.blendshapes, atol=1e-5)
    assert reader.read_all([]) == []


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
    assert model.inputs == {"landmarks": ("batch", 478, 2)}
    assert model.outputs == {"blendshapes": ("batch", 52)}
