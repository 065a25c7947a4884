"""One camera as the appliance sees it: a ring, a capture process that is kept alive, the newest picture."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from appliance import settings
from appliance.capture.child import Child
from appliance.capture.ring import Ring
from appliance.values import Event, Frame, Plan

QUIET_NS = 100_000_000
"""After this long without a picture the loop is told that time passes."""

STALL_NS = 1_900_000_000  # so that it is noticed within 2 s
FIRST_PICTURE_NS = 8_000_000_000  # opening takes longer: a network camera waits for its next key picture
SETTLED_NS = 10_000_000_000
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 1.0  # a camera that is back is seen again within 3 s

RESTING_NS = 33_000_000
"""So often it is told that while the camera rests: the voice moves the avatar meanwhile."""

_FEWEST_FPS = 5  # no plan makes it fewer: a camera that slow would seem to have stalled
_RESTS = "it rests while memory is short"
_STOP_LIMIT_S = 1.0


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """What the health topic says of one camera."""

    live: bool  # pictures are coming
    pictures: int  # captured since the appliance started
    dropped: int  # of these, how many the loop never saw though none were to be left out
    restarts: int
    error: str  # what keeps it from giving pictures; empty while it gives them
    poor: str = ""  # what is wrong with the pictures that it gives


def pause_s(attempt: int) -> float:
    """Return how long to wait before the given attempt, counted from 1, to start capture again."""
    return float(min(LONGEST_PAUSE_S, SHORTEST_PAUSE_S * 2 ** min(attempt - 1, 10)))


class CapturedCamera:
    """Owns the ring and the capture process of one camera. Nothing here waits, except ``close``."""

    def __init__(self, camera: settings.Camera, report: Callable[[Event], None]) -> None:
        self.name = camera.name
        self.ended = False
        self._camera = camera
        self._report = report
        self._ring = Ring(camera.name, camera.width, camera.height)
        self._reader = self._ring.reader()
        # Two, by turns: a picture stays as it is while the next one is copied. Filled, so that the memory is ours.
        self._buffers = [np.full(self._reader.capacity, 0, np.uint8) for _ in range(2)]
        self._sequence = self._delivered = self._spared = self._restarts = self._attempt = 0
        self._error = self._poor = ""
        self._poor_ns = 0
        self._lost_ns = 0  # when it was lost; 0 while it is well
        self._entry_ns = time.monotonic_ns()
        self._every = 1  # of the pictures that come, each how-many-th is given
        self._fresh = False
        self._quiet_ns = QUIET_NS
        self._resting = False
        self._start()

    def _start(self) -> None:
        self._child = Child(self._camera, self._ring.path)
        self._child.pace(self._every)
        self._running = True
        self._started_ns = self._news_ns = time.monotonic_ns()
        self._since_ns = 0  # when this run gave its first picture
        self._next_ns = 0  # when to start again, once it has failed

    @property
    def descriptor(self) -> int:
        """What to wait on for news of this camera; -1 while there is nothing."""
        return self._child.descriptor if self._running else -1

    def due_ns(self) -> int:
        """Return when ``tend`` or ``frame`` has something to do even if nothing is heard."""
        quiet_ns = self._entry_ns + self._quiet_ns
        if self._resting:
            return quiet_ns
        return min(quiet_ns, self._silent_until_ns()) if self._running else min(quiet_ns, self._next_ns)

    def _silent_until_ns(self) -> int:
        return self._news_ns + (STALL_NS if self._since_ns else FIRST_PICTURE_NS)

    def follow(self, plan: Plan) -> None:
        """Give no more pictures than planned; without faces none, and let the capture process and its memory go."""
        every = max(1, min(plan.every, self._camera.fps // _FEWEST_FPS))
        if every != self._every:
            self._every = every
            self._child.pace(every)
        if plan.faces == self._resting and not self.ended:
            self._resting = not plan.faces
            if self._resting:
                self._let_go()
            self._attempt = self._next_ns = 0
        self._quiet_ns = RESTING_NS if self._resting else QUIET_NS * self._every

    def listen(self) -> None:
        """Take in what the capture process said."""
        news = self._child.news()
        if news.pictures:
            self._pictures_came(time.monotonic_ns())
        for message in news.messages:
            self._heard(message)
        if news.gone and self._running:
            self._child.wait(_STOP_LIMIT_S)  # it has closed its end, so it is ending
            self._fail(self._child.outcome() or "the capture process fell silent")

    def _pictures_came(self, now_ns: int) -> None:
        self._fresh = True
        self._news_ns = now_ns
        self._since_ns = self._since_ns or now_ns
        if self._lost_ns:
            after_s = round((now_ns - self._lost_ns) / 1e9, 1)
            self._report(Event("camera_back", {"camera": self.name, "after_s": after_s}))
            self._lost_ns, self._error = 0, ""

    def _heard(self, message: Mapping[str, object]) -> None:
        if "rejected" in message:
            details = {"camera": self.name, "reason": message["rejected"], "dropped": message["dropped"]}
            self._report(Event("picture_rejected", details))
        elif "waiting" in message:  # it is alive, and looks for its camera itself
            self._news_ns = time.monotonic_ns()
            self._lose(str(message["waiting"]))
        elif "poor" in message:
            self._judge(str(message["poor"]))
        elif "ended" in message:
            self.ended = True
            self._let_go()
        elif "failed" in message:
            self._fail(str(message["failed"]))

    def tend(self, now_ns: int) -> None:
        """Notice a stall, and start capture again when its pause is over and the last process is gone."""
        if self.ended or self._resting:
            self._child.outcome()  # or it would stay in the table of processes
            return
        if self._running:
            if now_ns >= self._silent_until_ns():
                self._fail(self._silence())
            elif self._since_ns and now_ns - self._since_ns > SETTLED_NS:
                self._attempt = 0
        elif now_ns >= self._next_ns:
            if self._child.outcome() is None:  # held in a driver: two processes must not share a ring
                self._next_ns = now_ns + QUIET_NS
                return
            if self._error:  # else it comes back from rest
                self._restarts += 1
                details = {"camera": self.name, "reason": self._error, "attempt": self._attempt}
                self._report(Event("capture_restarted", details))
            self._start()

    def _silence(self) -> str:
        if self._since_ns:
            return f"no picture for 2 s after picture {self._sequence}"
        limit_s = FIRST_PICTURE_NS // 1_000_000_000
        return f"no picture within {limit_s} s of starting"

    def _fail(self, reason: str) -> None:
        now_ns = time.monotonic_ns()
        self._let_go()
        self._attempt += 1
        self._next_ns = now_ns + round(pause_s(self._attempt) * 1e9)
        self._lose(reason)

    def _lose(self, reason: str) -> None:
        self._error, self._poor = reason, ""
        if not self._lost_ns:
            self._lost_ns = time.monotonic_ns()
            self._report(Event("camera_lost", {"camera": self.name, "reason": reason}))

    def _judge(self, poor: str) -> None:
        """Tell what is wrong with the pictures that are shown, and when nothing is any more."""
        now_ns = time.monotonic_ns()
        if poor:
            self._poor_ns = self._poor_ns if self._poor else now_ns
            self._report(Event("camera_poor", {"camera": self.name, "reason": poor}))
        elif self._poor:
            after_s = round((now_ns - self._poor_ns) / 1e9, 1)
            self._report(Event("camera_well", {"camera": self.name, "after_s": after_s}))
        self._poor = poor

    def _let_go(self) -> None:
        self._running = False
        self._child.kill()

    def frame(self, now_ns: int) -> Frame | None:
        """Return the newest unseen picture; or one without image when the camera was quiet; or nothing new."""
        if self._fresh:
            self._fresh = False
            newest = self._reader.newest(self._sequence + self._every - 1, self._buffers[self._delivered % 2])
            if newest:
                image, sequence, captured_ns = newest
                self._spared += min(self._every, sequence - self._sequence) - 1
                self._sequence = sequence
                self._delivered += 1
                self._entry_ns = now_ns
                return Frame(self.name, self._sequence, captured_ns, image, time.monotonic_ns())
        if now_ns - self._entry_ns < self._quiet_ns or self.ended:
            return None
        self._entry_ns = now_ns
        return Frame(self.name, self._sequence, now_ns, None, now_ns)

    def status(self) -> CameraStatus:
        """Return how this camera fares. May be called from any thread."""
        live = self._running and self._since_ns > 0 and not self._lost_ns
        dropped = max(0, self._sequence - self._delivered - self._spared)
        error = self._error or (_RESTS if self._resting else "")
        return CameraStatus(live, self._sequence, dropped, self._restarts, error, self._poor)

    def close(self) -> None:
        """End the capture process and remove the ring. Pictures already given stay valid."""
        self._let_go()
        self._child.wait(_STOP_LIMIT_S)
        self._ring.close()
