"""Recorded sound, played at the pace at which it was heard."""

import time
from collections.abc import Iterator
from pathlib import Path

from appliance.listening.blocks import BLOCK_NS, BlockCutter, from_pcm
from appliance.listening.sessions import session_sound
from appliance.listening.wav import open_wav, wav_frames
from appliance.values import Float32, Sound

_CHUNK_FRAMES = 4096


class FileMicrophone:
    """A WAV file: PCM of 8, 16, 24 or 32 bits, any rate, any number of channels (mixed to one)."""

    def __init__(self, name: str, path: Path, loop: bool) -> None:
        self._name = name
        self._path = path
        self._loop = loop
        self.overruns = 0

    def blocks(self) -> Iterator[Sound]:
        """Yield sound in real time; the first block is heard 10 ms from now."""
        start_ns = time.monotonic_ns()
        for count, samples in enumerate(wav_blocks(self._path, self._loop), start=1):
            heard_ns = start_ns + count * BLOCK_NS
            _sleep_until(heard_ns)
            yield Sound(self._name, samples, heard_ns)


class SessionMicrophone:
    """A session's voice, with the pauses it had: stamps are the recorded ones, moved to now."""

    def __init__(self, name: str, directory: Path, loop: bool) -> None:
        self._name = name
        self._directory = directory
        self._loop = loop
        self.overruns = 0

    def blocks(self) -> Iterator[Sound]:
        """Yield sound in real time; the first block is heard 10 ms from now."""
        while True:
            shift_ns: int | None = None
            for sound in session_sound(self._directory):
                if shift_ns is None:
                    shift_ns = time.monotonic_ns() + BLOCK_NS - sound.heard_ns
                _sleep_until(sound.heard_ns + shift_ns)
                yield Sound(self._name, sound.samples, sound.heard_ns + shift_ns)
            if not self._loop:
                return


def wav_blocks(path: Path, loop: bool = False) -> Iterator[Float32]:
    """Yield a WAV file's blocks as fast as they are asked for; the last is filled up with silence.

    Raises ``MicrophoneError`` if the file is no whole, uncompressed WAV file with sound in it.
    """
    with open_wav(path) as wav:
        cutter = BlockCutter(wav.getframerate())
        while True:
            for frames in wav_frames(wav, _CHUNK_FRAMES):
                yield from (samples for samples, _ in cutter.cut(frames, 0))
            if not loop:
                break
            wav.rewind()
        silence = from_pcm(b"", 2, 1)
        yield from (samples for samples, _ in cutter.cut(silence, 0, last=True))


def _sleep_until(when_ns: int) -> None:
    left_s = (when_ns - time.monotonic_ns()) / 1e9
    if left_s > 0:
        time.sleep(left_s)
