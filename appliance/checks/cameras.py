"""Whether each camera gives pictures."""

import time
from pathlib import Path

from appliance import settings as config
from appliance.capture.cameras import without_password
from appliance.capture.supervisor import Cameras
from appliance.checks.finding import Finding, Verdict
from appliance.checks.glance import WAIT_S, ignore, why_refused
from appliance.errors import CameraError
from appliance.settings import Settings


def no_camera(settings: Settings) -> Finding:
    """Whether the voice alone is to move mouths."""
    if settings.microphone:
        return Finding("camera", Verdict.FINE, "none is set: voices alone move the mouths")
    return Finding(
        "camera", Verdict.STOP, "neither a [[camera]] nor a [[microphone]] is set", "name one in the settings file"
    )


def see(camera: config.Camera) -> Finding:
    """Whether a camera gives pictures."""
    subject = f"camera {camera.name}"
    if camera.source.startswith("v4l2:"):
        refused = why_refused(Path(camera.source.removeprefix("v4l2:")), "video")
        if refused:
            return Finding(subject, Verdict.STOP, *refused)
    try:
        with Cameras([camera], ignore) as cameras:
            arrived = _first_picture(cameras)
            error = cameras.status()[camera.name].error
    except CameraError as held:
        return Finding(subject, Verdict.WEAK, str(held), "it was not looked at")
    if arrived:
        return Finding(subject, Verdict.FINE, f"gives pictures of {arrived}")
    text = error or f"{without_password(camera.source)} gives no picture"
    return Finding(subject, Verdict.STOP, text, "look at the cable and at camera.source")


def _first_picture(cameras: Cameras) -> str:
    """The size of the first picture; empty when none came in time."""
    ends_s = time.monotonic() + WAIT_S
    for frames in cameras.ready():
        for frame in frames:
            if frame.image is not None:
                return f"{frame.image.shape[1]} x {frame.image.shape[0]}"
        if time.monotonic() > ends_s:
            break
    return ""
