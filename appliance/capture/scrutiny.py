"""Whether a camera's pictures can be used, and what is poor about those that can."""

import numpy as np

from appliance import settings
from appliance.values import Image

FROZEN_NS = 1_000_000_000
"""After this long the same picture again is no picture: whoever stands on it would stand there for ever."""

POOR_NS = 2_000_000_000  # light that is switched, and exposure that hunts, are no fault
WELL_NS = 500_000_000
RATE_NS = 1_000_000_000
SLOW = 0.75  # of the asked rate

_FINE, _COARSE = 8, 16  # every so many pixels of both directions are looked at
_FLAT = 8  # of 255: a picture without any contrast may well be the same again, behind a lens cap for instance
_UNFILLED_SHARE, _WHITE_SHARE = 0.2, 0.5
_WHITE, _DARK = 250, 16  # of 255

FROZEN = "frozen: it gives the same picture again and again"
UNFILLED = "green: the driver left pictures unfilled; look at its cable and at other cameras on the same USB port"
WHITE = "over-exposed: more than half of the picture is white; shade the camera or turn its exposure down"
DARK = "dark: nothing can be seen; look whether the light is on and the lens free"


class Scrutiny:
    """Looks at every picture of one run of a camera.

    Only a sensor's noise tells a frozen picture from a still scene, so only ``v4l2`` and ``gstreamer``
    sources can be found frozen, and only a ``v4l2`` one was asked for a size and a rate.
    """

    def __init__(self, camera: settings.Camera) -> None:
        kind = camera.source.partition(":")[0]
        self._senses = kind in ("v4l2", "gstreamer")
        self._asked = camera if kind == "v4l2" else None
        self._last: Image | None = None
        self._changed_ns: int | None = None  # when a picture last differed from the one before
        self._rate_since_ns = self._rate_count = 0
        self._slow = ""
        self._said = self._heard = ""  # what was told; what would be told if it stood long enough
        self._heard_ns = 0

    def refuse(self, image: Image, captured_ns: int) -> str:
        """Return why a picture must not be shown; empty for a good one.

        The first picture of a sensor is refused: only the second tells whether it moves.
        """
        if _is_unfilled(image):
            return UNFILLED
        return FROZEN if self._senses and self._is_frozen(image[::_FINE, ::_FINE].copy(), captured_ns) else ""

    def _is_frozen(self, sample: Image, captured_ns: int) -> bool:
        same = self._last is None or np.array_equal(sample, self._last)
        self._last = sample
        if not same or np.ptp(sample) <= _FLAT:
            self._changed_ns = captured_ns
        return self._changed_ns is None or captured_ns - self._changed_ns > FROZEN_NS

    def left_out(self) -> None:
        """Take note of a picture that came and was not looked at."""
        self._rate_count += 1

    def poor(self, image: Image, captured_ns: int) -> str | None:
        """Return what is poor about the shown pictures now, empty once all is well; ``None`` where nothing changed."""
        now = _exposure(image) or self._size(image) or self._rate(captured_ns)
        if now != self._heard:
            self._heard, self._heard_ns = now, captured_ns
        stood_ns = captured_ns - self._heard_ns
        if self._heard == self._said or stood_ns < (POOR_NS if self._heard else WELL_NS):
            return None
        self._said = self._heard
        return self._said

    def _size(self, image: Image) -> str:
        height, width = image.shape[:2]
        if self._asked is None or (width, height) == (self._asked.width, self._asked.height):
            return ""
        return f"it gives {width}x{height}, and {self._asked.width}x{self._asked.height} was asked for"

    def _rate(self, captured_ns: int) -> str:
        """Judge the rate anew every ``RATE_NS``."""
        if self._asked is None:
            return ""
        self._rate_since_ns = self._rate_since_ns or captured_ns
        took_ns = captured_ns - self._rate_since_ns
        if took_ns >= RATE_NS:
            slow = self._rate_count * 1e9 / took_ns < SLOW * self._asked.fps
            # Without the figure, which differs each time: the topic health has it.
            self._slow = f"slow: it gives far fewer pictures than {self._asked.fps} a second" if slow else ""
            self._rate_since_ns, self._rate_count = captured_ns, 0
        self._rate_count += 1
        return self._slow


def _is_unfilled(image: Image) -> bool:
    """Whether much of a picture is the green that zeros are in YUV: 135 or 154 by the two conventions."""
    blue, green, red = _planes(image)
    unfilled = (blue <= _FLAT) & (red <= _FLAT) & (green >= 120) & (green <= 165)
    return bool(unfilled.mean() >= _UNFILLED_SHARE)


def _exposure(image: Image) -> str:
    blue, green, red = _planes(image)
    if ((blue >= _WHITE) & (green >= _WHITE) & (red >= _WHITE)).mean() > _WHITE_SHARE:
        return WHITE
    return DARK if max(blue.mean(), green.mean(), red.mean()) < _DARK else ""


def _planes(image: Image) -> Image:
    """Blue, green and red of the pixels that are looked at, each in one piece: that is faster than by pixel."""
    return np.ascontiguousarray(np.moveaxis(image[::_COARSE, ::_COARSE], 2, 0))
