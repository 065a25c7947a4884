"""The ring: shared memory through which one process shows its pictures to any number of others.

A plain file in ``/dev/shm`` named ``avatar-<camera>``; map it and read. Every number is an unsigned
64-bit word, little-endian; offsets are bytes. Words of the file:

====== ============= ===========================================================================
offset name          meaning
====== ============= ===========================================================================
0      magic         the eight bytes ``AVATRING``
8      layout        version of this table, 1
16     slots         number of slots, 4
24     first          offset of the first slot
32     stride        bytes from one slot to the next
40     capacity      bytes of pixels that fit in a slot
48     epoch         how many writers have opened the ring; it changes when capture was restarted
56     heartbeat_ns  CLOCK_MONOTONIC, when a writer last opened the ring or finished a picture
====== ============= ===========================================================================

Words of a slot, from its own start:

================== =========== =================================================================
offset             name        meaning
================== =========== =================================================================
0                  stamp       2 * sequence of the whole picture; odd while it is being written
8                  sequence    counts the camera's pictures from 1
16                 captured_ns CLOCK_MONOTONIC, when the sensor finished the picture
24, 32             width, height  pixels
40                 row         bytes from one row of pixels to the next
48                 format      the four characters ``BGR3``: blue, green, red, a byte each
64                 pixels      ``capacity`` bytes
stride - 64        stamp       the same stamp again
================== =========== =================================================================

Reading: take the slot with the highest stamp that is even and the same at both ends, copy what you need,
then compare **both** stamps with the one you began with; if either differs, the copy is torn: throw it
away and look again. A map for reading only is enough; the file's group may read it.

Why no torn picture passes. The writer makes both stamps odd, passes a memory barrier, writes, passes
another, and makes both even; the reader reads the stamps, passes a barrier, copies, passes another,
and reads the stamps again. Stamps never repeat within a file, also across writers. If the reader saw
any byte of a later picture, the barriers order that picture's odd stamps before its second look, so it
sees a difference; if it lacked any byte of its own picture, it had not seen its even stamp. This is
Boehm's argument for sequence locks (MSPC 2012), and it needs the barriers on ARM, where plain stores
may change places; x86 alone would do without. A writer killed in the middle leaves an odd stamp: that
slot is passed over until its turn comes again. A reader that was announced a picture through the
capture pipe needs no barrier for it: the kernel's lock on the pipe is one.
"""

import contextlib
import fcntl
import mmap
import os
import threading
import time
from pathlib import Path

import numpy as np

from appliance.errors import CameraError
from appliance.values import Image

SHARED_MEMORY = Path("/dev/shm")
LAYOUT = 1
SLOTS = 4
CHANNELS = 3

_MAGIC = int.from_bytes(b"AVATRING", "little")
_FORMAT = int.from_bytes(b"BGR3", "little")
_PAGE = 4096
_LINE = 64  # bytes of a cache line: the stamps share none with the pixels
_WORD = 8
_ATTEMPTS = 4

# Words of the header.
_EPOCH, _HEARTBEAT = 6, 7
# Words of a slot.
_STAMP, _SEQUENCE, _CAPTURED, _WIDTH, _HEIGHT, _ROW, _PIXEL_FORMAT = range(7)


