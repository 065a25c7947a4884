"""The store of engines: what is present, what is absent and why, and what a kill or a full disk leaves."""

import resource
import signal
import subprocess
import sys
import threading
from dataclasses import fields, replace
from pathlib import Path

import pytest
from boards import ORIN, UPDATED, key, put

from engines.board import Board
from engines.errors import EngineError
from engines.store import Key, Store, changes


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "engines")


def names(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir() if path.name != ".lock")


def test_what_was_put_in_is_read_back_with_its_record(store: Store) -> None:
    record = put(store, key(), b"plan")

    assert store.read(key()) == b"plan"
    assert store.record(key()) == record
    assert store.is_whole(key())


@pytest.mark.parametrize("field", [field.name for field in fields(Key) if field.name not in ("model", "board")])
def test_an_engine_is_absent_when_anything_it_depends_on_changed(store: Store, field: str) -> None:
    put(store, key())

    changed = replace(key(), **{field: "another"})

    assert store.find(changed) is None
    with pytest.raises(EngineError, match="appliance engines build"):
        store.read(changed)


@pytest.mark.parametrize("field", [field.name for field in fields(Board)])
def test_an_engine_of_another_board_is_absent(store: Store, field: str) -> None:
    put(store, key())

    assert store.find(key(board=replace(ORIN, **{field: "another"}))) is None


def test_why_an_engine_is_absent_is_said_by_the_nearest_one(store: Store) -> None:
    assert store.why_absent(key()) == "never built here"
    put(store, key(calibration="other", board=replace(ORIN, gpu="another")))
    put(store, key())

    assert store.why_absent(key(board=UPDATED)) == "TensorRT 10.3.0 -> 10.16.0, L4T 36.4.3 -> 39.0.0"


def test_a_value_that_was_empty_is_said_to_be_none() -> None:
    assert changes(key(calibration=""), key()) == ["calibration none -> c1"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove"])
def test_a_plan_with_one_wrong_byte_is_refused(store: Store, tmp_path: Path, damage: str) -> None:
    plan = bytes(range(256)) * 40
    path = tmp_path / "engines" / put(store, key(), plan).plan
    flipped = plan[:5000] + bytes([plan[5000] ^ 1]) + plan[5001:]
    changed = {"flip": flipped, "truncate": plan[:5000], "empty": b""}
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(changed[damage])

    with pytest.raises(EngineError, match=r"face_landmarks-int8-.* (must have SHA-256|cannot be read).*engines build"):
        store.read(key())
    assert not store.is_whole(key())


@pytest.mark.parametrize("record", ["", "{", "[]", '{"key": {}}', '{"plan": "x"}'])
def test_an_engine_whose_record_is_damaged_is_absent(store: Store, tmp_path: Path, record: str) -> None:
    put(store, key())
    (tmp_path / "engines" / f"{key().stem}.json").write_text(record)

    assert store.find(key()) is None
    assert store.records() == []


def test_a_plan_renamed_to_pass_for_another_is_absent(store: Store, tmp_path: Path) -> None:
    put(store, key(), b"of the old board")
    updated = key(board=UPDATED)
    (tmp_path / "engines" / f"{key().stem}.json").rename(tmp_path / "engines" / f"{updated.stem}.json")

    assert store.find(updated) is None


def test_an_engine_that_is_built_again_replaces_the_one_before(store: Store, tmp_path: Path) -> None:
    put(store, key(), b"first")
    put(store, key(), b"second")

    assert store.read(key()) == b"second"
    assert len(names(tmp_path / "engines")) == 2


def test_what_a_killed_build_left_goes_at_the_next(store: Store, tmp_path: Path) -> None:
    put(store, key(), b"good")
    folder = tmp_path / "engines"
    before = names(folder)
    (folder / ".aside-x1").write_bytes(b"half")
    (folder / f"{key(precision='fp16').stem}-00000000.plan").write_bytes(b"renamed, and killed before its record")

    with store.locked(print):
        pass

    assert names(folder) == before
    assert store.read(key()) == b"good"


WRITER = """
import sys
from pathlib import Path
from boards import key, put
from engines.store import Store
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
count = 0
while True:
    count += 1
    put(store, key(), count.to_bytes(4, "big") * 500_000)
"""


def test_a_kill_at_any_instant_leaves_one_whole_engine(store: Store, tmp_path: Path) -> None:
    put(store, key(), b"the first")
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "engines")],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        threading.Event().wait(0.05 + 0.01 * number)
        writer.send_signal(number)
        writer.wait(10)

        assert store.is_whole(key())
        with store.locked(print):
            pass
        assert len(names(tmp_path / "engines")) == 2


