"""What comes from a source, made into the one kind of picture the appliance knows: BGR, a byte each."""

from typing import Any

import cv2
import numpy as np

from appliance.values import Image

_JPEG_BEGIN, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_JPEG_TAIL = 64  # bytes: some cameras pad behind the end, mostly with zeros

Converted = tuple[Image | None, str]


def as_bgr(picture: Any, capacity: int) -> Converted:
    """Return the picture as height x width x 3 BGR of at most ``capacity`` bytes, and what was wrong with it.

    ``None`` when it cannot be used. What was wrong is empty for a good picture, and the same words for
    the same kind of fault, so that each kind can be reported once.
    """
    if not isinstance(picture, np.ndarray) or picture.size == 0:
        return None, "empty or truncated"
    if picture.dtype != np.uint8:
        return None, f"{picture.dtype} values instead of bytes"
    image, fault = _three_channels(picture)
    if image is None or image.size <= capacity:
        return image, fault
    height, width, channels = image.shape
    scale = (capacity / image.size) ** 0.5
    fitting = (max(1, int(width * scale)), max(1, int(height * scale)))
    if fitting[0] * fitting[1] * channels > capacity:
        return None, f"{width}x{height}, which no scaling makes fit"
    smaller = np.asarray(cv2.resize(image, fitting, interpolation=cv2.INTER_AREA), np.uint8)
    return smaller, fault or f"{width}x{height}, larger than the settings ask for; scaled down"


def decode(encoded: bytes) -> Image:
    """Decode a JPEG, PNG or other still; the result is empty when that is truncated or no picture at all."""
    if encoded[:2] == _JPEG_BEGIN and _JPEG_END not in encoded.rstrip(b"\0")[-_JPEG_TAIL:]:
        return np.empty(0, np.uint8)  # libjpeg would fill the rest with grey
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED) if encoded else None
    except cv2.error:  # it says that it is larger than any picture may be
        image = None
    return np.empty(0, np.uint8) if image is None else np.asarray(image)


def one_decoding_thread() -> list[int]:
    """Return what tells FFmpeg to decode in one thread: keeping pace needs no more, and each costs memory."""
    # OpenCV before 4.7, as JetPack 6 has it, does not know the setting.
    return [cv2.CAP_PROP_N_THREADS, 1] if hasattr(cv2, "CAP_PROP_N_THREADS") else []


def _three_channels(picture: Image) -> Converted:
    if picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 1):
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8), "grey; the face is still found"
    if picture.ndim == 3 and picture.shape[2] == 4:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR), np.uint8), "4 channels; the fourth is ignored"
    if picture.ndim == 3 and picture.shape[2] == 3:
        return picture, ""
    return None, f"shape {'x'.join(map(str, picture.shape))} instead of height x width x 3"
