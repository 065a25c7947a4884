"""Pictures that carry their number."""

from collections.abc import Iterable

import numpy as np

from appliance.capture.cameras import Picture
from appliance.values import Image

BITS = 8


def numbered(number: int) -> Image:
    """Return a picture, 240 x 320, whose columns are the number's bits."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    bits_row = np.repeat(np.array(bits, np.uint8) * 200, 320 // BITS)
    return np.ascontiguousarray(np.broadcast_to(bits_row[None, :, None], (240, 320, 3)))


def number_of(image: Image) -> int:
    """Return the number of a picture, however it was compressed."""
    columns = image.mean(axis=(0, 2)).reshape(BITS, -1).mean(axis=1)
    return sum(1 << bit for bit in range(BITS) if columns[bit] > 100)


def numbers_and_times(pictures: Iterable[Picture]) -> list[tuple[int | None, int]]:
    """Return the number of each picture, ``None`` for one passed over, and its time. Pictures do not keep."""
    return [(None if image is None else number_of(image), captured_ns) for image, captured_ns in pictures]
