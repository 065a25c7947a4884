"""The capture process: one camera's pictures into its ring. Started by ``supervisor``, a child of the appliance.

Standard input brings one line of JSON (the path of the ring, the camera's settings) and then stays
open: each byte says that each how-many-th picture is wanted from now on; its end is the order to stop,
and comes by itself when the appliance dies. Standard output
carries lines: an empty one for each picture that is in the ring now, and JSON for what there is to tell:
``{"rejected": reason, "dropped": bool}``; ``{"poor": reason}`` of pictures that are shown all the same, empty when they
are well again; ``{"waiting": reason}`` once a second while there is no camera or no picture that can be used;
``{"failed": reason}`` or ``{"ended": true}`` as the last line.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance import settings
from appliance.errors import CameraError

PICTURE_LINE = b"\n"
MOST_PIXELS = 4096 * 4096  # of a picture, as of the settings


class Lines:
    """The way back to the appliance. A full pipe loses a line and never holds a picture up."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def picture(self) -> None:
        """Say that a picture is in the ring."""
        self._write(PICTURE_LINE)

    def tell(self, **message: Any) -> None:
        """Say anything else, as a line of JSON."""
        self._write(json.dumps(message).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._descriptor, line)


class Pace:
    """Which pictures are wanted: each so many-th."""

    def __init__(self) -> None:
        self._every = 1
        self._count = 0

    def follow(self, descriptor: int) -> None:
        """Do as the appliance says, and end with it: at once, for the camera may hold the main thread for seconds."""
        while said := os.read(descriptor, 1):
            self._every = max(said[0], 1)
        os._exit(0)

    def wanted(self) -> bool:
        """Count one picture; say whether it is wanted."""
        self._count += 1
        return self._count % self._every == 0


def capture(camera: settings.Camera, ring_path: Path, lines: Lines, wanted: Callable[[], bool]) -> None:
    """Copy pictures into the ring until the camera's own end; report each kind of odd picture once."""
    # The one way to tell OpenCV: a picture that says it were larger, as a hostile device's may, takes no memory.
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MOST_PIXELS)
    # Imported once the watch on standard input is running, so that a slow start can be stopped as well.
    import cv2

    from appliance.capture.cameras import open_camera
    from appliance.capture.patience import Patience, once_there
    from appliance.capture.pictures import as_bgr
    from appliance.capture.ring import RingWriter
    from appliance.capture.scrutiny import FROZEN, Scrutiny

    cv2.setNumThreads(1)
    ring = RingWriter(ring_path)
    reported = {FROZEN}  # told by patience alone: a picture that is the same once more is no oddity
    scrutiny, patience = Scrutiny(camera), Patience(lines.tell)
    for picture, captured_ns in once_there(open_camera(camera, wanted), lines.tell):
        if picture is None:
            ring.skip()
            scrutiny.left_out()
            continue
        image, fault = as_bgr(picture, ring.capacity)
        if image is not None and (refusal := scrutiny.refuse(image, captured_ns)):
            image, fault = None, refusal
        if fault and fault not in reported:
            reported.add(fault)
            lines.tell(rejected=fault, dropped=image is None)
        if image is None:
            patience.refused(fault)
            continue
        patience.shown()
        ring.write(image, captured_ns)
        lines.picture()
        if (poor := scrutiny.poor(image, captured_ns)) is not None:
            lines.tell(poor=poor)


def main() -> int:
    """Capture as standard input says; exit 0 at the camera's own end, 1 when it fails."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too, and the appliance decides
    lines = Lines(os.dup(sys.stdout.fileno()))
    _silence_libraries()
    order, pace = json.loads(_line(sys.stdin.fileno())), Pace()
    threading.Thread(target=pace.follow, args=(sys.stdin.fileno(),), daemon=True).start()
    try:
        camera = settings.Camera(**order["camera"])
        capture(camera, Path(order["ring"]), lines, pace.wanted)
    except CameraError as error:
        lines.tell(failed=str(error))
        return 1
    except BrokenPipeError:
        return 0  # the appliance is gone
    lines.tell(ended=True)
    return 0


def _silence_libraries() -> None:
    """Keep the camera libraries' own lines, of which a bad cable causes one a picture, out of the journal."""
    sys.stderr = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _line(descriptor: int) -> bytes:
    """The order, byte by byte: a buffer would swallow what comes behind it."""
    line = b""
    while not line.endswith(b"\n") and (said := os.read(descriptor, 1)):
        line += said
    return line


if __name__ == "__main__":
    sys.exit(main())
