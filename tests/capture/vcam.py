"""The other end of ``vcam.c``: commands to the virtual camera, and what it saw."""

from pathlib import Path

import numpy as np

FIELDS = (
    "open_error",
    "device_error",
    "stalled",
    "age_us",
    "wall_clock",
    "sent_percent",
    "no_mjpg",
    "opened",
    "fourcc",
    "width",
    "height",
    "fps",
    "fetched",
    "refused",
)


class VirtualCamera:
    """One camera device, shared with the processes that opened it. The fields are those of ``struct control``."""

    def __init__(self, folder: Path) -> None:
        self.device = folder / "video0"
        self.jpeg = folder / "picture.jpg"
        self._control = folder / "control"
        self.device.touch()
        np.zeros(len(FIELDS), np.uint32).tofile(self._control)
        self._words = np.memmap(self._control, np.uint32, "r+")

    def environment(self) -> dict[str, str]:
        return {"VCAM_DEVICE": str(self.device), "VCAM_CONTROL": str(self._control), "VCAM_JPEG": str(self.jpeg)}

    def command(self, **fields: int) -> None:
        for field, value in fields.items():
            self._words[FIELDS.index(field)] = value

    def saw(self, field: str) -> int:
        return int(self._words[FIELDS.index(field)])

    @property
    def format(self) -> tuple[str, int, int, int]:
        """FourCC, width, height, rate of the last stream."""
        fourcc = self.saw("fourcc").to_bytes(4, "little").decode()
        return fourcc, self.saw("width"), self.saw("height"), self.saw("fps")
