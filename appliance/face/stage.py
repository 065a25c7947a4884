"""The face stage as far as the load plan lets it be there: with all its networks, or with none of their memory."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from appliance import settings
from appliance.face.tracker import Tracker
from appliance.values import Face, Frame, Plan, TrackingState
from engines.runners import Runner, close

Build = Callable[[], tuple[Tracker, Sequence[Runner]]]
"""Loads the networks and makes the tracker that uses them."""


class FaceStage:
    """Follows faces while the plan has any; else lets networks go, and leaves the avatars to the voice.

    Networks are loaded at once where it is built, and again on a thread of their own, so that the loop goes on.
    """

    def __init__(self, cameras: Sequence[settings.Camera], build: Build, plan: Plan) -> None:
        self._cameras = {camera.name: camera for camera in cameras}
        self._build = build
        self._worker = ThreadPoolExecutor(1, "loading")
        self._coming: Future[tuple[Tracker, Sequence[Runner]]] | None = None
        self._tracker: Tracker | None = None
        self._runners: Sequence[Runner] = ()
        self._since_ns: int | None = None  # when faces went
        if plan.faces:
            self._tracker, self._runners = build()

    def read(self, frames: Sequence[Frame], plan: Plan) -> list[Face]:
        """Every slot of every camera that has news; ``EngineError`` when networks that were let go do not load."""
        if self._coming is not None and self._coming.done():
            self._tracker, self._runners = self._coming.result()
            self._coming = None
        if not plan.faces:
            self._rest()
        elif self._tracker is None and self._coming is None:
            self._coming = self._worker.submit(self._build)
        if self._tracker is not None:
            self._since_ns = None
            return self._tracker.read(frames, plan)
        return [face for frame in frames for face in self._unseen(frame)]

    def _rest(self) -> None:
        self._tracker = None
        for runner in self._runners:
            close(runner)
        self._runners = ()

    def _unseen(self, frame: Frame) -> Iterator[Face]:
        """Every slot of a camera while nobody looks: the voice's, where there is one."""
        if self._since_ns is None:
            self._since_ns = frame.captured_ns
        camera = self._cameras[frame.camera]
        state = TrackingState.VOICE if camera.microphone else TrackingState.IDLE
        for slot in range(camera.faces):
            yield Face(camera.name, slot, "", state, self._since_ns, 0.0, frame.captured_ns, None)
