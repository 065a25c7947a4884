"""Which of the inputs that pass by are kept."""

from pathlib import Path

import numpy as np

from calibration.folder import CalibrationFolder
from calibration.keeping import Collection, Keeper, Plan
from engines.runners import Tensors

SECOND_NS = 1_000_000_000


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def doubled(inputs: Tensors) -> Tensors:
    return {"doubled": inputs["image"] * 2}


def anything(_outputs: Tensors, _row: int) -> bool:
    return True


def picture(value: float, faces: int = 1) -> Tensors:
    return {"image": np.full((faces, 2), value, np.float32) + np.arange(faces, dtype=np.float32)[:, None] / 10}


def test_the_network_answers_as_if_nobody_watched() -> None:
    watched = Keeper(Plan(10, 5, 2), 0, Clock(), anything).watch(doubled)

    assert (watched(picture(3))["doubled"] == 6).all()


def test_samples_are_spread_over_the_time() -> None:
    clock = Clock()
    keeper = Keeper(Plan(seconds=10, count=5, blocks=2), 0, clock, anything)
    watched = keeper.watch(doubled)

    for frame in range(300):  # 30 a second
        clock.now_ns = frame * SECOND_NS // 30
        watched(picture(frame))

    assert [float(sample["image"][0]) for _, sample in keeper.take()] == [0, 60, 120, 180, 240]
    assert keeper.take() == []


def test_what_is_kept_is_what_was_shown_though_its_buffer_is_used_again() -> None:
    keeper = Keeper(Plan(10, 5, 2), 0, Clock(), anything)
    buffer = np.ones((1, 2), np.float32)

    keeper.watch(doubled)({"image": buffer})
    buffer[:] = 7

    assert (keeper.take()[0][1]["image"] == 1).all()


def test_faces_of_one_batch_take_turns() -> None:
    clock = Clock()
    keeper = Keeper(Plan(10, 10, 2), 0, clock, anything)
    watched = keeper.watch(doubled)

    for second in range(6):
        clock.now_ns = second * SECOND_NS
        watched(picture(second, faces=3))

    faces = [round(float(sample["image"][0]) % 1 * 10) for _, sample in keeper.take()]
    assert sorted(faces) == [0, 0, 1, 1, 2, 2]


def test_what_shows_nothing_is_not_kept_and_its_turn_comes_again() -> None:
    clock = Clock()
    keeper = Keeper(Plan(10, 5, 2), 0, clock, lambda outputs, row: bool(outputs["doubled"][row, 0] > 5))
    watched = keeper.watch(doubled)

    for value in range(5):
        watched(picture(value))

    assert [float(sample["image"][0]) for _, sample in keeper.take()] == [3]


def test_a_memory_is_kept_from_before_a_stretch_of_calls() -> None:
    keeper = Keeper(Plan(10, 5, 2), 0, Clock(), anything, calls=3)
    watched = keeper.watch(lambda inputs: inputs)

    for call in range(4):
        value = np.full((1, 2), call, np.float32)
        watched({"features": value, "state_0": value + 100})

    [(_, sample)] = keeper.take()
    assert sample["features"].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert sample["state_0"].tolist() == [100, 100]


def test_a_stretch_in_which_one_call_in_six_shows_anything_is_not_kept() -> None:
    keeper = Keeper(Plan(10, 5, 2), 0, Clock(), lambda outputs, row: bool(outputs["features"][row, 0] == 0), calls=6)
    watched = keeper.watch(lambda inputs: inputs)

    for call in range(6):
        watched({"features": np.full((1, 2), call, np.float32)})

    assert keeper.take() == []


def test_blocks_of_time_become_files_when_they_are_over(tmp_path: Path) -> None:
    clock = Clock()
    folder = CalibrationFolder(tmp_path / "calibration")
    plan = Plan(seconds=10, count=10, blocks=2)
    keeper = Keeper(plan, 0, clock, anything)
    watched = keeper.watch(doubled)
    collection = Collection(folder, 1)
    collection.add("faces", "cam0", keeper)

    for second in range(7):
        clock.now_ns = second * SECOND_NS
        watched(picture(second))
    collection.write(plan.block(clock.now_ns))
    before = folder.counts()
    collection.close()

    assert before == {"faces": 5}
    assert folder.counts() == {"faces": 7} == collection.counts()
    assert [block["image"][:, 0].tolist() for block in folder.blocks("faces", held_out=True)] == [[5, 6]]
