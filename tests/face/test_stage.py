"""The face stage under load plans, with its real networks."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.daemon import build_tracker
from appliance.face.stage import FaceStage
from appliance.face.tracker import Tracker
from appliance.installed import opened
from appliance.settings import Camera, Settings
from appliance.values import EVERYTHING, Face, Frame, Image, Plan, TrackingState
from engines.errors import EngineError
from engines.runners import Returning, Runner, Tensors

STEP_NS = 33_000_000
VOICE_ONLY = Plan(faces=False)
CAMERAS = (Camera("cam0", "file:x", faces=2, microphone="mic0"), Camera("cam1", "file:x"))


class Counted:
    """A runner that knows how large its batches were, and whether it was let go."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.batches: list[int] = []
        self.closed = False

    def __call__(self, inputs: Tensors) -> Tensors:
        self.batches.append(len(next(iter(inputs.values()))))
        return self._runner(inputs)

    def close(self) -> None:
        self.closed = True


class House:
    """Builds trackers, and keeps what they were built of."""

    def __init__(self, desk: Settings) -> None:
        self._settings = replace(desk, camera=CAMERAS)
        self.runners: dict[str, Counted] = {}
        self.built = 0
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None

    def build(self) -> tuple[Tracker, list[Runner]]:
        self.gate.wait(10)
        if self.failure:
            raise self.failure
        self.built += 1
        self.runners = {}

        def load(settings: Settings, name: str) -> Runner:
            self.runners[name] = Counted(opened(settings, name))
            return self.runners[name]

        tracker = build_tracker(self._settings, load)
        return tracker, list(self.runners.values())


@pytest.fixture
def house(desk: Settings) -> House:
    return House(desk)


@pytest.fixture(scope="module")
def couple(photograph: Path) -> Image:
    """Two people beside each other."""
    face = cv2.imread(str(photograph))[20:230, 125:335]
    face = cv2.resize(face, (330, 330), interpolation=cv2.INTER_CUBIC)
    picture = np.full((720, 1280, 3), 120, np.uint8)
    picture[150:480, 100:430], picture[200:530, 800:1130] = face, face[:, ::-1]
    return picture


def read(stage: FaceStage | Tracker, plan: Plan, picture: Image | None, count: int, start: int) -> Iterator[list[Face]]:
    for number in range(start, start + count):
        yield stage.read([Frame("cam0", number, number * STEP_NS, picture)], plan)


def states(faces: list[Face]) -> list[TrackingState]:
    return [face.state for face in faces]


def test_without_faces_planned_networks_go_and_avatars_are_the_voices(house: House, couple: Image) -> None:
    stage = FaceStage(CAMERAS, house.build, EVERYTHING)
    *_, held = read(stage, EVERYTHING, couple, 40, 1)
    runners = house.runners.values()

    alone = list(read(stage, VOICE_ONLY, None, 3, 41))
    other = stage.read([Frame("cam1", 1, 44 * STEP_NS, None)], VOICE_ONLY)

    assert states(held) == [TrackingState.TRACKING] * 2
    assert all(runner.closed for runner in runners)
    assert [states(faces) for faces in alone] == [[TrackingState.VOICE] * 2] * 3
    assert {face.since_ns for faces in alone for face in faces} == {41 * STEP_NS}
    assert all(face.expression is None and not face.session for faces in alone for face in faces)
    assert states(other) == [TrackingState.IDLE]  # no microphone is its own


def test_networks_are_loaded_again_beside_the_loop_and_faces_are_found_anew(house: House, couple: Image) -> None:
    stage = FaceStage(CAMERAS, house.build, EVERYTHING)
    list(read(stage, VOICE_ONLY, None, 2, 1))
    house.gate.clear()

    (meanwhile,) = read(stage, EVERYTHING, couple, 1, 3)
    house.gate.set()
    until_s, number = time.monotonic() + 20, 4
    while time.monotonic() < until_s:
        (faces,) = read(stage, EVERYTHING, couple, 1, number)
        number += 1
        if TrackingState.ACQUIRING in states(faces):
            break
        time.sleep(0.01)

    assert states(meanwhile) == [TrackingState.VOICE] * 2
    assert TrackingState.ACQUIRING in states(faces)
    assert house.built == 2


def test_a_start_without_room_loads_nothing_until_there_is(house: House) -> None:
    stage = FaceStage(CAMERAS, house.build, VOICE_ONLY)

    list(read(stage, VOICE_ONLY, None, 3, 1))

    assert house.built == 0


def test_networks_that_do_not_load_again_end_the_program_with_their_reason(house: House) -> None:
    stage = FaceStage(CAMERAS, house.build, VOICE_ONLY)
    house.failure = EngineError("no engine")
    until_s = time.monotonic() + 10

    def go_on() -> None:
        while time.monotonic() < until_s:
            list(read(stage, EVERYTHING, None, 1, 1))

    with pytest.raises(EngineError, match="no engine"):
        go_on()


def test_small_batches_are_of_one_face_and_find_the_same(house: House, couple: Image) -> None:
    tracker, _ = house.build()
    *_, large = read(tracker, EVERYTHING, couple, 20, 1)
    whole = {name: list(house.runners[name].batches) for name in ("face_landmarks", "expression")}
    tracker, _ = house.build()
    *_, small = read(tracker, Plan(batch=1), couple, 20, 1)

    for name, batches in whole.items():
        assert max(batches) == 2
        assert house.runners[name].batches == [1] * sum(batches)
    for one, other in zip(small, large, strict=True):
        assert one.expression is not None
        assert other.expression is not None
        np.testing.assert_allclose(one.expression.blendshapes, other.expression.blendshapes, atol=1e-4)


def test_searches_are_rare_where_the_plan_says_so(house: House) -> None:
    tracker, _ = house.build()
    nobody = np.full((720, 1280, 3), 120, np.uint8)

    list(read(tracker, Plan(search_ns=1_000_000_000), nobody, 90, 1))
    rare = len(house.runners["face_detector"].batches)
    list(read(tracker, EVERYTHING, nobody, 10, 91))

    assert rare == 3  # in three seconds
    assert len(house.runners["face_detector"].batches) == rare + 10


def test_a_runner_that_returns_is_loaded_by_its_next_call() -> None:
    loads: list[Counted] = []

    def load() -> Counted:
        loads.append(Counted(lambda inputs: inputs))
        return loads[-1]

    runner = Returning(load)
    runner({"x": np.zeros(1)})
    runner.close()
    runner.close()
    runner({"x": np.zeros(1)})

    assert [one.closed for one in loads] == [True, False]
