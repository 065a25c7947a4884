"""Waiting for a camera that is not there yet, and for pictures that can be used."""

import time
from collections.abc import Callable, Iterator

from appliance.capture.cameras import Camera, Picture
from appliance.errors import CameraError

RETRY_S = 1.0
"""From one attempt to open a camera to the next; the process stays, for starting one anew costs more than trying."""

RETRIES = 60  # then a fresh process tries, so that nothing a library leaks in vain adds up
BLIND_S, BLIND_LIMIT_S = 1.0, 10.0
"""So long without a picture that can be used, and it is told; so long, and the camera is opened again."""

Tell = Callable[..., None]


class Patience:
    """Says how long no picture could be used, and ends when that is hopeless."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._since_s: float | None = None  # counts from the first picture: until then it is for the camera to come
        self._told_s = 0.0

    def shown(self) -> None:
        """Take note of a picture that could be used."""
        self._since_s = time.monotonic()

    def refused(self, reason: str) -> None:
        """Take note of one that could not; ``CameraError`` after ``BLIND_LIMIT_S`` of them."""
        now_s = time.monotonic()
        self._since_s = self._since_s or now_s
        if now_s - self._since_s >= BLIND_LIMIT_S:
            raise CameraError(reason)
        if now_s - max(self._since_s, self._told_s) >= BLIND_S:
            self._told_s = now_s
            self._tell(waiting=reason)


def once_there(camera: Camera, tell: Tell) -> Iterator[Picture]:
    """Yield a camera's pictures; while it gives none at all, open it again and again."""
    for _ in range(RETRIES):
        try:
            pictures = camera.pictures()
            first = next(pictures, None)
            break
        except CameraError as error:
            tell(waiting=str(error))
            time.sleep(RETRY_S)
    else:
        pictures = camera.pictures()
        first = next(pictures, None)
    if first is not None:
        yield first
        yield from pictures
