"""Open Sound Control 1.0, as far as VMC needs it: messages of int32, float32 and text, and bundles.

The format is the specification's ("The Open Sound Control 1.0 Specification", Wright 2002): big-endian, every
part filled up with zeros to a multiple of four bytes.
"""

import struct
from collections.abc import Iterable, Iterator

AT_ONCE = 1
"""The time tag that means immediately."""
_HEAD = b"#bundle\0" + struct.pack(">Q", AT_ONCE)


def message(address: str, *arguments: int | float | str) -> bytes:
    """Return one message; ints, floats and texts keep their type."""
    tags, body = ",", b""
    for argument in arguments:
        if isinstance(argument, str):
            tags, body = f"{tags}s", body + _text(argument)
        elif isinstance(argument, float):
            tags, body = f"{tags}f", body + struct.pack(">f", argument)
        else:
            tags, body = f"{tags}i", body + struct.pack(">i", argument)
    return _text(address) + _text(tags) + body


def bundles(messages: Iterable[bytes], most_bytes: int) -> Iterator[bytes]:
    """Yield the messages in their order, in as few bundles of at most ``most_bytes`` as that takes."""
    bundle = _HEAD
    for each in messages:
        element = struct.pack(">i", len(each)) + each
        if len(bundle) > len(_HEAD) and len(bundle) + len(element) > most_bytes:
            yield bundle
            bundle = _HEAD
        bundle += element
    yield bundle


def _text(text: str) -> bytes:
    raw = text.encode()
    return raw + b"\0" * (4 - len(raw) % 4)
