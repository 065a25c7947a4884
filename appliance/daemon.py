"""Builds the parts from the settings and runs them. Nothing else constructs hardware."""

import logging
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import cv2

from appliance.avatar.compose import Avatar
from appliance.avatar.orders import Orders
from appliance.capture.supervisor import Cameras
from appliance.errors import ConfigError
from appliance.face.detector import Detector
from appliance.face.expression_network import OWN_MODEL, NetworkExpressionReader, brought_network, own_network
from appliance.face.landmarks import LandmarkReader
from appliance.face.stage import FaceStage
from appliance.face.task_models import BLENDSHAPE_MODEL, LANDMARK_MODEL, TASK
from appliance.face.tracker import Tracker
from appliance.health.sources import source_of
from appliance.health.telemetry import Telemetry
from appliance.health.watch import Watch, trim
from appliance.identity import describe
from appliance.installed import Load, fallbacks, networks, opened, opened_together
from appliance.latest import Latest
from appliance.listening.ears import Listening
from appliance.listening.viseme_network import MODEL as VISEME_MODEL
from appliance.listening.viseme_network import VisemeNetwork
from appliance.loop import Nobody, run
from appliance.obeying import obey
from appliance.publish.meters import FrameMeters
from appliance.publish.mqtt import AvatarPublisher
from appliance.publish.outlet import Outlet
from appliance.recording import Recording
from appliance.settings import Settings
from appliance.signals import handled
from appliance.status_line import one_line
from appliance.values import Event, Frame, Plan
from appliance.watchdog import Watchdog
from calibration.folder import CalibrationFolder
from engines.errors import EngineError
from engines.fetch import ensure
from engines.networks import network
from engines.own import is_own_model, own_model
from engines.runners import Returning, Runner

log = logging.getLogger(__name__)

VOICE_NS = 20_000_000
"""From one frame of a microphone without a camera to the next."""


def serve(settings: Settings, recording: Recording | None = None, reread: Callable[[], object] | None = None) -> None:
    """Run the appliance until its cameras end, or without any its microphones, or SIGTERM or SIGINT comes.

    With a ``recording``, everything seen, heard and sent is also written to its folder. ``reread`` reads the settings
    again, for the command ``reload``; it fails where they are wrong.
    """
    if not settings.camera and not settings.microphone:
        raise ConfigError("at least one [[camera]] or [[microphone]] must be set, got none")
    started_ns = time.monotonic_ns()
    cv2.setNumThreads(1)  # the crop is small: threads cost more than they give
    watchdog = Watchdog()
    watchdog.status("fetching models")
    ensure(settings.storage.models, networks(settings), log.info)
    _forget_expired(settings)
    meters = FrameMeters(time.monotonic_ns)
    publisher = AvatarPublisher(settings.broker, settings.device, describe(settings))
    outlet = Outlet(publisher, meters, started_ns)
    plan = Latest(Plan())
    with ExitStack() as parts:
        publisher.start()
        parts.callback(publisher.close)
        watch = Watch(source_of(settings.memory.source, publisher.event), settings.memory, plan, publisher.event)
        parts.callback(watch.close)
        ears = _listen(settings, publisher.event, recording, plan, parts)
        cameras = parts.enter_context(Cameras(settings.camera, publisher.event, plan))
        watchdog.status("loading networks")
        tracker = _face_stage(settings, plan.get()) if settings.camera else Nobody()
        for event in fallbacks(settings):
            publisher.event(event)
        orders: Orders = Latest(())
        avatar = Avatar(settings.avatar, settings.camera, orders)
        publisher.obey(obey(settings, orders, publisher.event, cameras.stop, reread, started_ns))
        tell = (outlet.first_frame_s, avatar.lags_ms)
        telemetry = Telemetry(watch, publisher, meters, cameras, ears, *tell, started_ns)
        telemetry.start()
        parts.callback(telemetry.close)
        voices = {ear.name: ear.voice for ear in ears}
        frames = cameras.ready(_beat_ns(settings)) if settings.camera else _while_heard(cameras.ready(VOICE_NS), ears)
        frames = recording.watch(frames) if recording else frames
        with stopped_by_signals(cameras.stop):
            watchdog.ready(lambda: one_line(publisher.status(), meters.fps(), cameras.status(), ears))
            run(frames, plan, tracker, voices, avatar, outlet, watchdog)
        watchdog.stopping()
        watch.complain()


