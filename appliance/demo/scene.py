"""What a demonstration plays: the clip of a real face with speech, and settings that film it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from appliance.avatar.channels import BLENDSHAPES
from appliance.avatar.compose import Avatar
from appliance.daemon import MODELS, build_tracker
from appliance.demo.clip import HEIGHT, VIDEO, WIDTH, ensure_clip
from appliance.demo.score import CHANNELS, Score, roll_deg, score
from appliance.demo.timeline import FPS
from appliance.errors import ApplianceError
from appliance.settings import Settings, from_table
from appliance.values import AvatarState, Frame
from engines.fetch import asset_path, ensure

PHOTOGRAPH = "astronaut"


def prepare(settings: Settings, say: Callable[[str], None]) -> Path:
    """Fetch and render what a demonstration needs, once; return the clip's folder."""
    ensure(settings.storage.models, (*MODELS, PHOTOGRAPH), say)
    folder = Path(settings.storage.directory).expanduser() / "demo"
    return ensure_clip(folder, asset_path(settings.storage.models, PHOTOGRAPH), say)


def film(clip: Path, settings: Settings, url: str) -> dict[str, Any]:
    """The settings table of a daemon that films the clip for ever and publishes to a broker."""
    return {
        "device": {"site": "demo", "name": "desk"},
        "camera": [
            {
                "name": "cam0",
                "source": f"file:{clip / VIDEO}",
                "width": WIDTH,
                "height": HEIGHT,
                "fps": FPS,
                "microphone": "mic0",
                "loop": True,
            }
        ],
        "microphone": [{"name": "mic0", "source": f"file:{clip / 'voice.wav'}", "loop": True}],
        "engines": {"runner": settings.engines.runner},
        "broker": {"url": url},
        "storage": {"directory": settings.storage.directory},
    }


def judge(clip: Path, settings: Settings) -> Score:
    """Run the face stages over every picture of the clip and score them against its truth."""
    filmed = from_table(film(clip, settings, settings.broker.url))
    states = list(_states(clip, filmed))
    columns = np.stack([state.blendshapes for state in states])
    outputs = {name: columns[:, BLENDSHAPES.index(name)] for name in CHANNELS if name in BLENDSHAPES}
    outputs["roll_deg"] = np.array([roll_deg(state.head.rotation) for state in states], np.float32)
    with np.load(clip / "truth.npz", allow_pickle=False) as truth:
        return score(outputs, [state.state.value for state in states], np.arange(len(states)), dict(truth))


def _states(clip: Path, filmed: Settings) -> Iterator[AvatarState]:
    tracker = build_tracker(filmed.camera, filmed.storage.models, filmed.engines.runner)
    avatar = Avatar(filmed.avatar, filmed.camera)
    video = cv2.VideoCapture(str(clip / VIDEO))
    index = 0
    while True:
        read, image = video.read()
        if not read:
            break
        captured_ns = (index + 1) * 1_000_000_000 // FPS
        yield from avatar.compose(
            tracker.read([Frame("cam0", index + 1, captured_ns, np.asarray(image, np.uint8))]), {}
        )
        index += 1
    video.release()
    if index == 0:
        raise ApplianceError(f"the demo clip {clip / VIDEO} cannot be read; delete its folder, it is rendered again")
