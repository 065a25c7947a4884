"""The other end of ``vcam.c``: builds it, commands the virtual camera, and tells what it saw."""

import os
import subprocess
from collections.abc import Iterable, Mapping
from enum import IntEnum
from errno import ENODEV
from pathlib import Path

import cv2
import numpy as np

from appliance.values import Image

SOURCE = Path(__file__).with_name("vcam.c")

FIELDS = (
    "open_error",
    "device_error",
    "stalled",
    "age_us",
    "wall_clock",
    "sent_percent",
    "no_mjpg",
    "look",
    "only_width",
    "only_height",
    "only_fps",
    "wrong_opens",
    "plugged",
    "true_fps",
    "opened",
    "fourcc",
    "width",
    "height",
    "fps",
    "fetched",
    "refused",
)


class Look(IntEnum):
    """What the camera's pictures show, for the command ``look``."""

    FILM = 0
    FROZEN = 1
    GREEN = 2
    WHITE = 3
    BLACK = 4


def build(folder: Path) -> Path:
    """Compile the library that is put before the C library; return it."""
    library = folder / "vcam.so"
    command: list[str | Path] = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE]
    subprocess.run(command, check=True)
    return library


def write_film(path: Path, pictures: Iterable[Image]) -> None:
    """Write what ``VCAM_FILM`` must name: the pictures as JPEGs behind a green, a white and a black one."""
    shown = list(pictures)
    marked = [np.full_like(shown[0], colour) for colour in ((0, 135, 0), (255, 255, 255), (0, 0, 0))]
    path.write_bytes(b"".join(cv2.imencode(".jpg", picture)[1].tobytes() for picture in (*marked, *shown)))


def greys(width_px: int = 1280, height_px: int = 720) -> list[Image]:
    """Four pictures that differ a little, of one grey and a border."""
    pictures = [np.full((height_px, width_px, 3), 90 + 4 * step, np.uint8) for step in range(4)]
    for picture in pictures:
        picture[: height_px // 8] = 40
    return pictures


def environment(library: Path, device: Path) -> Mapping[str, str]:
    """What a process needs to see the device, or one of several where ``device`` is a pattern."""
    return {"LD_PRELOAD": os.fspath(library), "VCAM_DEVICE": os.fspath(device)}


class VirtualCamera:
    """One camera device, shared with the processes that opened it. The fields are those of ``struct control``."""

    def __init__(self, folder: Path, pictures: Iterable[Image] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.device = folder / "video0"
        self._control, self._film = folder / "control", folder / "film.mjpg"
        self.device.touch()
        write_film(self._film, list(pictures) or greys())
        np.zeros(len(FIELDS), np.uint32).tofile(self._control)
        self._words = np.memmap(self._control, np.uint32, "r+")

    def command(self, **fields: int) -> None:
        for field, value in fields.items():
            self._words[FIELDS.index(field)] = value

    def unplug(self) -> None:
        """Every request of those who opened it fails from now on, and its name is gone, as udev would have it."""
        self.command(device_error=ENODEV, plugged=self.saw("plugged") + 1)
        self.device.unlink(missing_ok=True)

    def plug(self) -> None:
        self.command(device_error=0)
        self.device.touch()

    def saw(self, field: str) -> int:
        return int(self._words[FIELDS.index(field)])

    @property
    def format(self) -> tuple[str, int, int, int]:
        """FourCC, width, height, rate of the last stream."""
        fourcc = self.saw("fourcc").to_bytes(4, "little").decode()
        return fourcc, self.saw("width"), self.saw("height"), self.saw("fps")