def _forget_expired(settings: Settings) -> None:
    """Delete calibration pictures whose time is over; what is wrong with their folder stops no face."""
    try:
        if deleted := CalibrationFolder(settings.storage.calibration).expire(time.time()):
            log.info("the calibration set has expired: deleted %s", deleted)
    except EngineError as error:
        log.warning("%s", error)


def build_tracker(settings: Settings, load: Load = opened) -> Tracker:
    """Load the networks of the face stage; they must have been fetched."""
    detector = Detector(load(settings, "face_detector"))
    if settings.engines.face == "task":
        landmarks = LandmarkReader(load(settings, LANDMARK_MODEL), LANDMARK_MODEL)
    else:
        landmarks = LandmarkReader(load(settings, "face_landmarks"))
    return Tracker(settings.camera, detector, landmarks, _expressions(settings, load))


def _expressions(settings: Settings, load: Load) -> NetworkExpressionReader:
    if brought := settings.engines.expression:
        inputs = network(brought, settings.storage.models).inputs
        return NetworkExpressionReader(load(settings, brought), brought_network(Path(brought), inputs))
    if settings.engines.face == "task":
        return NetworkExpressionReader(load(settings, BLENDSHAPE_MODEL), TASK)
    return NetworkExpressionReader(load(settings, OWN_MODEL), own_network(own_model(OWN_MODEL).inputs))


def _face_stage(settings: Settings, plan: Plan) -> FaceStage:
    def build() -> tuple[Tracker, list[Runner]]:
        runners: list[Runner] = []
        load_together = opened_together(settings)

        def load(settings: Settings, name: str) -> Runner:
            runners.append(load_together(settings, name))
            return runners[-1]

        tracker = build_tracker(settings, load)
        trim()  # loading frees a tenth of what it takes
        return tracker, runners

    return FaceStage(settings.camera, build, plan)


def open_viseme_network(settings: Settings, load: Load = opened) -> VisemeNetwork | None:
    """Load the network that names visemes, for one microphone; ``None`` where the package has none."""
    if not is_own_model(VISEME_MODEL):
        return None
    return VisemeNetwork(load(settings, VISEME_MODEL), own_model(VISEME_MODEL).inputs)


def _beat_ns(settings: Settings) -> int | None:
    """How often a step is due where no camera calls for one: for microphones that belong to none."""
    taken = {camera.microphone for camera in settings.camera}
    return VOICE_NS if any(microphone.name not in taken for microphone in settings.microphone) else None


def _while_heard(frames: Iterable[Sequence[Frame]], ears: Sequence[Listening]) -> Iterator[Sequence[Frame]]:
    """Pass steps on until every recording has been heard to its end; live microphones have none."""
    for batch in frames:
        ended = all(ear.status().ended for ear in ears)
        yield batch
        if ended:
            return


def _listen(
    settings: Settings,
    report: Callable[[Event], None],
    recording: Recording | None,
    plan: Latest[Plan],
    parts: ExitStack,
) -> list[Listening]:
    def load(settings: Settings, name: str) -> Runner:
        return Returning(lambda: opened(settings, name))

    hear = recording.hear if recording else None
    ears = [Listening(mic, report, hear, open_viseme_network(settings, load), plan) for mic in settings.microphone]
    for ear in ears:
        ear.start()
        parts.callback(ear.close)
    return ears


@contextmanager
def stopped_by_signals(end: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the pictures, and with them the loop."""

    def stop(number: int, _frame: FrameType | None) -> None:
        log.info("stopping on %s", signal.Signals(number).name)
        end()

    with handled(stop, signal.SIGTERM, signal.SIGINT):
        yield
