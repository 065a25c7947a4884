"""Films the site for calibration: the appliance's own stages, on the processor, with every network watched.

What is kept is what the networks were shown, in the form they were shown it: nothing else describes the pictures that
eight bits will see.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import cv2

from appliance.avatar.channels import BLENDSHAPES, VISEMES
from appliance.capture.supervisor import Cameras
from appliance.daemon import VOICE_NS, build_tracker, open_viseme_network, stopped_by_signals
from appliance.errors import ApplianceError
from appliance.face.expression_network import OWN_MODEL
from appliance.face.task_models import BLENDSHAPE_MODEL, LANDMARK_MODEL
from appliance.face.task_models import NAMES as TASK_NAMES
from appliance.installed import every_network, networks
from appliance.listening.ears import Listening
from appliance.listening.viseme_network import MODEL as VISEME_MODEL
from appliance.loop import Nobody
from appliance.settings import Settings
from appliance.values import Event
from calibration.folder import RECORD_COMMAND, CalibrationFolder
from calibration.keeping import Collection, Keeper, Plan, Worth
from calibration.methods import wants_ranges
from engines.fetch import ensure
from engines.networks import network
from engines.opening import open_runner
from engines.runners import Runner, Tensors

_MOST_BLOCKS, _SHORTEST_BLOCK_S = 20, 2.0  # of time; a stretch of sound must fit into one
STRETCH_CALLS = 100  # of the viseme network: a second, as far back as it remembers
_ALL_CAMERAS = "cameras"  # one call serves all of them
_LOOK_NS = 1_000_000_000  # how often the size on disk is looked at
_SURE = 0.5

NAMES: Mapping[str, Mapping[str, Sequence[str]]] = {
    OWN_MODEL: {"blendshapes": BLENDSHAPES},
    BLENDSHAPE_MODEL: {"blendshapes": TASK_NAMES},
    VISEME_MODEL: {"visemes": VISEMES, "visemes_40ms": VISEMES},
}
"""What the numbers of a network's outputs are called."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, how much and how far a recording goes."""

    seconds: float
    count: int  # samples of each network
    most_mb: float  # of the whole folder


@dataclass(frozen=True, slots=True)
class Filmed:
    """What a recording kept."""

    counts: Mapping[str, int]
    stopped: str  # why it ended before its time; empty if it did not


def film(
    settings: Settings, folder: CalibrationFolder, recording: int, limits: Limits, tell: Callable[[str], None]
) -> Filmed:
    """Watch cameras and microphones until time, count or room is used up, or SIGTERM or SIGINT comes.

    A camera that shows nobody yields nothing: then ``ApplianceError``, and the recording is dropped.
    """
    if not settings.camera and not settings.microphone:
        raise ApplianceError("neither a [[camera]] nor a [[microphone]] is set; name what shall be filmed")
    if not any(map(wants_ranges, every_network(settings))):
        raise ApplianceError("none of the networks that these settings need is for eight bits: nothing is to be filmed")
    cv2.setNumThreads(1)
    ensure(settings.storage.models, networks(settings), tell)
    watching = _Watching(settings, Collection(folder, recording), limits)
    stopped = _watch(settings, watching, folder, tell)
    counts = watching.collection.counts()
    faces = [count for name, count in counts.items() if name in _FACES]
    if not any(faces or counts.values()):
        folder.drop(recording)
        lacking = "a face must be seen" if faces else "a voice must be heard"
        raise ApplianceError(
            f"{lacking}, and none was in {watching.elapsed_s():.0f} s, so nothing is kept; "
            f"let somebody be there, then: {RECORD_COMMAND}"
        )
    return Filmed(counts, stopped)


