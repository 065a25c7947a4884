"""What a demonstration plays: the clip of a real face with speech, and settings that film it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from appliance.avatar.channels import BLENDSHAPES
from appliance.avatar.compose import Avatar
from appliance.daemon import build_tracker
from appliance.demo.clip import HEIGHT, VIDEO, WIDTH, ensure_clip
from appliance.demo.score import CHANNELS, Score, roll_deg, score
from appliance.demo.timeline import FPS
from appliance.errors import ApplianceError
from appliance.installed import networks
from appliance.settings import DESK_DIRECTORY, Settings
from appliance.values import AvatarState, Frame
from engines.fetch import asset_path, ensure

PHOTOGRAPH = "astronaut"
_PICTURES, _SOUND = "file:the demo clip", "file:its speech"

DESK: dict[str, Any] = {
    "device": {"site": "demo", "name": "desk"},
    "camera": [
        {
            "name": "demo",
            "source": _PICTURES,
            "width": WIDTH,
            "height": HEIGHT,
            "fps": FPS,
            "microphone": "speech",
            "loop": True,
        }
    ],
    "microphone": [{"name": "speech", "source": _SOUND, "loop": True}],
    "storage": {"directory": DESK_DIRECTORY},
}
"""The settings of a demonstration, before its clip is rendered and its broker runs.

Its camera has a name that no booth's has, so that it may run beside a booth's own appliance.
"""


def prepare(settings: Settings, say: Callable[[str], None]) -> Path:
    """Fetch and render what a demonstration needs, once; return the clip's folder."""
    ensure(settings.storage.models, (*networks(settings), PHOTOGRAPH), say)
    folder = Path(settings.storage.directory).expanduser() / "demo"
    return ensure_clip(folder, asset_path(settings.storage.models, PHOTOGRAPH), say)


def film(settings: Settings, clip: Path, url: str) -> Settings:
    """The settings of a daemon that films the clip for ever and publishes to a broker.

    A camera or microphone that an override points elsewhere stays there.
    """
    cameras = (replace(camera, source=_at(camera.source, clip)) for camera in settings.camera)
    microphones = (replace(microphone, source=_at(microphone.source, clip)) for microphone in settings.microphone)
    broker = replace(settings.broker, url=url)
    return replace(settings, camera=tuple(cameras), microphone=tuple(microphones), broker=broker)


def judge(clip: Path, settings: Settings) -> Score:
    """Run the face stages over every picture of the clip and score them against its truth."""
    states = list(_states(clip, settings))
    columns = np.stack([state.blendshapes for state in states])
    outputs = {name: columns[:, BLENDSHAPES.index(name)] for name in CHANNELS if name in BLENDSHAPES}
    outputs["roll_deg"] = np.array([roll_deg(state.head.rotation) for state in states], np.float32)
    with np.load(clip / "truth.npz", allow_pickle=False) as truth:
        return score(outputs, [state.state.value for state in states], np.arange(len(states)), dict(truth))


def _states(clip: Path, settings: Settings) -> Iterator[AvatarState]:
    tracker = build_tracker(settings)
    avatar = Avatar(settings.avatar, settings.camera)
    camera = settings.camera[0].name
    video = cv2.VideoCapture(str(clip / VIDEO))
    index = 0
    while True:
        read, image = video.read()
        if not read:
            break
        captured_ns = (index + 1) * 1_000_000_000 // FPS
        yield from avatar.compose(
            tracker.read([Frame(camera, index + 1, captured_ns, np.asarray(image, np.uint8))]), {}
        )
        index += 1
    video.release()
    if index == 0:
        raise ApplianceError(f"the demo clip {clip / VIDEO} cannot be read; delete its folder, it is rendered again")


def _at(source: str, clip: Path) -> str:
    """Where a source of the demonstration lies, once its clip is there."""
    return {_PICTURES: f"file:{clip / VIDEO}", _SOUND: f"file:{clip / 'voice.wav'}"}.get(source, source)