class _Barrier:
    """A full memory barrier: a release followed by an acquire of the same thread is one, on ARMv8 too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def __call__(self) -> None:
        self._lock.release()
        self._lock.acquire()


class _Slot:
    """One slot of a mapped ring. Words are stored whole: eight aligned bytes at once."""

    def __init__(self, memory: mmap.mmap, start: int, stride: int, capacity: int) -> None:
        words = memoryview(memory)[start : start + _LINE].cast("Q")
        end = start + stride - _LINE
        self.words = words
        self.end = memoryview(memory)[end : end + _WORD].cast("Q")
        self.pixels: Image = np.frombuffer(memory, np.uint8, capacity, start + _LINE)

    def stamps(self) -> tuple[int, int]:
        return self.words[_STAMP], self.end[0]

    def stamp(self, value: int) -> None:
        self.words[_STAMP] = value
        self.end[0] = value


class _Mapping:
    """A ring's file, mapped. Checks the header before it believes it."""

    def __init__(self, descriptor: int, path: Path, writable: bool) -> None:
        size = os.fstat(descriptor).st_size
        if size < _PAGE:
            raise CameraError(f"{path} is no capture ring: {size} bytes, fewer than its header")
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        memory = mmap.mmap(descriptor, size, access=access)
        self.header = memoryview(memory)[:_PAGE].cast("Q")
        magic, layout, slots, first, stride, self.capacity = self.header[:_EPOCH]
        if (magic, layout) != (_MAGIC, LAYOUT) or first + slots * stride != size or self.capacity + 2 * _LINE > stride:
            raise CameraError(f"{path} is no capture ring of layout {LAYOUT}; delete it and start the appliance again")
        self.slots = [_Slot(memory, first + index * stride, stride, self.capacity) for index in range(slots)]


class Ring:
    """The owner's end: makes the file, and removes it. The process that opens a camera holds it.

    The file is locked while the owner lives, so a second appliance with a camera of the same name is
    refused, and one left by an appliance that was killed is replaced.
    """

    def __init__(self, camera: str, width_px: int, height_px: int, folder: Path = SHARED_MEMORY) -> None:
        self.path = folder / f"avatar-{camera}"
        capacity = width_px * height_px * CHANNELS
        self._descriptor = _claim(self.path, capacity)

    def reader(self) -> "RingReader":
        """Open the ring for reading, in this process."""
        return RingReader(self.path)

    def close(self) -> None:
        """Remove the file. Processes that have mapped it keep their mapping until they let go."""
        if self._descriptor >= 0:
            if _names(self.path, self._descriptor):
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1


