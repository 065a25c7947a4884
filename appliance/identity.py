"""What the device says of itself in the topic ``info``."""

import platform
from collections.abc import Sequence

import cv2
import numpy as np

from appliance import __version__
from appliance.face.expression_network import OWN_MODEL
from appliance.listening.viseme_network import MODEL as VISEME_MODEL
from appliance.settings import Settings
from engines.fetch import file_sha256, model_path
from engines.opening import choose
from engines.own import is_own_model, own_model_path


def describe(settings: Settings, models: Sequence[str]) -> dict[str, object]:
    """Versions, cameras, microphones, models and engines, as ``publish.wire.encode_info`` takes them."""
    runner = choose(settings.engines.runner)
    files = {name: model_path(settings.storage.models, name) for name in models}
    if settings.camera and settings.engines.face == "own":
        files[OWN_MODEL] = own_model_path(OWN_MODEL)
    if settings.microphone and is_own_model(VISEME_MODEL):
        files[VISEME_MODEL] = own_model_path(VISEME_MODEL)
    return {
        "versions": {
            "appliance": __version__,
            "python": platform.python_version(),
            "opencv": cv2.__version__,
            "numpy": np.__version__,
            "kernel": platform.release(),
        },
        "cameras": [
            {
                "name": camera.name,
                "width_px": camera.width,
                "height_px": camera.height,
                "fps": camera.fps,
                "slots": camera.faces,
                "microphone": camera.microphone or None,
            }
            for camera in settings.camera
        ],
        "microphones": [{"name": mic.name, "rate_hz": mic.rate} for mic in settings.microphone],
        "models": [{"name": name, "sha256": file_sha256(path)} for name, path in files.items()],
        # A CPU gains nothing from fewer bits (README, Decisions): the precision set is the TensorRT engines'.
        "engines": [{"model": name, "runner": runner, "precision": "fp32"} for name in files],
    }
