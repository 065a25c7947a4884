import dataclasses
import json
from pathlib import Path

import pytest
from brokers import a_state

from appliance.publish.recorder import REPORTED, Recorder, compare
from appliance.values import AvatarState, HeadPose, TrackingState

STATES = [a_state(sequence=number, captured_ns=number * 33_000_000) for number in range(1, 31)]


@pytest.fixture
def expected(tmp_path: Path) -> Path:
    path = tmp_path / "expected.jsonl"
    with Recorder(path) as recorder:
        assert all(recorder.send(state) for state in STATES)
    return path


def test_a_recording_holds_nothing_that_differs_in_every_run(expected: Path) -> None:
    lines = [json.loads(line) for line in expected.read_text().splitlines()]

    assert len(lines) == 30
    assert not {"captured_utc_ns", "latency_ms"} & lines[0].keys()
    assert (lines[4]["stream"], lines[4]["slot"], lines[4]["seq"]) == ("cam0", 0, 5)


def test_the_same_states_agree(expected: Path) -> None:
    slower = [dataclasses.replace(state, latency_ms={"total": 99.0}) for state in STATES]

    assert compare(expected, iter(slower), 0.0) == []


def with_jaw(state: AvatarState, change: float) -> AvatarState:
    shapes = state.blendshapes.copy()
    shapes[24] = 0.5 + change
    return dataclasses.replace(state, blendshapes=shapes)


@pytest.mark.parametrize(("change", "agrees"), [(0.01, True), (-0.01, True), (0.03, False), (0.5, False)])
def test_a_weight_may_differ_by_the_tolerance(tmp_path: Path, change: float, agrees: bool) -> None:
    path = tmp_path / "expected.jsonl"
    with Recorder(path) as recorder:
        recorder.send(with_jaw(STATES[0], 0))

    differences = compare(path, [with_jaw(STATES[0], change)], 0.02)

    assert (differences == []) == agrees
    assert agrees or differences[0].startswith("line 1: blendshapes.jawOpen: expected 0.5, got ")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"state": TrackingState.LOST}, "state: expected 'tracking', got 'lost'"),
        ({"sequence": 2}, "seq: expected 1, got 2"),
        ({"session": "other"}, "session: expected 'k3f9q2', got 'other'"),
        (
            {"head": HeadPose((0.0, 0.1305, 0.0, 0.9914), (0.5, -0.02, -0.62))},
            "head.position[0]: expected 0.01, got 0.5",
        ),
    ],
)
def test_a_difference_is_told_by_line_and_field(expected: Path, change: dict[str, object], told: str) -> None:
    states = [dataclasses.replace(STATES[0], **change), *STATES[1:]]

    assert compare(expected, states, 0.02) == [f"line 1: {told}"]


def test_a_run_that_ends_early_or_late_differs(expected: Path) -> None:
    assert compare(expected, STATES[:10], 0.02) == ["line 11: the run ended here"]
    assert compare(expected, [*STATES, STATES[0]], 0.02) == ["line 31: the recording ended here"]


def test_the_list_of_differences_ends(expected: Path) -> None:
    others = [dataclasses.replace(state, session="other") for state in STATES]

    assert len(compare(expected, others, 0.02)) == REPORTED
