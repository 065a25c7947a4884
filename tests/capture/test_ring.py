import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from appliance.capture import ring as ring_module
from appliance.capture.ring import SHARED_MEMORY, Ring, RingReader, RingWriter
from appliance.errors import CameraError
from appliance.values import Image

WIDTH, HEIGHT = 640, 480
LIMIT_S = 30.0


def picture(value: int, width: int = WIDTH, height: int = HEIGHT) -> Image:
    return np.full((height, width, 3), value % 251, np.uint8)


def buffer_for(reader: RingReader) -> Image:
    return np.zeros(reader.capacity, np.uint8)


def in_another_process(work: Callable[[], None]) -> int:
    """Fork, so that the writer is running within a millisecond; return its process number."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def write_for_ever(path: Path, longest_pause_s: float = 0.0) -> None:
    writer = RingWriter(path)
    canvas = picture(0)
    while True:
        canvas[:] = (writer.sequence + 1) % 251
        writer.write(canvas, writer.sequence + 1)
        if longest_pause_s:
            time.sleep(random.random() * longest_pause_s)


def hold_ring(name: str) -> None:
    ring = Ring(name, WIDTH, HEIGHT)
    time.sleep(60)
    ring.close()


def end(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def count_torn(path: Path, enough: Callable[[int, int], bool]) -> tuple[int, int]:
    """Read beside a writer for a second, then until it is enough; return how many were read, and how many torn."""
    reader = RingReader(path)
    buffer = buffer_for(reader)
    read = torn = sequence = 0
    start = time.monotonic()
    while (lasted_s := time.monotonic() - start) < 1 or (not enough(read, torn) and lasted_s < LIMIT_S):
        time.sleep(random.random() * 0.0005)  # or each look would fall just behind a write, where it is safe
        newest = reader.newest(sequence, buffer)
        if newest is None:
            continue
        image, sequence, captured = newest
        read += 1
        torn += not (captured == sequence and (image == sequence % 251).all())
    return read, torn


def test_a_picture_comes_out_as_it_went_in(name: str) -> None:
    ring = Ring(name, WIDTH, HEIGHT)
    writer, reader = RingWriter(ring.path), ring.reader()
    image = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)

    sequence = writer.write(image, 123_456_789)
    newest = reader.newest(0, buffer_for(reader))
    ring.close()

    assert newest is not None
    assert (newest[1], newest[2]) == (sequence, 123_456_789) == (1, 123_456_789)
    np.testing.assert_array_equal(newest[0], image)


def test_the_newest_picture_wins_and_is_given_once(name: str) -> None:
    ring = Ring(name, WIDTH, HEIGHT)
    writer, reader = RingWriter(ring.path), ring.reader()
    buffer = buffer_for(reader)

    for value in range(1, 8):
        writer.write(picture(value, WIDTH - value), value)
    newest = reader.newest(0, buffer)
    again = reader.newest(7, buffer)
    ring.close()

    assert newest is not None
    assert newest[1] == 7
    assert newest[0].shape == (HEIGHT, WIDTH - 7, 3)
    assert again is None


def test_a_skipped_picture_is_a_gap_and_the_last_whole_one_stays_readable(name: str) -> None:
    ring = Ring(name, WIDTH, HEIGHT)
    writer, reader = RingWriter(ring.path), ring.reader()

    writer.write(picture(1), 1)
    for _ in range(4):
        writer.skip()
    last = writer.write(picture(2), 2)
    newest = reader.newest(0, buffer_for(reader))
    ring.close()

    assert newest is not None
    assert newest[1] == last == 6


def test_another_program_can_read_the_ring_from_its_table(name: str) -> None:
    ring = Ring(name, WIDTH, HEIGHT)
    writer = RingWriter(ring.path)
    writer.write(picture(7), 4711)
    file = ring.path.read_bytes()
    ring.close()

    magic, (layout, slots, first, stride, capacity, epoch) = file[:8], np.frombuffer(file, "<u8", 6, 8)
    starts = [first + index * stride for index in range(slots)]
    newest = max(starts, key=lambda start: int.from_bytes(file[start : start + 8], "little"))
    stamp, sequence, captured_ns, width, height, row = np.frombuffer(file, "<u8", 6, newest)
    assert (magic, layout, slots, epoch) == (b"AVATRING", 1, 4, 1)
    assert len(file) == first + slots * stride
    assert capacity == WIDTH * HEIGHT * 3
    assert (stamp, sequence, captured_ns, width, height, row) == (2, 1, 4711, WIDTH, HEIGHT, WIDTH * 3)
    assert file[newest + 48 : newest + 52] == b"BGR3"
    assert set(file[newest + 64 : newest + 64 + capacity]) == {7}
    assert np.frombuffer(file, "<u8", 1, newest + stride - 64)[0] == stamp


@pytest.mark.parametrize(("slots", "pause_s"), [(4, 0.0), (1, 0.0), (1, 0.0003)])
def test_no_torn_picture_passes_beside_a_writer_at_full_speed(
    name: str, slots: int, pause_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_module, "SLOTS", slots)
    ring = Ring(name, WIDTH, HEIGHT)
    writer = in_another_process(lambda: write_for_ever(ring.path, pause_s))

    read, torn = count_torn(ring.path, enough=lambda read, torn: read >= 10)
    end(writer)
    ring.close()

    assert read > 0  # with one slot and no pause most looks find the writer at work
    assert torn == 0


def test_the_stress_test_sees_torn_pictures_where_nobody_checks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "SLOTS", 1)
    monkeypatch.setattr(ring_module, "_whole", lambda slot, stamp: True)
    ring = Ring(name, WIDTH, HEIGHT)
    writer = in_another_process(lambda: write_for_ever(ring.path))

    _, torn = count_torn(ring.path, enough=lambda read, torn: torn > 0)
    end(writer)
    ring.close()

    assert torn > 0


def test_a_writer_killed_at_any_instant_leaves_whole_pictures_and_nothing_else(name: str) -> None:
    ring = Ring(name, WIDTH, HEIGHT)
    reader = ring.reader()
    buffer = buffer_for(reader)
    sequence = unfinished = 0

    for _ in range(200):
        writer = in_another_process(lambda: write_for_ever(ring.path))
        time.sleep(random.random() * 0.004)
        end(writer)
        newest = reader.newest(0, buffer)
        if newest:
            image, number, captured = newest
            assert number >= sequence
            assert captured == number
            assert (image == number % 251).all()
            sequence = number
        unfinished += any(slot.stamps()[0] % 2 for slot in reader._mapping.slots)
    last = RingWriter(ring.path).write(picture(1), 1)
    ring.close()

    assert unfinished > 0, "no kill fell into a write: the test proved nothing"
    assert last > sequence > 200
    assert [path for path in SHARED_MEMORY.iterdir() if name in path.name] == []  # others' rings come and go meanwhile


def test_the_ring_of_a_killed_appliance_is_replaced(name: str) -> None:
    owner = in_another_process(lambda: hold_ring(name))
    path = SHARED_MEMORY / f"avatar-{name}"
    while not path.exists():
        time.sleep(0.01)
    end(owner)
    left = path.stat().st_ino

    ring = Ring(name, WIDTH, HEIGHT)
    fresh = path.stat().st_ino
    ring.close()

    assert fresh != left


def test_a_second_appliance_with_the_same_camera_is_refused_and_disturbs_nothing(name: str) -> None:
    ring = Ring(name, WIDTH, HEIGHT)

    with pytest.raises(CameraError, match=f"camera {name} is already captured by another running appliance.*name"):
        Ring(name, WIDTH, HEIGHT)
    RingWriter(ring.path).write(picture(1), 1)
    ring.close()


def test_of_many_appliances_started_at_once_one_gets_the_ring(name: str) -> None:
    script = (
        "import sys, time\nfrom appliance.capture.ring import Ring\nfrom appliance.errors import CameraError\n"
        f"sys.stdin.read()\ntry:\n    ring = Ring({name!r}, 64, 64)\n    time.sleep(0.5)\n    ring.close()\n"
        "except CameraError:\n    sys.exit(1)\n"
    )
    command = [sys.executable, "-c", script]
    starters = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
    time.sleep(0.5)
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.close()

    assert sorted(starter.wait(20) for starter in starters) == [0, 1, 1, 1]


def test_a_ring_that_cannot_be_had_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"no shared memory for .*look at: df"):
        Ring("anything", WIDTH, HEIGHT, folder=tmp_path / "missing")


@pytest.mark.parametrize("content", [b"", b"something else" * 1000])
def test_a_file_that_is_no_ring_is_not_believed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "avatar-x"
    path.write_bytes(content)

    with pytest.raises(CameraError, match="is no capture ring"):
        RingReader(path)
