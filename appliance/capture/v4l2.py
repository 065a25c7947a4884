"""Cameras of the Video4Linux kind: USB cameras, and whatever else is a ``/dev/video*``."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from appliance.capture.cameras import Picture
from appliance.capture.pictures import decode
from appliance.errors import CameraError

RAW_LIMIT = 24_576_000
"""Bytes a second that USB 2 can promise a camera: three packets of 1024 bytes in each of 8000 microframes."""

MJPG = cv2.VideoWriter.fourcc(*"MJPG")

_RAW_BYTES_PER_PIXEL = 2  # YUYV, the raw format nearly every camera has
_BUFFERS = 3  # one being filled, one waiting, one being read
_OLDEST_NS = 1_000_000_000
_FAILURES = 20
_PAUSE_S = 0.02


class V4L2Camera:
    """A camera device, opened once: whatever goes wrong with it ends its pictures with a ``CameraError``.

    Pictures carry the driver's own buffer timestamp where that is a CLOCK_MONOTONIC one.
    """

    def __init__(
        self, device: str, width_px: int, height_px: int, fps: float, wanted: Callable[[], bool] = lambda: True
    ) -> None:
        self._device = device
        self._size_px = (width_px, height_px)
        self._fps = fps
        self._wanted = wanted

    def pictures(self) -> Iterator[Picture]:
        """Yield pictures as the driver delivers them, until it stops."""
        capture = self._open()
        # Still encoded, because OpenCV's own decoding fills the missing part of a truncated picture with grey.
        encoded = capture.get(cv2.CAP_PROP_FOURCC) == MJPG and capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        count = failures = 0
        try:
            while failures < _FAILURES:
                taken, image = capture.read()
                if taken:
                    failures, count = 0, count + 1
                    at_ns = captured_ns(capture.get(cv2.CAP_PROP_POS_MSEC), time.monotonic_ns())
                    if not self._wanted():
                        yield None, at_ns
                    else:
                        yield decode(image.tobytes()) if encoded else np.asarray(image), at_ns
                else:  # an unplugged device fails at once, thousands of times a second
                    failures += 1
                    time.sleep(_PAUSE_S)
        finally:
            capture.release()
        raise CameraError(
            f"{self._device} stopped giving pictures after picture {count}; "
            "look at its cable and at: dmesg | grep -i -E 'usb|uvc|video'"
        )

    def _open(self) -> cv2.VideoCapture:
        """Open the device as the settings say; once more where it came up otherwise, as some do after a reset."""
        capture = self._opened()
        if self._is_as_asked(capture):
            return capture
        capture.release()
        return self._opened()

    def _is_as_asked(self, capture: cv2.VideoCapture) -> bool:
        asked = (*self._size_px, self._fps)
        told = (capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS))
        return all(round(value) == wanted for value, wanted in zip(told, asked, strict=True))

    def _opened(self) -> cv2.VideoCapture:
        if not Path(self._device).exists():
            raise CameraError(f"no camera at {self._device}; plug it in, or look for its name with: ls /dev/video*")
        capture = cv2.VideoCapture(self._device, cv2.CAP_V4L2)
        if not capture.isOpened():
            raise CameraError(
                f"{self._device} cannot be opened; see whether another program holds it (fuser -v {self._device}) "
                "and whether this user is in the group video"
            )
        width, height = self._size_px
        if needs_mjpg(width, height, self._fps):
            capture.set(cv2.CAP_PROP_FOURCC, MJPG)
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, _BUFFERS)
        # Last, and at each opening: every other change of format puts OpenCV back to 30.
        capture.set(cv2.CAP_PROP_FPS, self._fps)
        return capture


def needs_mjpg(width_px: int, height_px: int, fps: float) -> bool:
    """Whether raw pictures of this size and rate are more than USB 2 carries."""
    return width_px * height_px * fps * _RAW_BYTES_PER_PIXEL > RAW_LIMIT


def captured_ns(driver_ms: float, now_ns: int) -> int:
    """Return the driver's timestamp in nanoseconds if it can be CLOCK_MONOTONIC, else the present moment."""
    driver_ns = round(driver_ms * 1e6)
    return driver_ns if 0 <= now_ns - driver_ns <= _OLDEST_NS else now_ns
