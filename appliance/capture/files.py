"""A film or a still from a file, played as if it were a camera."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from appliance.capture.cameras import Moment, Picture, at_own_pace
from appliance.capture.pictures import decode, one_decoding_thread
from appliance.errors import CameraError
from appliance.values import Image

STILLS = frozenset({".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class FileCamera:
    """Any film or picture that OpenCV decodes, at its own pace.

    A still picture is a clip of one picture: it stays for a period of ``fps``, or for ever where it loops.
    """

    def __init__(self, path: str, fps: float, loop: bool) -> None:
        self._path = Path(path).expanduser()
        self._fps = fps
        self._loop = loop

    def pictures(self) -> Iterator[Picture]:
        """Yield the pictures when they are due; end with the clip unless it loops."""
        if not self._path.is_file():
            raise CameraError(f"no film or picture at {self._path}; look at camera.source")
        if self._path.suffix.lower() in STILLS:
            image = decode(self._path.read_bytes())
            return at_own_pace(self._rounds([(0, lambda: image)]), self._fps)
        film = _Film(self._path, self._fps)
        return at_own_pace(self._rounds(film), film.fps)

    def _rounds(self, clip: Iterable[Moment]) -> Iterator[Iterable[Moment]]:
        yield clip
        while self._loop:
            yield clip


class _Film:
    """A film that can be gone through again and again; each time it is opened anew."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        film = self._open()
        told = film.get(cv2.CAP_PROP_FPS)
        film.release()
        self.fps = told if math.isfinite(told) and 1 <= told <= 1000 else fps

    def _open(self) -> cv2.VideoCapture:
        film = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG, one_decoding_thread())
        if not film.isOpened():
            raise CameraError(f"{self._path} is no film that OpenCV can play; convert it, for instance to H.264 in MP4")
        return film

    def __iter__(self) -> Iterator[Moment]:
        film = self._open()
        period_ms = 1000 / self.fps
        picture: Image | None = None

        def retrieve() -> Image:
            nonlocal picture
            taken, picture = film.retrieve(picture)
            return np.asarray(picture) if taken else np.empty(0, np.uint8)

        first_ms = position_ms = -period_ms
        while film.grab():
            told_ms = film.get(cv2.CAP_PROP_POS_MSEC)
            if first_ms < 0:
                first_ms = position_ms = told_ms
            else:  # a film without usable times plays at its rate
                position_ms = told_ms if told_ms > position_ms else position_ms + period_ms
            yield round((position_ms - first_ms) * 1e6), retrieve
        film.release()
        if first_ms < 0:
            raise CameraError(f"{self._path} holds no picture that can be decoded")
