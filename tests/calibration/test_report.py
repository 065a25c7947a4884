"""What a report says of outputs that are known to be off by so much."""

import math
from pathlib import Path

import numpy as np
import pytest
from calibration_toys import Arrays

from calibration.activations import in_eight_bits, in_float, ranges_of, spreads
from calibration.methods import method_of, wants_ranges
from calibration.report import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, compare, report
from engines import manifest
from engines.errors import EngineError
from engines.networks import Network
from engines.ranges import METHODS

RNG = np.random.default_rng(0)


def test_points_are_measured_from_eye_to_eye() -> None:
    true = np.zeros((3, 478, 3), np.float32)
    true[:, LEFT_EYE_OUTER, 0], true[:, RIGHT_EYE_OUTER, 0] = 50, -50
    told = true + np.array([0.6, 0.8, 5], np.float32)  # 1 of 100 in the picture's plane; depth does not count

    rows = report("faces", "mse", {"landmarks": true}, {"landmarks": told}, {"landmarks": 3.0}, {}).rows

    assert [(row.measure, round(row.value, 4), row.holds) for row in rows] == [
        ("mean difference", 2.1333, True),
        ("mean distance, % from eye to eye", 1.0, False),
    ]


def test_weights_are_correlated_one_by_one_and_the_still_ones_left_out() -> None:
    true = RNG.uniform(0, 1, (200, 3)).astype(np.float32)
    true[:, 2] = 0.5
    told = true.copy()
    told[:, 1] = 1 - true[:, 1]

    found = report(
        "x", "mse", {"blendshapes": true}, {"blendshapes": told}, {"blendshapes": 1.0}, {"blendshapes": "abc"}
    )

    correlations = [channel.correlation for channel in found.channels["blendshapes"]]
    assert correlations[:2] == pytest.approx([1, -1], abs=1e-5)
    assert math.isnan(correlations[2])
    assert found.rows[1].value == pytest.approx(0, abs=1e-5)
    assert not found.holds


def test_visemes_are_counted_where_another_is_likeliest() -> None:
    true = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    told = np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]

    found = report("x", "mse", {"visemes": true}, {"visemes": told}, {"visemes": 1.0}, {"visemes": ("sil", "PP", "FF")})

    assert [channel.agreement for channel in found.channels["visemes"]] == [0.5, 1, 1]
    assert [row.value for row in found.rows if row.measure == "likeliest viseme the same"] == [0.75]


def test_a_number_that_is_none_misses() -> None:
    true = np.zeros((2, 3), np.float32)

    assert not report("x", "mse", {"scores": true}, {"scores": true * np.nan}, {"scores": 1.0}, {}).holds


def test_a_network_against_itself_in_eight_bits(small: Network, pictures: Arrays) -> None:
    found, count = spreads(small, [pictures])
    eight = in_eight_bits(small, ranges_of(small, found, "mse", count))

    true, told = compare(in_float(small), eight, [pictures])
    one = report("small", "mse", true, told, small.tolerance, {})

    assert one.calls == 12
    assert 0 < one.rows[0].value < 0.02
    assert one.holds


def test_nothing_held_out_is_said() -> None:
    with pytest.raises(EngineError, match=r"no held-out samples of x .* film for longer"):
        report("x", "mse", {}, {}, {"blendshapes": 0.02}, {})


@pytest.mark.parametrize("name", ["face_landmarks", "expression", "viseme"])
def test_every_manifest_names_a_method_there_is(name: str) -> None:
    assert method_of(name) in METHODS


@pytest.mark.parametrize("name", ["face_detector", "face_landmarks_256", "face_blendshapes"])
def test_what_breaks_in_eight_bits_wants_no_ranges(name: str) -> None:
    assert not wants_ranges(name)


def test_a_handful_of_calls_are_not_correlated() -> None:
    true = RNG.uniform(0, 1, (5, 2)).astype(np.float32)

    found = report(
        "x", "mse", {"blendshapes": true}, {"blendshapes": 1 - true}, {"blendshapes": 1.0}, {"blendshapes": "ab"}
    )

    assert [row.measure for row in found.rows] == ["mean difference"]


def test_a_manifest_that_names_another_method_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (manifest.MODELS / "face_detector" / "model.toml").read_text()
    (tmp_path / "face_detector").mkdir()
    (tmp_path / "face_detector" / "model.toml").write_text(
        text.split("[calibration]")[0] + '\n[calibration]\nmethod = "guess"\n'
    )
    monkeypatch.setattr(manifest, "MODELS", tmp_path)

    with pytest.raises(EngineError, match=r"calibration.method must be one of percentile, entropy, mse, minmax"):
        method_of("face_detector")
