"""Which networks these settings need, and what runs each."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from appliance.face.expression_network import OWN_MODEL, PICTURE_INPUT, PREPROCESSING, brought_network
from appliance.face.landmarks import MODEL as LANDMARKS
from appliance.face.landmarks import PICTURE_INPUT as POINTS_PICTURE
from appliance.face.task_models import BLENDSHAPE_MODEL, LANDMARK_MODEL
from appliance.listening.viseme_network import MODEL as VISEME_MODEL
from appliance.settings import Settings
from appliance.values import Event
from engines.brought import PICTURE, is_brought
from engines.crops import Crop, Cutter
from engines.errors import EngineError
from engines.keys import Wanted
from engines.manifest import Preprocessing, picture_preprocessing
from engines.networks import Network, network
from engines.opening import InUse, choose, in_use, open_network
from engines.own import is_own_model
from engines.runners import Runner

log = logging.getLogger(__name__)

Load = Callable[[Settings, str], Runner]
"""Makes the network of a name ready to run."""

_LARGEST_BATCH = 8
_TOGETHER = ("face_landmarks", LANDMARK_MODEL, OWN_MODEL, BLENDSHAPE_MODEL)  # called once for all faces
_TASK = ("face_detector", LANDMARK_MODEL)


def networks(settings: Settings) -> tuple[str, ...]:
    """The third-party networks that these settings need: to be fetched."""
    if not settings.camera:
        return ()
    if settings.engines.face == "own":
        return ("face_detector", "face_landmarks")
    return _TASK if settings.engines.expression else (*_TASK, BLENDSHAPE_MODEL)


def every_network(settings: Settings) -> tuple[str, ...]:
    """Every network that these settings need, ours included."""
    names = networks(settings)
    if settings.camera and settings.engines.expression:
        names += (settings.engines.expression,)
    elif settings.camera and settings.engines.face == "own":
        names += (OWN_MODEL,)
    if settings.microphone and is_own_model(VISEME_MODEL):
        names += (VISEME_MODEL,)
    return names


def wanted_engines(settings: Settings) -> Wanted:
    """What the settings ask of TensorRT's engines; their largest batch takes every face of every camera."""
    faces = sum(camera.faces for camera in settings.camera)
    return Wanted(
        settings.engines.precision,
        settings.storage.engines,
        settings.storage.calibration,
        max(_LARGEST_BATCH, faces),
        settings.engines.optimisation_level,
    )


def opened(settings: Settings, name: str) -> Runner:
    """Load one network; it must have been fetched, and on a GPU its engine been built."""
    wanted = wanted_engines(settings)
    if name in _TOGETHER or is_brought(name):
        wanted = replace(wanted, faces=sum(camera.faces for camera in settings.camera) or 1)
    return open_network(network(name, settings.storage.models), settings.engines.runner, wanted)


def crops(settings: Settings) -> list[Crop]:
    """What cuts squares for the networks that these settings run: on a GPU, of the pictures of an only camera."""
    if len(settings.camera) != 1 or choose(settings.engines.runner) != "tensorrt":
        return []
    (camera,) = settings.camera
    seen = _squares(settings)
    return [Crop(seen[name][1], camera.width, camera.height) for name in every_network(settings) if name in seen]


def opened_together(settings: Settings) -> Load:
    """What loads the networks of one face stage: those that can share a picture on the GPU, and cut from it."""
    if not crops(settings):
        return opened
    (camera,) = settings.camera
    cutter = Cutter(camera.width, camera.height, settings.storage.models, wanted_engines(settings))
    squares = _squares(settings)

    def load(settings: Settings, name: str) -> Runner:
        runner, square = opened(settings, name), squares.get(name)
        if square is None:
            return runner
        try:
            return cutter.joined(runner, *square)
        except EngineError as error:
            log.warning("%s; the processor cuts", error)
            return runner

    return load


def _squares(settings: Settings) -> dict[str, tuple[str, Preprocessing]]:
    """The input of each network that is a square of the picture, and how it is cut."""
    squares = {name: (POINTS_PICTURE, picture_preprocessing(name)) for name in (LANDMARKS, LANDMARK_MODEL)}
    squares[OWN_MODEL] = (PICTURE_INPUT, PREPROCESSING)
    if path := settings.engines.expression:
        brought = brought_network(Path(path), network(path, settings.storage.models).inputs)
        squares[path] = (PICTURE, brought.square.preprocessing)
    return squares


def network_named(settings: Settings, name: str) -> Network:
    """Find a network by the name it has; one that its owner brought is named in the settings by its manifest."""
    path = settings.engines.expression
    return network(path if path and Path(path).parent.name == name else name, settings.storage.models)


def running(settings: Settings) -> Iterator[tuple[str, InUse]]:
    """What runs each network."""
    wanted = wanted_engines(settings)
    for name in every_network(settings):
        yield name, in_use(network(name, settings.storage.models), settings.engines.runner, wanted)


def fallbacks(settings: Settings) -> list[Event]:
    """One event for each engine that is not what was asked for: another precision, or others' ranges."""
    events = []
    for name, used in running(settings):
        about = {"model": name, "precision": used.precision}
        if used.fallback:
            events.append(Event("engine_fallback", {**about, "why": used.fallback}))
        if used.passed_over:
            events.append(Event("ranges_fallback", {**about, "why": used.passed_over}))
    return events