def _claim(path: Path, capacity: int) -> int:
    """Put a fresh, locked ring at the path; it appears there whole or not at all."""
    with contextlib.ExitStack() as undo:
        try:
            fresh = os.open(path.parent, os.O_TMPFILE | os.O_RDWR, 0o640)
            undo.callback(os.close, fresh)
            fcntl.flock(fresh, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _lay_out(fresh, capacity)
            while not _link(fresh, path):
                _remove_stale(path)
        except OSError as error:
            raise CameraError(f"no shared memory for {path}: {error.strerror}; look at: df {path.parent}") from None
        undo.pop_all()
        return fresh


def _link(descriptor: int, path: Path) -> bool:
    """Give the nameless file its name, unless that is taken."""
    folder = os.open(path.parent, os.O_DIRECTORY)
    try:
        # Named by a folder's descriptor because Python follows the link to the file only then.
        os.link(f"/proc/self/fd/{descriptor}", path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        return False
    finally:
        os.close(folder)
    return True


def _lay_out(descriptor: int, capacity: int) -> None:
    stride = -(-(capacity + 2 * _LINE) // _PAGE) * _PAGE
    # Taken now: memory that runs out later would end a process with SIGBUS in the middle of a picture.
    os.posix_fallocate(descriptor, 0, _PAGE + SLOTS * stride)
    header = np.array([_MAGIC, LAYOUT, SLOTS, _PAGE, stride, capacity, 0, time.monotonic_ns()], "<u8")
    os.pwrite(descriptor, header.tobytes(), 0)


def _remove_stale(path: Path) -> None:
    """Remove a ring whose owner is gone; refuse one whose owner lives."""
    try:
        stale = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(stale, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _names(path, stale):  # nobody else replaced it before we held the lock
            path.unlink()
    except BlockingIOError:
        name = path.name.removeprefix("avatar-")
        raise CameraError(
            f"camera {name} is already captured by another running appliance ({path} is locked); "
            "stop that one or give this camera another name"
        ) from None
    finally:
        os.close(stale)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        raise CameraError(
            f"no capture ring at {path}: no appliance is running, or logind removed it at a logout; "
            "run the appliance as a system user"
        ) from None


def _names(path: Path, descriptor: int) -> bool:
    """Whether the path still leads to the opened file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


class RingWriter:
    """The capture process's end. One at a time; sequence numbers go on where the last writer stopped."""

    def __init__(self, path: Path) -> None:
        descriptor = _open(path, os.O_RDWR)
        try:
            self._mapping = _Mapping(descriptor, path, writable=True)
        finally:
            os.close(descriptor)
        self._barrier = _Barrier()
        # An unfinished picture's odd stamp is 2 * sequence - 1; its number is not used again.
        started = [(max(slot.stamps()) + 1) // 2 for slot in self._mapping.slots]
        self.sequence = max(started)
        self._next = (started.index(self.sequence) + 1) % len(started)
        self._mapping.header[_EPOCH] += 1
        self._mapping.header[_HEARTBEAT] = time.monotonic_ns()

    @property
    def capacity(self) -> int:
        """Bytes of pixels that fit in a slot."""
        return self._mapping.capacity

    def write(self, image: Image, captured_ns: int) -> int:
        """Copy one BGR picture of at most ``capacity`` bytes into the ring; return its sequence number."""
        height, width, _ = image.shape
        slot = self._mapping.slots[self._next]
        self.sequence += 1
        slot.stamp(2 * self.sequence - 1)
        self._barrier()
        slot.words[_SEQUENCE] = self.sequence
        slot.words[_CAPTURED] = captured_ns
        slot.words[_WIDTH] = width
        slot.words[_HEIGHT] = height
        slot.words[_ROW] = width * CHANNELS
        slot.words[_PIXEL_FORMAT] = _FORMAT
        np.copyto(slot.pixels[: image.size].reshape(image.shape), image, casting="no")
        self._barrier()
        slot.stamp(2 * self.sequence)
        self._mapping.header[_HEARTBEAT] = time.monotonic_ns()
        self._next = (self._next + 1) % len(self._mapping.slots)
        return self.sequence

    def skip(self) -> None:
        """Count a picture that was not worth writing, so that readers see the gap."""
        self.sequence += 1


class RingReader:
    """A reader's end. Any number, in any process; none can disturb the writer."""

    def __init__(self, path: Path) -> None:
        descriptor = _open(path, os.O_RDONLY)
        try:
            self._mapping = _Mapping(descriptor, path, writable=False)
        finally:
            os.close(descriptor)
        self._barrier = _Barrier()

    @property
    def capacity(self) -> int:
        """Bytes that a buffer for ``newest`` must hold."""
        return self._mapping.capacity

    def newest(self, after: int, buffer: Image) -> tuple[Image, int, int] | None:
        """Copy the newest whole picture with a sequence number above ``after`` into the buffer.

        Returns the picture (height x width x 3, a view of ``buffer``), its sequence number and its
        ``captured_ns``; ``None`` if there is none. Never waits, never returns a torn picture.
        """
        for _ in range(_ATTEMPTS):
            slot, stamp = self._latest(after)
            if slot is None:
                return None
            self._barrier()
            words = slot.words
            sequence, captured_ns, width, height = (words[word] for word in (_SEQUENCE, _CAPTURED, _WIDTH, _HEIGHT))
            size = width * height * CHANNELS
            if not 0 < size <= self._mapping.capacity:
                continue  # torn in its own words
            np.copyto(buffer[:size], slot.pixels[:size])
            self._barrier()
            if _whole(slot, stamp):
                return buffer[:size].reshape(height, width, CHANNELS), sequence, captured_ns
        return None  # the writer overtook us each time; its next picture wakes us again

    def _latest(self, after: int) -> tuple[_Slot | None, int]:
        best, best_stamp = None, 2 * after
        for slot in self._mapping.slots:
            begin, end = slot.stamps()
            if begin == end and begin % 2 == 0 and begin > best_stamp:
                best, best_stamp = slot, begin
        return best, best_stamp


def _whole(slot: _Slot, stamp: int) -> bool:
    """Whether the slot still holds the picture that had this stamp before the copy."""
    return slot.stamps() == (stamp, stamp)
