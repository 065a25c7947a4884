"""Whose face it is: lengths between points of bone."""

from dataclasses import replace
from math import cos, radians, sin

import numpy as np
import pytest
from projected import PICTURE_PX, project, turn

from appliance.face import bones
from appliance.face.bones import Bones
from appliance.face.canonical import canonical_face
from appliance.face.headpose import solve
from appliance.values import Float32, HeadPose

MS = 1_000_000


def seen(
    yaw_deg: float = 0, pitch_deg: float = 0, away_m: float = 0.6, narrower: float = 0.0, longer: float = 0.0
) -> Float32:
    face_m = canonical_face().points_m * np.array([1 - narrower, 1 + longer, 1], np.float32)
    points_px = project(turn(yaw_deg, pitch_deg), (0, 0, -away_m), face_m=face_m)
    head = solve(points_px, PICTURE_PX, 60.0)
    assert head is not None
    return bones.measure(points_px, head)


def known(lengths: Float32, count: int = 30) -> Bones:
    return Bones(lengths, count, 0)


@pytest.mark.parametrize(
    ("yaw_deg", "pitch_deg", "away_m"), [(0, 0, 1.5), (0, 0, 0.4), (12, 0, 0.6), (-12, 0, 0.6), (0, 8, 0.6)]
)
def test_a_face_is_the_same_from_elsewhere(yaw_deg: float, pitch_deg: float, away_m: float) -> None:
    assert not bones.strangers(known(seen()), known(seen(yaw_deg, pitch_deg, away_m)))


@pytest.mark.parametrize(("narrower", "longer"), [(0.1, 0.0), (0.0, 0.1), (-0.06, -0.06)])
def test_a_face_of_another_shape_is_a_strangers(narrower: float, longer: float) -> None:
    assert bones.strangers(known(seen()), known(seen(narrower=narrower, longer=longer)))


def test_a_few_measurements_tell_nobody_apart() -> None:
    one, other = known(seen()), known(seen(narrower=0.2), count=bones.ENOUGH - 1)

    assert not bones.strangers(one, other)
    assert bones.strangers(one, replace(other, count=bones.ENOUGH))


def test_the_mean_takes_in_every_measurement_and_forgets_the_oldest() -> None:
    mean = None
    for number in range(600):
        mean = bones.add(mean, np.full(6, 0.0 if number < 300 else 1.0, np.float32), number)

    assert mean is not None
    assert mean.lengths == pytest.approx(np.full(6, 0.86), abs=0.01)


@pytest.mark.parametrize(
    ("count", "since_ms", "due"), [(5, 20, False), (5, 33, True), (20, 33, False), (20, 190, False), (20, 200, True)]
)
def test_bones_are_measured_often_until_known_and_seldom_after(count: int, since_ms: int, due: bool) -> None:
    assert bones.due(Bones(np.zeros(6, np.float32), count, 0), since_ms * MS) is due


def turned(yaw_deg: float, pitch_deg: float, x_m: float = 0.0) -> HeadPose:
    """Turned to the picture's right, or up."""
    yaw, pitch = radians(yaw_deg) / 2, -radians(pitch_deg) / 2
    return HeadPose(
        (sin(pitch) * cos(yaw), cos(pitch) * sin(yaw), -sin(pitch) * sin(yaw), cos(pitch) * cos(yaw)), (x_m, 0, -0.6)
    )


@pytest.mark.parametrize(
    ("head", "confidence", "well"),
    [
        (turned(0, 0), 1.0, True),
        (turned(0, 0), 0.5, False),
        (turned(24, 0), 1.0, True),
        (turned(-26, 0), 1.0, False),
        (turned(0, 19), 1.0, True),
        (turned(0, -21), 1.0, False),
        (turned(-30, 0, x_m=0.6 * 0.577), 1.0, True),  # 30 degrees beside the axis, and turned to the lens
        (turned(0, 0, x_m=0.6), 1.0, False),
    ],
)
def test_a_face_is_seen_well_from_the_front(head: HeadPose, confidence: float, well: bool) -> None:
    assert bones.seen_well(head, confidence) is well
