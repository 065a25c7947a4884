import numpy as np
import pytest

from appliance.face import canonical
from appliance.face.canonical import canonical_face

PAIRS = [
    (canonical.UPPER_LID_RIGHT, canonical.UPPER_LID_LEFT),
    (canonical.LOWER_LID_RIGHT, canonical.LOWER_LID_LEFT),
    (canonical.BROW_UPPER_RIGHT, canonical.BROW_UPPER_LEFT),
    (canonical.BROW_LOWER_RIGHT, canonical.BROW_LOWER_LEFT),
    (canonical.NOSE_WING_RIGHT, canonical.NOSE_WING_LEFT),
    (canonical.JAW_RIGHT, canonical.JAW_LEFT),
    ((canonical.CHEEK_RIGHT, canonical.CHEEK_LOWER_RIGHT), (canonical.CHEEK_LEFT, canonical.CHEEK_LOWER_LEFT)),
    ((canonical.FACE_EDGE_RIGHT,), (canonical.FACE_EDGE_LEFT,)),
]


@pytest.mark.parametrize(("right", "left"), PAIRS)
def test_a_left_group_is_the_mirror_of_its_right_group(right: canonical.Group, left: canonical.Group) -> None:
    face = canonical_face()

    assert [int(face.mirror[index]) for index in right] == list(left)
    assert np.allclose(face.points_m[list(right)] * [-1, 1, 1], face.points_m[list(left)], atol=1e-6)
    assert (face.points_m[list(left), 0] > 0).all(), "the person's left is +X"


@pytest.mark.parametrize(
    "lip",
    [canonical.LIP_UPPER_OUTER, canonical.LIP_LOWER_OUTER, canonical.LIP_UPPER_INNER, canonical.LIP_LOWER_INNER],
)
def test_a_lip_mirrors_onto_itself_and_runs_from_right_to_left(lip: canonical.Group) -> None:
    face = canonical_face()

    assert [int(face.mirror[index]) for index in lip] == list(reversed(lip))
    assert (np.diff(face.points_m[list(lip), 0]) > 0).all()


def test_the_mirror_of_the_mirror_is_the_point_itself() -> None:
    mirror = canonical_face().mirror

    assert (mirror[mirror] == np.arange(478)).all()


def test_the_face_has_an_adults_measures() -> None:
    points_m = canonical_face().points_m

    def between_mm(one: int, other: int) -> float:
        return float(np.linalg.norm(points_m[one] - points_m[other]) * 1000)

    # Ranges within which lie nine adults of ten (Farkas, Anthropometry of the Head and Face, 1994).
    assert between_mm(canonical.IRIS_CENTRE_LEFT, canonical.IRIS_CENTRE_RIGHT) == pytest.approx(63, abs=0.1)
    assert 83 < between_mm(canonical.EYE_OUTER_LEFT, canonical.EYE_OUTER_RIGHT) < 97
    assert 28 < between_mm(canonical.EYE_INNER_LEFT, canonical.EYE_INNER_RIGHT) < 38
    assert 45 < between_mm(canonical.MOUTH_CORNER_LEFT, canonical.MOUTH_CORNER_RIGHT) < 60
    assert 105 < between_mm(canonical.NOSE_BRIDGE[0], canonical.CHIN) < 130
    assert 125 < between_mm(canonical.FACE_EDGE_LEFT, canonical.FACE_EDGE_RIGHT) < 152


def test_features_lie_above_each_other_as_in_a_face() -> None:
    heights_m = canonical_face().points_m[:, 1]
    downward = [canonical.FOREHEAD_TOP, 105, 159, 145, canonical.NOSE_TIP, canonical.NOSE_BASE, 0, 17, canonical.CHIN]

    assert (np.diff(heights_m[downward]) < 0).all()
    assert canonical_face().points_m[:, 2].argmax() in (1, 4, 44, 274), "the nose's tip stands out farthest"


def test_the_average_face_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        canonical_face().points_m[0, 0] = 1.0
