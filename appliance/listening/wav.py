"""WAV files through the standard library, with every way in which they are bad told in one line."""

import wave
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import MicrophoneError
from appliance.listening.blocks import from_pcm
from appliance.values import Float32

_CURE = "convert it with: ffmpeg -i FILE -c:a pcm_s16le -bitexact OUT.wav"


def open_wav(path: Path) -> wave.Wave_read:
    """Open a whole, uncompressed WAV file that holds sound; the caller closes it.

    Raises ``MicrophoneError`` for anything else.
    """
    try:
        wav = wave.Wave_read(str(path))
    except FileNotFoundError:
        raise MicrophoneError(f"no WAV file at {path}; name one that is there") from None
    except OSError as error:
        raise MicrophoneError(f"{path} cannot be read: {error}") from None
    except EOFError:
        raise MicrophoneError(f"{path} ends inside its header, so it is no WAV file; {_CURE}") from None
    except RuntimeError:  # the library's word for a chunk that reaches out of the one around it
        raise MicrophoneError(f"{path} has a damaged header; {_CURE}") from None
    except wave.Error as error:
        raise MicrophoneError(f"{path} is not an uncompressed WAV file ({error}); {_CURE}") from None
    try:
        _check(wav, path)
    except MicrophoneError:
        wav.close()
        raise
    return wav


def wav_frames(wav: wave.Wave_read, count: int) -> Iterator[Float32]:
    """Yield all frames from here on, ``count`` x channels at a time, the last fewer; -1..1."""
    width, channels = wav.getsampwidth(), wav.getnchannels()
    while data := wav.readframes(count):
        whole = len(data) - len(data) % (width * channels)  # some files end with part of a frame
        yield from_pcm(data[:whole], width, channels)


def _check(wav: wave.Wave_read, path: Path) -> None:
    if wav.getsampwidth() not in (1, 2, 3, 4) or not 1000 <= wav.getframerate() <= 768_000:
        what = f"{8 * wav.getsampwidth()} bits at {wav.getframerate()} Hz"
        raise MicrophoneError(f"{path} must hold 8, 16, 24 or 32 bits at 1 to 768 kHz, got {what}; {_CURE}")
    if wav.getnframes() == 0:
        raise MicrophoneError(f"{path} holds no sound: 0 frames")
    if not _reaches(wav, wav.getnframes()):
        raise MicrophoneError(f"{path} is cut short: its header promises {wav.getnframes()} frames; copy it again")
    wav.rewind()


def _reaches(wav: wave.Wave_read, count: int) -> bool:
    """Whether the last frame that the header promises is there."""
    try:
        wav.setpos(count - 1)
        return len(wav.readframes(1)) == wav.getsampwidth() * wav.getnchannels()
    except RuntimeError:  # as above
        return False