FULL = """
import resource, signal, sys
from pathlib import Path
from boards import key, put
from engines.errors import EngineError
from engines.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    put(Store(Path(sys.argv[1])), key(), b"x" * 200_000)
except EngineError as error:
    sys.exit(str(error))
"""


def test_a_disk_without_room_is_one_line_and_the_engine_before_stays(store: Store, tmp_path: Path) -> None:
    assert resource.RLIMIT_FSIZE  # a limit on the size of files stands in for a full disk: the write fails the same way
    put(store, key(), b"good")
    before = names(tmp_path / "engines")

    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "engines")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )

    assert done.returncode == 1
    assert "must have room for" in done.stderr
    assert "engines prune" in done.stderr
    assert names(tmp_path / "engines") == before
    assert store.read(key()) == b"good"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("a file")

    with pytest.raises(EngineError, match="must be a writable folder"), Store(tmp_path / "engines").locked(print):
        pass


def test_two_builds_at_once_wait_for_each_other(store: Store) -> None:
    said: list[str] = []
    order: list[str] = []

    def second() -> None:
        with store.locked(said.append):
            order.append("second")

    with store.locked(print):
        thread = threading.Thread(target=second)
        thread.start()
        while not said:
            threading.Event().wait(0.01)
        order.append("first")
    thread.join(5)

    assert said == ["waiting for another process that is building engines"]
    assert order == ["first", "second"]


def test_a_refused_engine_says_why_until_it_is_forgotten(store: Store) -> None:
    put(store, key(), b"one that missed")

    with store.locked(print):
        store.refuse(key(), "misses its tolerance: landmarks 0.9 of at most 0.4")
    assert store.find(key()) is None
    assert store.why_absent(key()) == "refused: misses its tolerance: landmarks 0.9 of at most 0.4"
    with store.locked(print):
        store.forget_refusal(key())

    assert store.refusal(key()) == ""


def test_pruning_keeps_what_is_wanted_and_the_last_good_engine(store: Store, tmp_path: Path) -> None:
    boards = [replace(ORIN, power_mode=mode) for mode in ("15W", "25W", "MAXN")]
    for age, board in enumerate(boards):
        put(store, key(board=board), b"plan", built_utc_s=age)
    put(store, key(board=UPDATED), b"plan", built_utc_s=9)
    put(store, key(model="viseme"), b"plan", built_utc_s=0)
    with store.locked(print):
        store.refuse(key(precision="fp16"), "of a board that is gone")
        store.refuse(key(model="viseme", board=UPDATED), "still so")

        removed = store.prune([key(board=UPDATED), key(model="viseme", board=UPDATED)])

    assert len(removed) == 2
    assert {record.key for record in store.records()} == {
        key(board=UPDATED),
        key(board=boards[2]),
        key(model="viseme"),
    }
    assert store.refusal(key(precision="fp16")) == ""
    assert store.refusal(key(model="viseme", board=UPDATED)) == "still so"
    assert not [path for path in removed if (tmp_path / "engines" / path).exists()]


def test_timing_caches_belong_to_one_board(store: Store) -> None:
    assert store.timing_cache(ORIN) == b""
    with store.locked(print):
        store.keep_timing_cache(ORIN, b"measured")

    assert store.timing_cache(ORIN) == b"measured"
    assert store.timing_cache(UPDATED) == b""
