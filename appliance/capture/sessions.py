"""Pictures of a recorded session: ``camera.npz`` in the session's folder.

Arrays of the file, none of them pickled, the archive not compressed:

============ ======== ============ ===============================================
name         type     shape        meaning
============ ======== ============ ===============================================
offsets      int64    pictures + 1 where each JPEG begins in ``jpeg``, and the end
captured_ns  int64    pictures     CLOCK_MONOTONIC of the device that recorded
width        int64    ()           pixels of the first picture
height       int64    ()
jpeg         uint8    bytes        the JPEGs, one behind the other
============ ======== ============ ===============================================
"""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import numpy.typing as npt

from appliance.capture.cameras import Moment, Picture, at_own_pace
from appliance.capture.pictures import decode
from appliance.errors import CameraError
from appliance.values import Image

FILE_NAME = "camera.npz"
JPEG_QUALITY = 95

_BROKEN = (OSError, ValueError, TypeError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)
_SMALL_BYTES = 1 << 26  # of the arrays beside the pictures: a day of sixty pictures a second has fewer
_BLOCK = 1 << 20


class SessionWriter:
    """Records pictures into a session's folder; the file appears, whole, when the writer is closed.

    A context manager. Pictures wait on disk, not in memory, so a recording may be long.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        folder.mkdir(parents=True, exist_ok=True)
        self._jpeg = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # written by later calls; close() ends it
        self._offsets = [0]
        self._captured_ns: list[int] = []
        self._size = (0, 0)

    def __enter__(self) -> "SessionWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, image: Image, captured_ns: int) -> None:
        """Append one picture, height x width x 3, BGR."""
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        self.write_jpeg(encoded.tobytes(), captured_ns, (image.shape[1], image.shape[0]))

    def write_jpeg(self, jpeg: bytes, captured_ns: int, size_px: tuple[int, int]) -> None:
        """Append one picture that is a JPEG already; the size is width, height."""
        self._size = self._size if self._captured_ns else size_px
        self._jpeg.write(jpeg)
        self._offsets.append(self._offsets[-1] + len(jpeg))
        self._captured_ns.append(captured_ns)

    def close(self) -> None:
        """Write the file; nothing is kept of a recording without pictures."""
        if self._jpeg.closed:
            return
        if self._captured_ns:
            aside = self._path.with_suffix(".part")
            with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:
                self._write_arrays(archive)
            os.replace(aside, self._path)
        self._jpeg.close()

    def _write_arrays(self, archive: zipfile.ZipFile) -> None:
        width, height = self._size
        small = {"offsets": self._offsets, "captured_ns": self._captured_ns, "width": width, "height": height}
        for name, values in small.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(values, np.int64), allow_pickle=False)
        with archive.open("jpeg.npy", "w", force_zip64=True) as member:
            header = {"descr": "|u1", "fortran_order": False, "shape": (self._offsets[-1],)}
            np.lib.format.write_array_header_1_0(member, header)
            self._jpeg.seek(0)
            while block := self._jpeg.read(_BLOCK):
                member.write(block)


class SessionPictures:
    """The pictures of a session, each with the time it was recorded at, as fast as they are asked for.

    Iterating twice gives the same twice. Only one JPEG is in memory at a time.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        if not self._path.is_file():
            raise CameraError(f"no recorded pictures at {self._path}; record a session with: appliance record DIR")
        try:
            self._refuse_bomb()
            with np.load(self._path, allow_pickle=False) as arrays:
                self._offsets: npt.NDArray[np.int64] = arrays["offsets"]
                self.captured_ns: npt.NDArray[np.int64] = arrays["captured_ns"]
                self.width_px, self.height_px = int(arrays["width"]), int(arrays["height"])
        except _BROKEN as error:
            raise self._broken(error) from None
        counts = (self._offsets.shape, self.captured_ns.shape)
        if counts != ((len(self.captured_ns) + 1,), (len(self.captured_ns),)) or len(self.captured_ns) == 0:
            raise self._broken("its arrays do not belong together")

    def _refuse_bomb(self) -> None:
        with zipfile.ZipFile(self._path) as archive:
            small = [member for member in archive.infolist() if member.filename != "jpeg.npy"]
        if sum(member.file_size for member in small) > _SMALL_BYTES:
            raise ValueError("it unpacks to more than a recording can hold")

    def __len__(self) -> int:
        return len(self.captured_ns)

    def __iter__(self) -> Iterator[tuple[Image, int]]:
        for jpeg, captured_ns in self.encoded():
            yield decode(jpeg), captured_ns

    def encoded(self) -> Iterator[tuple[bytes, int]]:
        """Yield each picture as the JPEG it is stored as."""
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open("jpeg.npy") as member:
                _skip_header(member)
                for size, captured_ns in zip(np.diff(self._offsets).tolist(), self.captured_ns.tolist(), strict=True):
                    jpeg = member.read(max(0, size))
                    if len(jpeg) != size:
                        raise EOFError("it ends before its last picture")
                    yield jpeg, captured_ns
        except _BROKEN as error:
            raise self._broken(error) from None

    def _broken(self, reason: Any) -> CameraError:
        return CameraError(f"{self._path} is no whole recording: {reason}; record the session again")


def _skip_header(member: IO[bytes]) -> None:
    np.lib.format.read_magic(member)
    np.lib.format.read_array_header_1_0(member)


class SessionCamera:
    """A recorded session, played at the pace it was recorded at and stamped anew."""

    def __init__(self, folder: str, loop: bool) -> None:
        self._folder = Path(folder).expanduser()
        self._loop = loop

    def pictures(self) -> Iterator[Picture]:
        """Yield the pictures when they are due; end with the recording unless it loops."""
        recorded = SessionPictures(self._folder)
        captured_ns = recorded.captured_ns
        lasted_s = max(1, int(captured_ns[-1] - captured_ns[0])) / 1e9
        return at_own_pace(self._rounds(recorded), max(1.0, (len(recorded) - 1) / lasted_s))

    def _rounds(self, recorded: SessionPictures) -> Iterator[Iterator[Moment]]:
        yield _moments(recorded)
        while self._loop:
            yield _moments(recorded)


def _moments(recorded: SessionPictures) -> Iterator[Moment]:
    first_ns = int(recorded.captured_ns[0])
    for jpeg, captured_ns in recorded.encoded():
        yield captured_ns - first_ns, partial(decode, jpeg)