def _watch(settings: Settings, watching: "_Watching", folder: CalibrationFolder, tell: Callable[[str], None]) -> str:
    """Run the stages; return why it ended before its time."""
    stops: list[str] = []

    def report(event: Event) -> None:
        tell(f"{event.name}: {', '.join(map(str, event.details.values()))}")

    def stop() -> None:
        stops.append("stopped by a signal")
        cameras.stop()

    with ExitStack() as parts:
        parts.callback(watching.collection.close)
        ears = watching.ears(report)
        tracker = build_tracker(settings, watching.load) if settings.camera else Nobody()
        cameras = parts.enter_context(Cameras(settings.camera, report))
        parts.enter_context(stopped_by_signals(stop))
        for ear in ears:
            ear.start()
            parts.callback(ear.close)
        for batch in cameras.ready(VOICE_NS if ears else None):
            tracker.read(batch)
            watching.collection.write(watching.block())
            tell(watching.progress())
            full = watching.full(folder)
            if full or watching.is_over() or (not settings.camera and all(ear.status().ended for ear in ears)):
                return full
    return stops[0] if stops else ""


class _Watching:
    """Opens networks with a keeper on each, and knows how far the recording is."""

    def __init__(self, settings: Settings, collection: Collection, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits
        blocks = int(min(max(limits.seconds / _SHORTEST_BLOCK_S, 2), _MOST_BLOCKS))
        self._plan = Plan(limits.seconds, limits.count, blocks)
        self._began_ns = time.monotonic_ns()
        self._looked_ns = 0
        self._keepers: list[Keeper] = []
        self.collection = collection

    def load(self, settings: Settings, name: str) -> Runner:
        """A network of the face stage."""
        return self._watched(name, _ALL_CAMERAS, _WORTH.get(name, _anything), 1)

    def ears(self, report: Callable[[Event], None]) -> list[Listening]:
        """Every microphone, its network watched."""

        def heard(name: str) -> Callable[[Settings, str], Runner]:
            return lambda _, model: self._watched(model, name, _speech, STRETCH_CALLS)

        return [
            Listening(mic, report, None, open_viseme_network(self._settings, heard(mic.name)))
            for mic in self._settings.microphone
        ]

    def _watched(self, name: str, stream: str, worth: Worth, calls: int) -> Runner:
        one = network(name, self._settings.storage.models)
        runner = open_runner(one.onnx)
        if not wants_ranges(name):
            return runner
        keeper = Keeper(self._plan, self._began_ns, time.monotonic_ns, worth, calls)
        self._keepers.append(keeper)
        self.collection.add(one.name, stream, keeper)
        return keeper.watch(runner)

    def elapsed_s(self) -> float:
        """Since the recording began."""
        return (time.monotonic_ns() - self._began_ns) / 1e9

    def block(self) -> int:
        """The block of time that is running."""
        return self._plan.block(time.monotonic_ns() - self._began_ns)

    def is_over(self) -> bool:
        """Whether time or count is used up."""
        done = all(keeper.count >= self._limits.count for keeper in self._keepers)
        return done or self.elapsed_s() >= self._limits.seconds

    def full(self, folder: CalibrationFolder) -> str:
        """That the room is used up, in words; empty while it is not. The disk is looked at once a second."""
        now_ns = time.monotonic_ns()
        if now_ns - self._looked_ns < _LOOK_NS:
            return ""
        self._looked_ns = now_ns
        return f"{self._limits.most_mb:.0f} MB are full" if folder.size_bytes() > self._limits.most_mb * 1e6 else ""

    def progress(self) -> str:
        """How far it is."""
        kept = ", ".join(f"{name} {count}" for name, count in self.collection.counts().items())
        return f"{self.elapsed_s():.0f} of {self._limits.seconds:.0f} s; of {self._limits.count} each: {kept}"


def _face(outputs: Tensors, row: int) -> bool:
    return bool(outputs["presence"][row, 0] >= _SURE)


def _speech(outputs: Tensors, row: int) -> bool:
    return bool(outputs["visemes"][row, VISEMES.index("sil")] < _SURE)


def _anything(_outputs: Tensors, _row: int) -> bool:
    return True


_LANDMARKS = ("face_landmarks", LANDMARK_MODEL)
_FACES = (*_LANDMARKS, OWN_MODEL, BLENDSHAPE_MODEL)
_WORTH: Mapping[str, Worth] = dict.fromkeys(_LANDMARKS, _face)
