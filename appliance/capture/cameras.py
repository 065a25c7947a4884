"""Where pictures come from: one protocol, one class a kind of source."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from appliance import settings
from appliance.errors import CameraError
from appliance.values import Image

Picture = tuple[Image | None, int]
"""A picture and its ``captured_ns``; ``None`` for one that was passed over because it was late, or was not wanted."""

Moment = tuple[int, Callable[[], Image | None]]
"""When a picture of a clip is due, in nanoseconds after its first, and how to decode it."""


class Camera(Protocol):
    """A source of pictures, live or recorded."""

    def pictures(self) -> Iterator[Picture]:
        """Yield each picture when it is there; a picture is valid until the next is asked for.

        Ends only where the source has an end: a clip that does not loop. Anything else that stops the
        pictures is a ``CameraError``. A picture may be of any shape: see ``pictures.as_bgr``.
        """


def open_camera(camera: settings.Camera, wanted: Callable[[], bool] = lambda: True) -> Camera:
    """Return the camera of a ``[[camera]]`` table; nothing is opened before its first picture is asked for.

    ``wanted`` is asked once for each picture of a camera device, whose decoding is the work.
    """
    kind, _, where = camera.source.partition(":")
    # Each kind's module is imported here because a capture process needs exactly one of them.
    if kind == "v4l2":
        from appliance.capture.v4l2 import V4L2Camera

        return V4L2Camera(where, camera.width, camera.height, camera.fps, wanted)
    if kind in ("rtsp", "rtsps", "gstreamer"):
        from appliance.capture.pipelines import GStreamerCamera, RTSPCamera

        return GStreamerCamera(where) if kind == "gstreamer" else RTSPCamera(camera.source)
    if kind == "file":
        from appliance.capture.files import FileCamera

        return FileCamera(where, camera.fps, camera.loop)
    if kind == "session":
        from appliance.capture.sessions import SessionCamera

        return SessionCamera(where, camera.loop)
    raise CameraError(f"camera.source of kind {kind!r} is not known")


def without_password(source: str) -> str:
    """Return a URL as it may be shown: without user and password, even if these hold an ``@`` or ``/``."""
    return re.sub(r"://\S*@", "://", source)


def at_own_pace(rounds: Iterable[Iterable[Moment]], fps: float) -> Iterator[Picture]:
    """Play clips one after the other, each picture when it is due, stamped with the moment it was.

    The next picture is decoded in the second half of the time there is: in the first, whoever was shown this
    one needs the processor more. One that is already a whole period of ``fps`` late is passed over: a slow
    decoder costs pictures, not pace.
    """
    period_ns = round(1e9 / fps)
    start_ns = pause_ns = 0
    for moments in rounds:
        position_ns = -period_ns
        for position_ns, decode in moments:
            due_ns = start_ns + position_ns
            if start_ns and time.monotonic_ns() > due_ns + period_ns:
                yield None, due_ns
                continue
            image = decode()
            left_ns = max(due_ns - time.monotonic_ns(), 0)
            time.sleep(left_ns / 1e9)
            shown_ns = time.monotonic_ns()
            if not start_ns:
                start_ns = shown_ns - position_ns
            yield image, shown_ns
            pause_ns = min(pause_ns + left_ns, period_ns) // 2
            time.sleep(pause_ns / 1e9)
        start_ns += position_ns + period_ns
