"""Which networks these settings need, and what runs each."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from appliance.face.expression_network import OWN_MODEL
from appliance.face.task_models import BLENDSHAPE_MODEL, LANDMARK_MODEL
from appliance.listening.viseme_network import MODEL as VISEME_MODEL
from appliance.settings import Settings
from appliance.values import Event
from engines.brought import is_brought
from engines.keys import Wanted
from engines.networks import Network, network
from engines.opening import InUse, in_use, open_network
from engines.own import is_own_model
from engines.runners import Runner

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
