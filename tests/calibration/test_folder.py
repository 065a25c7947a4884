"""What lies in the calibration folder, how long, and how it goes."""

import resource
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from calibration.folder import DAY_S, CalibrationFolder, Stamp, is_held_out
from engines.errors import EngineError
from engines.keys import HELD_OUT_FILE, RANGES_FILE

NOW_S = 1_790_000_000.0
ONE = {"image": np.arange(12, dtype=np.float32).reshape(2, 6)}


@pytest.fixture
def folder(tmp_path: Path) -> CalibrationFolder:
    return CalibrationFolder(tmp_path / "calibration")


def filled(folder: CalibrationFolder, blocks: int = 4) -> CalibrationFolder:
    """One recording of a network, two samples a block."""
    with folder.recording(NOW_S, days=30) as recording:
        for block in range(blocks):
            folder.write("faces", recording, block, "cam0", {"image": ONE["image"] + block})
    return folder


@pytest.mark.parametrize(
    ("now_s", "over"), [(NOW_S, False), (NOW_S + 30 * DAY_S - 1, False), (NOW_S + 30 * DAY_S, True), (0.0, False)]
)
def test_samples_expire_so_many_days_after_the_first(now_s: float, over: bool) -> None:
    assert Stamp(NOW_S, NOW_S + 30 * DAY_S).is_over(now_s) is over


def test_a_later_recording_does_not_prolong_the_first(folder: CalibrationFolder) -> None:
    filled(folder)

    with folder.recording(NOW_S + 20 * DAY_S, days=30) as recording:
        pass

    stamp = folder.stamp()
    assert recording == 2
    assert stamp is not None
    assert stamp.expires_utc_s == NOW_S + 30 * DAY_S


def test_expiry_deletes_every_sample_and_leaves_the_ranges(folder: CalibrationFolder) -> None:
    filled(folder).write_held_out("faces", ONE)
    folder.ranges_path("faces").write_text("{}")

    assert folder.expire(NOW_S + 29 * DAY_S) is None
    deleted = folder.expire(NOW_S + 31 * DAY_S)

    assert deleted is not None
    assert deleted.files == 5
    assert [path.name for path in folder.path.rglob("*") if path.is_file() and path.name != ".lock"] == [RANGES_FILE]
    assert folder.stamp() is None


def test_forgetting_says_what_went_and_takes_the_ranges_where_asked(folder: CalibrationFolder) -> None:
    filled(folder)
    folder.ranges_path("faces").write_text("{}")

    first, second = folder.forget(), folder.forget(ranges=True)

    assert str(first).startswith("4 files of pictures and sound, 0.0 MB")
    assert str(second).startswith("0 files of pictures and sound and the ranges of 1 networks")
    assert not (folder.path / "faces").exists()


def test_only_their_owner_can_read_samples(folder: CalibrationFolder) -> None:
    filled(folder).write_held_out("faces", ONE)

    files = [path for path in folder.path.rglob("*") if path.is_file() and path.name != ".lock"]
    folders = [folder.path, *(path for path in folder.path.rglob("*") if path.is_dir())]

    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_whole_blocks_of_time_are_held_out(folder: CalibrationFolder) -> None:
    filled(folder, blocks=8)

    held, others = ([block["image"][0, 0] for block in folder.blocks("faces", out)] for out in (True, False))

    assert [block for block in range(8) if is_held_out(block)] == [1, 5]
    assert held == [1, 5]
    assert others == [0, 2, 3, 4, 6, 7]
    assert folder.counts() == {"faces": 16}


def test_what_a_killed_recording_left_aside_goes_at_the_next(folder: CalibrationFolder) -> None:
    filled(folder)
    (folder.path / "faces" / "samples" / ".aside-x").write_bytes(b"half")

    with folder.recording(NOW_S, days=30):
        left = list(folder.path.rglob(".aside-*"))

    assert left == []
    assert folder.counts() == {"faces": 8}


def test_a_kill_while_writing_leaves_whole_blocks(folder: CalibrationFolder) -> None:
    program = textwrap.dedent(f"""
        import numpy as np
        from pathlib import Path
        from calibration.folder import CalibrationFolder
        folder = CalibrationFolder(Path({str(folder.path)!r}))
        with folder.recording({NOW_S}, 30) as recording:
            for block in range(1000):
                folder.write("faces", recording, block, "cam0", {{"image": np.random.rand(20, 9999)}})
                print(block, flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "3":
                break
        process.kill()

    assert process.returncode == -signal.SIGKILL
    assert len(list(folder.blocks("faces", held_out=False))) >= 3
    with folder.recording(NOW_S, days=30) as recording:
        assert recording == 2


def test_a_folder_with_anything_else_in_it_is_left_alone(folder: CalibrationFolder) -> None:
    (folder.path / "holidays").mkdir(parents=True)
    (folder.path / "holidays" / "beach.jpg").write_bytes(b"sand")

    with pytest.raises(EngineError, match="must hold calibration samples alone, and holds holidays"):
        folder.forget(ranges=True)
    assert (folder.path / "holidays" / "beach.jpg").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = CalibrationFolder(tmp_path / "file" / "calibration")

    with pytest.raises(EngineError, match="must be a folder we can write"), folder.recording(NOW_S, days=30):
        pass


def test_a_folder_that_cannot_be_written_is_one_line(folder: CalibrationFolder) -> None:
    (folder.path / ".lock").mkdir(parents=True)

    with pytest.raises(EngineError, match=r"must be writable: .*; run this as the appliance's user"):
        folder.forget()


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow larger: what a full disk does to a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_what_was_kept_and_no_debris(folder: CalibrationFolder) -> None:
    filled(folder)
    large = {"image": np.random.default_rng(0).uniform(size=(50, 1000)).astype(np.float32)}

    with room_for(10_000), pytest.raises(EngineError, match=r"cannot be written: .*; \d+ MB are free; free some"):
        folder.write("faces", 2, 0, "cam0", large)

    assert folder.counts() == {"faces": 8}
    assert list(folder.path.rglob(".aside-*")) == []


def test_two_recordings_at_once_are_refused(folder: CalibrationFolder) -> None:
    other = CalibrationFolder(folder.path)

    with folder.recording(NOW_S, days=30), pytest.raises(EngineError, match=r"a recording into .* is running"):
        other.forget()


def test_a_damaged_stamp_or_block_names_the_cure(folder: CalibrationFolder) -> None:
    filled(folder)
    block = next((folder.path / "faces" / "samples").glob("001-000-*"))
    block.write_bytes(block.read_bytes()[:40])
    with pytest.raises(EngineError, match=r"cannot be read: .*appliance calibrate forget"):
        list(folder.blocks("faces", held_out=False))

    (folder.path / "set.json").write_text("[]")
    with pytest.raises(EngineError, match="delete them with: appliance calibrate forget"):
        folder.stamp()
    assert folder.forget().files == 4


def test_a_dropped_recording_leaves_those_before(folder: CalibrationFolder) -> None:
    filled(folder)
    with folder.recording(NOW_S, days=30) as recording:
        folder.write("faces", recording, 0, "cam0", ONE)
        folder.drop(recording)

    assert folder.counts() == {"faces": 8}
    assert HELD_OUT_FILE not in [path.name for path in folder.path.rglob("*")]
