"""The fault matrix: what can go wrong with a device, how it is told, and how it ends.

Each row has a device of its own. The fault and the cure are what happens to the device; nobody tells the appliance.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from errno import EBUSY, ENODEV
from typing import Any

from tests.devices.paced import PacedMicrophone
from tests.devices.vcam import Look, VirtualCamera

WELL = "well"
"""The devices to which nothing happens."""

WIDTH_PX, HEIGHT_PX, FPS = 320, 240, 10

STORM_RESETS, STORM_PERIOD_S = 8, 0.35


@dataclass(frozen=True)
class Fault:
    """One row."""

    name: str
    fault: Callable[[Any], None]
    cure: Callable[[Any], None]
    said: str  # part of what the topic health says
    poor: bool = False  # pictures or sound come all the same


def commanded(**fields: int) -> Callable[[VirtualCamera], None]:
    return lambda camera: camera.command(**fields)


def replugged(**fields: int) -> Callable[[VirtualCamera], None]:
    """Unplugged and plugged in again, after which the camera is another."""

    def act(camera: VirtualCamera) -> None:
        camera.unplug()
        camera.command(**fields)
        camera.plug()

    return act


def reset_storm(camera: VirtualCamera) -> None:
    for _ in range(STORM_RESETS):
        camera.unplug()
        time.sleep(STORM_PERIOD_S)
        camera.plug()
        time.sleep(STORM_PERIOD_S)
    camera.unplug()


def sound_reset_storm(microphone: PacedMicrophone) -> None:
    for _ in range(STORM_RESETS):
        microphone.order("gone")
        time.sleep(STORM_PERIOD_S)
        microphone.relent("gone")
        time.sleep(STORM_PERIOD_S)
    microphone.order("gone")


def unplugged_and_taken(camera: VirtualCamera) -> None:
    camera.command(open_error=EBUSY)
    camera.unplug()
    camera.plug()


def unplugged_and_taken_up(microphone: PacedMicrophone) -> None:
    microphone.order("gone", "busy")
    time.sleep(0.5)
    microphone.relent("gone")


def ordered(*names: str) -> Callable[[PacedMicrophone], None]:
    return lambda microphone: microphone.order(*names)


def relented(*names: str) -> Callable[[PacedMicrophone], None]:
    return lambda microphone: microphone.relent(*names)


def back_at_cd_rate(microphone: PacedMicrophone) -> None:
    microphone.order("cd", "stereo")
    microphone.relent("gone")


CAMERAS = (
    Fault("unplugged", VirtualCamera.unplug, VirtualCamera.plug, "no camera at"),
    Fault("stalled", commanded(stalled=1), commanded(stalled=0), "no picture for 2 s"),
    Fault("frozen", commanded(look=Look.FROZEN), commanded(look=Look.FILM), "frozen"),
    Fault("green", commanded(look=Look.GREEN), commanded(look=Look.FILM), "green"),
    Fault("over-exposed", commanded(look=Look.WHITE), commanded(look=Look.FILM), "over-exposed", poor=True),
    Fault("dark", commanded(look=Look.BLACK), commanded(look=Look.FILM), "dark", poor=True),
    Fault("small-after-reopen", VirtualCamera.unplug, replugged(wrong_opens=1), "no camera at"),
    Fault("small-for-good", replugged(only_width=160), replugged(only_width=0), "160x240", poor=True),
    Fault("slow", commanded(true_fps=4), commanded(true_fps=0), "slow", poor=True),
    Fault("busy", unplugged_and_taken, commanded(open_error=0), "another program holds it"),
    Fault("enodev-spin", commanded(device_error=ENODEV), commanded(device_error=0), "cannot be opened"),
    Fault("reset-storm", reset_storm, VirtualCamera.plug, "no camera at"),
)

MICROPHONES = (
    Fault("gone", ordered("gone"), relented("gone"), "No such device"),
    Fault("other-rate-after-reopen", ordered("gone"), back_at_cd_rate, "No such device"),
    Fault("taken", unplugged_and_taken_up, relented("busy"), "busy"),
    Fault("quiet", ordered("quiet"), relented("quiet"), "no sound for 2 s"),
    Fault("choked", ordered("choked"), relented("choked"), "no sound for 2 s"),
    Fault("overruns", ordered("rattled"), relented("rattled"), "overruns", poor=True),
    Fault("dead", ordered("zeros"), relented("zeros"), "dead", poor=True),
    Fault("over-driven", ordered("loud"), relented("loud"), "over-driven", poor=True),
    Fault("wrong-rate", ordered("slow"), relented("slow"), "wrong rate", poor=True),
    Fault("storm", sound_reset_storm, relented("gone"), "No such device"),
)
