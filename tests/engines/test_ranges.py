"""The file of activation ranges."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.errors import EngineError
from engines.ranges import Ranges, ranges_for, write_ranges

SOME = Ranges("viseme", "a1b2", "percentile", {"features": (-1.5, 4.0), "relu_1": (0.0, 6.25)}, 240)


def test_ranges_survive_their_file(tmp_path: Path) -> None:
    write_ranges(SOME, tmp_path / "ranges.json")

    read = ranges_for(tmp_path / "ranges.json", "viseme", "a1b2")

    assert read == SOME
    assert read.sha256() == SOME.sha256()
    assert [path.name for path in tmp_path.iterdir()] == ["ranges.json"]


def test_other_ranges_are_another_calibration() -> None:
    wider = replace(SOME, ranges={**SOME.ranges, "relu_1": (0.0, 6.5)})

    assert wider.sha256() != SOME.sha256()


@pytest.mark.parametrize(("model", "onnx"), [("expression", "a1b2"), ("viseme", "c3d4")])
def test_the_calibration_of_another_model_is_refused(tmp_path: Path, model: str, onnx: str) -> None:
    write_ranges(SOME, tmp_path / "ranges.json")

    with pytest.raises(
        EngineError, match=rf"must be of {model} \({onnx}, gpu-stacked\), got those of viseme \(a1b2, gpu-stacked\)"
    ):
        ranges_for(tmp_path / "ranges.json", model, onnx)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "random"}, "on real inputs, got 'random' on 240"),
        ({"samples": 0}, "on real inputs, got 'percentile' on 0"),
        ({"samples": "many"}, r"must hold model \(str\), .* and nothing else"),
        ({"more": 1}, "and nothing else"),
        ({"ranges": {"x": [1.0]}}, r"x must be \[low, high\], got \[1\.0\]"),
        ({"ranges": {"x": [2.0, 1.0]}}, r"must be \[low, high\]"),
        ({"ranges": {"x": [0.0, float("nan")]}}, r"must be \[low, high\]"),
        ({"ranges": {"x": [True, 3]}}, r"must be \[low, high\]"),
    ],
)
def test_what_are_no_ranges_is_one_line_with_the_cure(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    write_ranges(SOME, tmp_path / "ranges.json")
    table = {**json.loads((tmp_path / "ranges.json").read_text()), **changed}
    (tmp_path / "ranges.json").write_text(json.dumps(table))

    with pytest.raises(EngineError, match=rf"{message}.*appliance calibrate ranges"):
        ranges_for(tmp_path / "ranges.json", "viseme", "a1b2")


@pytest.mark.parametrize("content", ["", "{", None])
def test_a_file_that_cannot_be_read_is_one_line_with_the_cure(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ranges.json").write_text(content)

    with pytest.raises(EngineError, match=r"cannot be read: .*appliance calibrate ranges"):
        ranges_for(tmp_path / "ranges.json", "viseme", "a1b2")
