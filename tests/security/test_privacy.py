"""Pictures and sound never leave: everything that a session published or wrote is searched for them."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.demo.clip import SPEECH_WAV, VIDEO
from appliance.listening.recordings import wav_blocks

from .conftest import CAMERA, FRAMES, Watched, evidence

MAGIC = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n",
    "GIF": b"GIF8",
    "RIFF: WAV, WebP or AVI": b"RIFF",
    "MP4": b"ftyp",
    "Matroska": b"\x1a\x45\xdf\xa3",
    "Ogg": b"OggS",
    "FLAC": b"fLaC",
    "a zip file": b"PK\x03\x04",
    "NumPy": b"\x93NUMPY",
    "gzip": b"\x1f\x8b\x08",
    "H.264": b"\x00\x00\x00\x01\x67",
}
_ENCODED = re.compile(rb"[A-Za-z0-9+/_-]{200,}={0,2}")  # Base64 of more than a key or a digest
_LARGEST_BYTES = 32_768  # a message or a file; a picture of a face that is worth the name has more
_TELLING = 16  # different bytes in so many: else it may be anybody's
_SLICE = 24


def slices(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Pieces of a picture or of sound that occur nowhere else."""
    choose, found = np.random.default_rng(seed), 0
    for start in choose.integers(0, max(1, len(content) - _SLICE), 50 * count).tolist():
        piece = content[start : start + _SLICE]
        if len(set(piece)) >= _TELLING:
            found += 1
            yield piece
        if found == count:
            return


@pytest.fixture(scope="module")
def seen(clip: Path) -> list[bytes]:
    """What the camera saw, in pieces: of every picture, in colours and in grey."""
    film, pieces = cv2.VideoCapture(str(clip / VIDEO)), list[bytes]()
    for number in range(3 * FRAMES):
        taken, picture = film.read()
        assert taken
        for form in (picture, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)):
            pieces += slices(np.ascontiguousarray(form).tobytes(), 3, number)
    film.release()
    return pieces


@pytest.fixture(scope="module")
def heard() -> list[bytes]:
    """What the microphone heard, in pieces: as numbers of two and of four bytes."""
    sound = np.concatenate(list(wav_blocks(SPEECH_WAV)))
    forms = (sound.tobytes(), np.round(sound * 32768).astype("<i2").tobytes())
    return [piece for form in forms for piece in slices(form, 400, 1)]


def test_there_is_something_to_search(watched: Watched, seen: list[bytes], heard: list[bytes]) -> None:
    leaves = {message.topic.rpartition("/")[2] for message in watched.messages}

    assert {"frame", "state", "health", "info", "event", "availability"} <= leaves
    assert any(path.name == "log" for path in watched.files)
    assert len(seen) > 1000
    assert len(heard) > 400


def test_nothing_that_left_has_the_form_of_a_picture_or_of_sound(watched: Watched) -> None:
    for place, content in evidence(watched).items():
        plain = [content, *(base64.b64decode(found + b"==", b"-_") for found in _ENCODED.findall(content))]
        for part in plain:
            assert [form for form, magic in MAGIC.items() if magic in part] == [], place
        assert len(content) < _LARGEST_BYTES, place


def test_no_piece_of_what_was_seen_or_heard_is_in_what_left(
    watched: Watched, seen: list[bytes], heard: list[bytes]
) -> None:
    everything = b"\n".join(evidence(watched).values())

    assert [piece for piece in (*seen, *heard) if piece in everything] == []


def test_no_file_is_written_but_the_log(watched: Watched) -> None:
    assert {path.name for path in watched.files} <= {"log"}


def test_no_file_is_open_for_writing_but_the_ring_and_the_log(watched: Watched) -> None:
    allowed = (f"/dev/shm/avatar-{CAMERA}", "/dev/null", "/log", "/.lock", "(deleted)")

    assert [entry.path for entry in watched.opened if not entry.path.endswith(allowed)] == []
    assert not Path(f"/dev/shm/avatar-{CAMERA}").exists()


def test_what_is_written_is_too_little_for_pictures(watched: Watched) -> None:
    # The pipe of the capture process takes a byte a picture, and the log some lines.
    assert watched.written_bytes < 20_000
