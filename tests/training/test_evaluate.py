"""The evaluation: its measures on signals whose answers are known, and the whole command on a few pictures."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from appliance import settings
from appliance.avatar.channels import BLENDSHAPES
from appliance.face.canonical import canonical_face
from appliance.face.expression_network import PICTURE_PX, own_network
from appliance.values import Float32
from engines.task_file import take
from engines.training import evaluate
from engines.training import evaluate_agreement as agree
from engines.training import evaluate_motion as motion
from engines.training import evaluate_network as network_alone

TASK_FILE = Path(__file__).parents[3] / "shared/data/face_landmarker.task"
BLINK = [BLENDSHAPES.index("eyeBlinkLeft"), BLENDSHAPES.index("eyeBlinkRight")]
JAW = BLENDSHAPES.index("jawOpen")
PICTURES = 40  # of the small banks


def average_face(pictures: int, side_px: int = 256) -> Float32:
    """The average face's points as in the middle of a square picture, in every picture."""
    points_px = canonical_face().points_m * np.float32(side_px * 4)
    points_px[:, 1:] *= -1
    points_px[:, :2] += side_px / 2
    return np.repeat(points_px[None], pictures, 0).astype(np.float32)


def curve(lag: float = 0.0, pictures: int = 120) -> Float32:
    """A mouth that opens and shuts now and then; all else is still."""
    at = np.arange(pictures) - lag
    weights = np.zeros((pictures, 52), np.float32)
    weights[:, JAW] = 0.4 + 0.2 * np.sin(at / 4) + 0.2 * np.sin(at / 7.3)
    return weights


def test_agreement_is_of_what_the_truth_moves_and_a_dead_shape_correlates_at_nothing() -> None:
    rng = np.random.default_rng(1)
    truth = np.zeros((50, 52), np.float32)
    truth[:, :3] = rng.uniform(0, 1, (50, 3))
    told = truth.copy()
    told[:, 1] = 0.5 - told[:, 1]
    told[:, 2] = 0.25
    told[:, 3] = rng.uniform(0, 1, 50)

    found = agree.agreement(told, truth)

    assert list(found.shapes) == [0, 1, 2]
    assert found.correlation[:3] == pytest.approx([1, -1, 0], abs=1e-5)
    assert found.error[0] == 0


def test_a_face_at_rest_may_blink_and_look_aside_but_not_smile() -> None:
    labels = np.zeros((3, 52), np.float32)
    labels[1, BLINK] = 0.9
    labels[2, BLENDSHAPES.index("mouthSmileLeft")] = 0.3

    assert list(agree.at_rest(labels)) == [True, True, False]


def test_a_network_is_told_each_face_with_its_picture() -> None:
    pictures = np.zeros((3, PICTURE_PX, PICTURE_PX, 3), np.uint8)
    pictures[1, :, :, 0] = 255

    given = agree.shown(own_network(["landmarks", "picture"]), average_face(3), pictures)

    assert given["landmarks"].shape == (3, 478, 2)
    assert given["picture"].mean((2, 3)) == pytest.approx(np.array([[0, 0, 0], [1, 0, 0], [0, 0, 0]]))


def test_without_smoothing_the_program_shows_what_was_read() -> None:
    read = np.random.default_rng(1).uniform(0, 1, (5, 52)).astype(np.float32)

    shown = motion.published(read, average_face(5), replace(settings.Avatar(), smoothing="none"))

    ours = [index for index, name in enumerate(BLENDSHAPES) if not name.startswith("eyeLook")]
    assert shown[:, ours] == pytest.approx(read[:, ours], abs=1e-5)


def test_smoothing_stills_noise() -> None:
    read = curve() * 0
    read[:, JAW] = 0.5 + np.random.default_rng(1).normal(0, 0.01, len(read))

    shown = motion.published(read, average_face(len(read)), settings.Avatar())

    assert motion.unrest(shown)[JAW] < 0.8 * motion.unrest(read)[JAW]


@pytest.mark.parametrize("lag", [0.0, 0.5, 1.0, 2.25])
def test_lag_is_found_between_pictures(lag: float) -> None:
    clip = np.repeat([3, 7], 60)

    found = motion.lags(curve(lag), curve(), clip)

    assert found[JAW] == pytest.approx(lag, abs=0.1)
    assert np.isfinite(found).sum() == 1


def lidded(*heights: float) -> Float32:
    weights = np.zeros((len(heights), 52), np.float32)
    weights[:, BLINK] = np.array(heights)[:, None]
    return weights


def test_a_blink_is_one_however_it_trembles_and_none_goes_over_a_cut() -> None:
    weights = lidded(0, 0.6, 0.8, 0.45, 0.7, 0, 0, 0.6, 0.9)

    assert motion.blinks(weights, np.array([0, 0, 0, 0, 0, 0, 0, 0, 1])) == [2, 7, 8]


def test_a_blink_is_seen_two_pictures_late_but_not_three_nor_in_another_clip() -> None:
    clip = np.array([0] * 8 + [1] * 2)
    late_by = [lidded(*(0.9 if index == 2 + late else 0 for index in range(10))) for late in range(4)]

    assert [motion.seen([2], weights, clip) for weights in late_by] == [1, 1, 1, 0]
    assert motion.seen([7], lidded(*[0] * 8, 0.9, 0.9), clip) == 0


def test_a_shaken_picture_stays_where_it_was_but_for_noise() -> None:
    picture = np.full((40, 40, 3), 128, np.uint8)

    shaken = np.stack(list(motion.shaken(picture, np.random.default_rng(1))))

    assert len(shaken) == motion.SETTLING + motion.STILL_PICTURES
    assert shaken.mean() == pytest.approx(128, abs=0.5)
    assert shaken.std() == pytest.approx(motion.NOISE, rel=0.1)


