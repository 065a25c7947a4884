"""Recorded speech in one small file: Opus packets and phones. Needs libopus (Debian's libopus0)."""

import ctypes
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from appliance.listening.blocks import RATE
from appliance.values import Float32
from engines.training.viseme_phones import Segment

FRAME = RATE // 50
"""Samples of a packet: 20 ms."""

_VOICE = 2048  # OPUS_APPLICATION_VOIP
_SET_BITRATE, _SET_COMPLEXITY, _GET_LOOKAHEAD = 4002, 4010, 4027
_LONGEST_PACKET = 1275


@dataclass(frozen=True, slots=True)
class Recording:
    """One sentence of one speaker."""

    speaker: str
    segments: list[Segment]
    packets: list[bytes]
    samples: int


class Opus:
    """libopus by ctypes, 16 kHz mono."""

    def __init__(self, library: Path | str) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.opus_encoder_create.restype = ctypes.c_void_p
        self._library.opus_decoder_create.restype = ctypes.c_void_p

    def encode(self, samples: Float32, bits_per_s: int) -> list[bytes]:
        """Packets of 20 ms; the encoder's delay is made up for at the end."""
        failed = ctypes.c_int()
        encoder = ctypes.c_void_p(self._library.opus_encoder_create(RATE, 1, _VOICE, ctypes.byref(failed)))
        self._library.opus_encoder_ctl(encoder, _SET_BITRATE, ctypes.c_int(bits_per_s))
        self._library.opus_encoder_ctl(encoder, _SET_COMPLEXITY, ctypes.c_int(10))
        late = self._late(encoder)
        samples = np.pad(samples, (0, late + -(len(samples) + late) % FRAME)).astype(np.float32)
        packet = (ctypes.c_ubyte * _LONGEST_PACKET)()
        packets = []
        for start in range(0, len(samples), FRAME):
            frame = np.ascontiguousarray(samples[start : start + FRAME])
            size = self._library.opus_encode_float(encoder, _floats(frame), FRAME, packet, _LONGEST_PACKET)
            packets.append(bytes(packet[:size]))
        self._library.opus_encoder_destroy(encoder)
        return packets

    def decode(self, packets: list[bytes], count: int) -> Float32:
        """``count`` samples, where they were before they were encoded."""
        failed = ctypes.c_int()
        encoder = ctypes.c_void_p(self._library.opus_encoder_create(RATE, 1, _VOICE, ctypes.byref(failed)))
        late = self._late(encoder)
        self._library.opus_encoder_destroy(encoder)
        decoder = ctypes.c_void_p(self._library.opus_decoder_create(RATE, 1, ctypes.byref(failed)))
        samples = np.zeros((len(packets), FRAME), np.float32)
        for row, packet in zip(samples, packets, strict=True):
            self._library.opus_decode_float(decoder, packet, len(packet), _floats(row), FRAME, 0)
        self._library.opus_decoder_destroy(decoder)
        return samples.reshape(-1)[late : late + count]

    def _late(self, encoder: ctypes.c_void_p) -> int:
        late = ctypes.c_int()
        self._library.opus_encoder_ctl(encoder, _GET_LOOKAHEAD, ctypes.byref(late))
        return late.value


def _floats(array: Float32) -> "ctypes._Pointer[ctypes.c_float]":
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def write(path: Path, recordings: list[Recording]) -> None:
    """Store recordings as one .npz."""
    sizes = [len(packet) for recording in recordings for packet in recording.packets]
    about = [
        [recording.speaker, recording.segments, len(recording.packets), recording.samples] for recording in recordings
    ]
    np.savez_compressed(
        path,
        data=np.frombuffer(b"".join(packet for recording in recordings for packet in recording.packets), np.uint8),
        sizes=np.array(sizes, np.uint16),
        about=np.frombuffer(json.dumps(about).encode(), np.uint8),
    )


def read(path: Path) -> list[Recording]:
    """What ``write`` stored."""
    with np.load(path) as stored:
        data, sizes, about = stored["data"].tobytes(), stored["sizes"], json.loads(stored["about"].tobytes())
    ends = np.cumsum(sizes, dtype=np.int64)
    packets = [data[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]
    recordings, first = [], 0
    for speaker, segments, count, samples in about:
        of_phones = [(begin_s, end_s, phone) for begin_s, end_s, phone in segments]
        recordings.append(Recording(speaker, of_phones, packets[first : first + count], samples))
        first += count
    return recordings
