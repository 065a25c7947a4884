"""What is drawn is decided without PyTorch: those parts are tested here."""

from pathlib import Path

import numpy as np
import pytest

from appliance.avatar.channels import BLENDSHAPES
from appliance.face.gaze import eye_look
from appliance.values import Gaze
from engines.errors import EngineError
from engines.training.renders_faces import expression_offsets, load_face, triangle_grid
from engines.training.renders_scenes import sample_scenes, sample_view, turn
from engines.training.renders_weights import gaze_deg, lid_weights, overshown, sample_weights

ORDER = {name: index for index, name in enumerate(BLENDSHAPES)}


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    return sample_weights(2000, BLENDSHAPES, np.random.default_rng(1))


def one_expression(**shown: float) -> np.ndarray:
    weights = np.zeros((1, len(BLENDSHAPES)), np.float32)
    for name, weight in shown.items():
        weights[0, ORDER[name]] = weight
    return weights


def test_weights_lie_between_none_and_all(weights: np.ndarray) -> None:
    assert weights.shape == (2000, 52)
    assert weights.min() >= 0
    assert weights.max() <= 1


def test_every_shape_is_shown_strongly_now_and_then(weights: np.ndarray) -> None:
    rarely = [name for name in BLENDSHAPES if (weights[:, ORDER[name]] > 0.5).mean() < 0.01]

    assert rarely == []


@pytest.mark.parametrize(
    "name",
    ["cheekPuff", "noseSneerLeft", "noseSneerRight", "cheekSquintLeft", "cheekSquintRight", "jawForward", "tongueOut"],
)
def test_shapes_that_teachers_miss_are_shown_more_often(weights: np.ndarray, name: str) -> None:
    usual = (weights[:, ORDER["mouthDimpleLeft"]] > 0.3).mean()

    assert (weights[:, ORDER[name]] > 0.3).mean() > 1.3 * usual


def test_what_is_shown_more_often_is_known_in_logits(weights: np.ndarray) -> None:
    more = overshown(BLENDSHAPES)
    shown = weights[:, ORDER["cheekPuff"]].mean()
    due = 1 / (1 + np.exp(more[ORDER["cheekPuff"]] - np.log(shown / (1 - shown))))
    in_turn = sample_weights(2000, BLENDSHAPES, np.random.default_rng(2), rare_share=0)[:, ORDER["cheekPuff"]].mean()

    assert due == pytest.approx(in_turn, rel=0.25)
    assert shown > 1.5 * in_turn
    assert more[ORDER["jawLeft"]] == pytest.approx(0, abs=0.15)  # whose turn it is as before


def test_a_fifth_of_the_faces_rest(weights: np.ndarray) -> None:
    still = [i for name, i in ORDER.items() if not name.startswith(("eyeLook", "eyeBlink"))]

    assert 0.18 < (weights[:, still].max(1) < 0.11).mean() < 0.4


def test_lips_close_only_over_an_open_jaw(weights: np.ndarray) -> None:
    assert (weights[:, ORDER["mouthClose"]] <= weights[:, ORDER["jawOpen"]] + 1e-6).all()


def test_the_tongue_comes_out_of_an_open_mouth(weights: np.ndarray) -> None:
    out = weights[:, ORDER["tongueOut"]] > 0.1

    assert (weights[out, ORDER["jawOpen"]] > 0.15).all()
    assert weights[out, ORDER["mouthClose"]].max() < 0.9


def test_no_eye_looks_both_ways(weights: np.ndarray) -> None:
    for side in ("Left", "Right"):
        for one, other in (("Up", "Down"), ("In", "Out")):
            both = np.minimum(weights[:, ORDER[f"eyeLook{one}{side}"]], weights[:, ORDER[f"eyeLook{other}{side}"]])
            assert both.max() == 0