def test_still_faces_are_taken_from_every_clip() -> None:
    clip = np.repeat([0, 2, 5], [30, 9, 60])

    chosen = motion.stills(clip)

    assert [clip[index] for index in chosen] == [0] * 4 + [2] * 4 + [5] * 4


@pytest.fixture(scope="module")
def delicate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dense layers; eight bits are too few for the first, of whose inputs one is large and tells nothing."""
    rng = np.random.default_rng(1)
    first, second = rng.normal(0, 1, (16, 32)), rng.normal(0, 0.05, (32, 52))
    first[0] = 0
    nodes = [
        helper.make_node("Cast", ["first16"], ["first"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["points", "first"], ["dense_0"]),
        helper.make_node("Relu", ["dense_0"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "second"], ["dense_1"]),
        helper.make_node("Sigmoid", ["dense_1"], ["blendshapes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "delicate",
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("blendshapes", TensorProto.FLOAT, ["batch", 52])],
        [
            numpy_helper.from_array(first.astype(np.float16), "first16"),
            numpy_helper.from_array(second.astype(np.float32), "second"),
        ],
    )
    path = tmp_path_factory.mktemp("delicate") / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def points() -> dict[str, Float32]:
    values = np.random.default_rng(2).normal(0, 1, (200, 16)).astype(np.float32)
    values[:, 0] *= 200
    return {"points": values}


def test_the_node_that_eight_bits_are_too_few_for_is_found(delicate: Path) -> None:
    model = network_alone.plain(delicate)

    kept, reached = network_alone.nodes_to_keep(model, points(), points())

    assert network_alone.heavy(model) == ["dense_0", "dense_1"]
    assert kept == ["dense_0"]
    assert reached >= network_alone.WANTED
    assert network_alone.int8_agreement(model, points(), points(), ()) < 0.95
    assert network_alone.int8_agreement(model, points(), points(), ["dense_0", "dense_1"]) == pytest.approx(1)


def test_a_network_is_timed_with_what_inputs_it_has(delicate: Path) -> None:
    assert 0 < network_alone.call_ms(delicate, 8) < 100


@pytest.fixture(scope="module")
def models(desk: settings.Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder of both sets."""
    folder = tmp_path_factory.mktemp("both") / "models"
    folder.mkdir()
    for path in desk.storage.models.glob("face_*"):
        (folder / path.name).symlink_to(path)
    take(folder, TASK_FILE, print)
    return folder


@pytest.fixture(scope="module")
def banks(photograph: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One photograph as a clip, its points roughly, its labels made up; and as drawn faces."""
    rng = np.random.default_rng(1)
    picture = cv2.imread(str(photograph))
    assert picture is not None
    head = np.asarray(cv2.resize(picture[0:260, 90:350], (256, 256)), np.uint8)
    coded = cv2.imencode(".jpg", head)[1]
    points_px, labels = average_face(PICTURES), rng.uniform(0, 1, (PICTURES, 52)).astype(np.float32)
    points_px += rng.normal(0, 1, (PICTURES, 478, 3)).astype(np.float32)
    labels[5] = 0
    pictures = rng.integers(0, 255, (PICTURES, PICTURE_PX, PICTURE_PX, 3), np.uint8)
    clips: dict[str, Any] = {
        "own_px": points_px,
        "labels": labels,
        "clip": np.repeat([0, 4], PICTURES // 2),
        "pictures": pictures,
        "sources_px": points_px[..., :2],
        "sources_jpeg": np.concatenate([coded] * PICTURES),
        "sources_end": np.arange(1, PICTURES + 1) * len(coded),
    }
    squares = [cv2.imencode(".jpg", picture)[1] for picture in pictures]
    renders = {
        "pictures_jpeg": np.concatenate(squares),
        "pictures_end": np.cumsum([len(square) for square in squares]),
        "own_px": points_px,
        "truth": labels,
        "teacher": labels,
    }
    folder = tmp_path_factory.mktemp("banks")
    np.savez(folder / "clips.npz", allow_pickle=False, **clips)
    np.savez(folder / "renders.npz", allow_pickle=False, **renders)
    return folder / "clips.npz", folder / "renders.npz"


@pytest.mark.skipif(not TASK_FILE.is_file(), reason="needs Google's face_landmarker.task in ../shared/data")
def test_the_command_measures_everything_that_was_asked(
    models: Path,
    banks: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(motion, "STILL_PICTURES", 3)
    monkeypatch.setattr(network_alone, "_CALLS", 3)
    clips, renders = map(str, banks)
    given = ["evaluate", clips, renders, "--models", str(models), "--calibration", clips]

    monkeypatch.setattr(sys, "argv", [*given, "--json"])
    evaluate.main()
    told = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(sys, "argv", [*given, "--each"])
    evaluate.main()
    printed = capsys.readouterr().out

    asked = ("correlation with the teacher", "shapes the teacher never fires", "blinks found", "false blinks", "lag")
    asked += ("correlation with the truth", "cheekPuff", "ratio to the teacher's", "INT8", "ms a face", "eight faces")
    names = [figure["name"] for figure in told["figures"]]
    for name in asked:
        assert any(name in one for one in names), name
    assert set(told["shapes"]) == set(BLENDSHAPES)
    assert set(told["shapes"]["jawOpen"]) == {"clips", "error", "at rest", "lag", "drawn", "still"}
    drawn = {figure["name"]: figure["peer"] for figure in told["figures"]}["cheekPuff"]
    assert drawn == pytest.approx(1)
    assert "tongueOut" in printed
