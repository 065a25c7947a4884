"""All cameras together: the newest picture of each, as they come."""

import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from appliance import settings
from appliance.capture.captured import CameraStatus, CapturedCamera
from appliance.latest import Latest
from appliance.values import EVERYTHING, Event, Frame, Plan


class Cameras:
    """Captures every camera in a process of its own and restarts those that fail. A context manager.

    ``report`` is called from within ``ready`` with the events ``camera_lost``, ``capture_restarted``,
    ``camera_back``, ``camera_poor``, ``camera_well`` and ``picture_rejected``. One dead camera never stops the others.
    """

    def __init__(
        self,
        cameras: Sequence[settings.Camera],
        report: Callable[[Event], None],
        plan: Latest[Plan] | None = None,
    ) -> None:
        self._settings = tuple(cameras)
        self._report = report
        self._plan = plan or Latest(EVERYTHING)
        self._cameras: list[CapturedCamera] = []
        self._owned = ExitStack()
        self._stopped = False
        self._wake = -1

    def __enter__(self) -> "Cameras":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Make the rings and start capturing; ``CameraError`` when a ring cannot be had."""
        with ExitStack() as owned:
            self._wake = os.eventfd(0)
            owned.callback(os.close, self._wake)
            for camera in self._settings:
                self._cameras.append(CapturedCamera(camera, self._report))
                owned.callback(self._cameras[-1].close)
            self._owned = owned.pop_all()

    def stop(self) -> None:
        """Make ``ready`` end, from any thread or signal handler."""
        self._stopped = True
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """End the capture processes and remove the rings."""
        self._stopped = True
        self._wake = -1
        self._owned.close()

    def ready(self, beat_ns: int | None = None) -> Iterator[list[Frame]]:
        """Yield the newest unseen picture of every camera that has one; at least one frame a step.

        A camera that is quiet for 100 ms has a frame without an image: time passes. The images of a
        step are overwritten from the next step but one. Ends when every camera has come to its own
        end (clips that do not loop), or after ``stop`` or ``close``. With ``beat_ns`` a step comes at
        least so often, if need be without a frame, and goes on where there is no camera at all.
        """
        beat_due_ns = time.monotonic_ns()
        while not self._stopped:
            self._wait(beat_due_ns if beat_ns else None)
            now_ns = time.monotonic_ns()
            frames = [frame for camera in self._cameras if (frame := camera.frame(now_ns))]
            if beat_ns and now_ns >= beat_due_ns:
                beat_due_ns = max(beat_due_ns, now_ns - beat_ns) + beat_ns
                yield frames
            elif frames:
                yield frames
            if all(camera.ended for camera in self._cameras) and (self._cameras or not beat_ns):
                return

    def _wait(self, beat_due_ns: int | None) -> None:
        """Wait until a camera has news or something is due, and let the cameras see to it."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        talking = {camera.descriptor: camera for camera in self._cameras if camera.descriptor >= 0}
        for descriptor in talking:
            poll.register(descriptor, select.POLLIN)
        dues_ns = [camera.due_ns() for camera in self._cameras if not camera.ended]
        due_ns = min(dues_ns + ([] if beat_due_ns is None else [beat_due_ns]), default=0)
        timeout_ms = max(0.0, (due_ns - time.monotonic_ns()) / 1e6)
        for descriptor, _ in poll.poll(timeout_ms):
            if descriptor in talking:
                talking[descriptor].listen()
        now_ns, plan = time.monotonic_ns(), self._plan.get()
        for camera in self._cameras:
            camera.follow(plan)
            camera.tend(now_ns)

    def status(self) -> dict[str, CameraStatus]:
        """Return how each camera fares, by name. May be called from any thread."""
        return {camera.name: camera.status() for camera in self._cameras}