def test_drawn_eyes_turn_by_the_angles_the_product_reads_from_the_same_weights() -> None:
    looks = eye_look(Gaze((12.0, -9.0), (6.0, -9.0)))

    angles = gaze_deg(one_expression(**looks), BLENDSHAPES)

    np.testing.assert_allclose(angles[0], [[12, -9], [6, -9]], atol=1e-4)


def test_a_closed_eye_stays_closed_wherever_it_looks() -> None:
    shown = one_expression(eyeBlinkLeft=1.0, eyeLookUpLeft=1.0, eyeWideLeft=0.5, eyeLookUpRight=1.0)

    deforming = lid_weights(shown, BLENDSHAPES)

    assert deforming[0, ORDER["eyeLookUpLeft"]] == 0
    assert deforming[0, ORDER["eyeWideLeft"]] == 0
    assert deforming[0, ORDER["eyeLookUpRight"]] == 1
    assert shown[0, ORDER["eyeLookUpLeft"]] == 1


def test_rotations_turn_the_face_to_the_right_then_up_then_clockwise() -> None:
    angle, none = np.array([0.3]), np.zeros(1)
    forward, up = np.array([0.0, 0, 1]), np.array([0.0, 1, 0])

    assert (turn(angle, none, none) @ forward)[0, 0] > 0.2
    assert (turn(none, angle, none) @ forward)[0, 1] > 0.2
    assert (turn(none, none, angle) @ up)[0, 0] > 0.2


def test_heads_stand_as_far_away_as_said_and_inside_the_picture() -> None:
    rotation, position_cm, focal_px, centre_px = sample_view(500, 256, np.random.default_rng(2))

    middle_cm = rotation @ np.array([0, -2, 1]) + position_cm
    middle_px = centre_px + focal_px[:, None] * middle_cm[:, :2] / -middle_cm[:, 2:] * [1, -1]
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (500, 1, 1)), atol=1e-5)
    assert (-position_cm[:, 2]).min() >= 35
    assert (-position_cm[:, 2]).max() <= 150
    assert np.abs(middle_px - 128).max() < 60


def test_the_same_number_is_the_same_person_in_other_light() -> None:
    scenes = sample_scenes(3, 256, BLENDSHAPES, np.random.default_rng(3), identity=np.array([4, 5, 4]))

    np.testing.assert_array_equal(scenes.shape[0], scenes.shape[2])
    np.testing.assert_array_equal(scenes.looks["skin"][0], scenes.looks["skin"][2])
    assert not np.array_equal(scenes.shape[0], scenes.shape[1])
    assert not np.array_equal(scenes.looks["light"][0], scenes.looks["light"][2])
    assert not np.array_equal(scenes.weights[0], scenes.weights[2])


def test_scenes_follow_from_their_seed() -> None:
    first, again = (sample_scenes(4, 256, BLENDSHAPES, np.random.default_rng(9)) for _ in range(2))

    np.testing.assert_array_equal(first.weights, again.weights)
    assert all(np.array_equal(first.looks[name], again.looks[name]) for name in first.looks)


def test_a_triangle_is_covered_evenly() -> None:
    grid = triangle_grid(5)

    assert len(grid) == 25
    assert grid.min() > 0
    np.testing.assert_allclose(grid.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(grid.mean(0), 1 / 3, atol=1e-6)


def test_shapes_of_the_mesh_are_found_by_arkit_names() -> None:
    one, two = np.ones((2, 3), np.float32), np.full((2, 3), 2, np.float32)
    offsets = {"jawLeft": one, "mouthSmile_L": one, "mouthSmile_R": two, "cheekPuff_L": one, "cheekPuff_R": two}

    assert expression_offsets("jawLeft", offsets)[0, 0] == 1
    assert expression_offsets("mouthSmileRight", offsets)[0, 0] == 2
    assert expression_offsets("cheekPuff", offsets)[0, 0] == 3


def test_a_shape_or_a_mesh_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no shape mouthSmirk"):
        expression_offsets("mouthSmirk", {})
    with pytest.raises(EngineError, match="no morphable face at"):
        load_face(tmp_path / "none.npz", BLENDSHAPES)
