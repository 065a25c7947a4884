"""What the device says of itself in the topic ``info``."""

import platform

import cv2
import numpy as np

from appliance import __version__
from appliance.installed import every_network, running
from appliance.settings import Settings
from engines.networks import network
from engines.opening import InUse


def describe(settings: Settings) -> dict[str, object]:
    """Versions, cameras, microphones, models and engines, as ``publish.wire.encode_info`` takes them."""
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
        "models": [
            {"name": name, "sha256": network(name, settings.storage.models).onnx_sha256}
            for name in every_network(settings)
        ],
        "engines": [_engine(name, used) for name, used in running(settings)],
    }


def _engine(name: str, used: InUse) -> dict[str, object]:
    said: dict[str, object] = {"model": name, "runner": used.runner, "precision": used.precision}
    return {**said, "fallback": used.fallback} if used.fallback else said
