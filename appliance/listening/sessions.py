"""The sound of a session folder: its one format, writer and reader.

``voice.wav`` is 16 kHz, mono, 16 bits. ``voice.jsonl`` begins with one object, ``{"v": 1,
"microphone": NAME, "rate": 16000, "block": 160}``; each further line is one integer, the
CLOCK_MONOTONIC nanosecond at which the last sample of the next block was heard. Both grow while
recording, the sound first, so a recorder that is killed leaves a session that still plays.
"""

import json
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from appliance.errors import MicrophoneError
from appliance.listening.blocks import BLOCK_SAMPLES, RATE
from appliance.listening.wav import open_wav, wav_frames
from appliance.values import Sound

VOICE_WAV = "voice.wav"
VOICE_TIMES = "voice.jsonl"

_FORMAT = 1
_HEADER = {"v": _FORMAT, "rate": RATE, "block": BLOCK_SAMPLES}
_FLUSH_BLOCKS = 100


class SoundWriter:
    """Writes one microphone's sound into a session folder. One thread writes."""

    def __init__(self, directory: Path, microphone: str) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._wav_file = (directory / VOICE_WAV).open("wb")
            self._times = (directory / VOICE_TIMES).open("w", encoding="ascii")
        except OSError as error:
            raise MicrophoneError(f"no sound can be recorded in {directory}: {error}") from None
        self._wav = wave.Wave_write(self._wav_file)
        self._wav.setparams((1, 2, RATE, 0, "NONE", ""))
        self._times.write(json.dumps({**_HEADER, "microphone": microphone}) + "\n")
        self._blocks = 0

    def write(self, sound: Sound) -> None:
        """Append one block."""
        pcm = np.clip(np.rint(sound.samples * 32768.0), -32768, 32767).astype("<i2")
        self._wav.writeframes(pcm.tobytes())
        self._times.write(f"{sound.heard_ns}\n")
        self._blocks += 1
        if self._blocks % _FLUSH_BLOCKS == 0:
            self._wav_file.flush()
            self._times.flush()

    def close(self) -> None:
        """Finish both files."""
        self._wav.close()
        self._wav_file.close()
        self._times.close()


def session_sound(directory: Path) -> Iterator[Sound]:
    """Yield a session's blocks with the stamps they were recorded with, as fast as asked.

    Raises ``MicrophoneError`` if the folder holds no sound, or none of this format.
    """
    times_path = directory / VOICE_TIMES
    try:
        with times_path.open(encoding="ascii") as times, open_wav(directory / VOICE_WAV) as wav:
            header = json.loads(times.readline() or "null")
            if not isinstance(header, dict) or {key: header.get(key) for key in _HEADER} != _HEADER:
                raise MicrophoneError(f"{times_path} must begin with {_HEADER}, got {header}")
            if (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) != (1, 2, RATE):
                raise MicrophoneError(f"{directory / VOICE_WAV} must be mono, 16 bits, {RATE} Hz, as it was recorded")
            yield from _blocks(wav, times, str(header.get("microphone", "")))
    except OSError as error:
        raise MicrophoneError(f"session {directory} has no sound: {error}") from None
    except ValueError as error:
        raise MicrophoneError(f"{times_path} is damaged ({error}); record the session again") from None


def _blocks(wav: wave.Wave_read, times: Iterator[str], microphone: str) -> Iterator[Sound]:
    """Yield sound as far as both files reach."""
    for frames, line in zip(wav_frames(wav, BLOCK_SAMPLES), times, strict=False):
        if len(frames) == BLOCK_SAMPLES and line.endswith("\n"):
            yield Sound(microphone, frames[:, 0], int(line))
