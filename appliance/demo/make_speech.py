"""Make ``speech.wav`` and ``speech.json`` with espeak-ng; for developers, not needed at run time.

Run ``python -m appliance.demo.make_speech`` where Debian's ``libespeak-ng1`` is installed. The two files are
committed, so a change of voice or text is a change of both.
"""

import ctypes
import json
import wave
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

TEXT = (
    "Hello! I am an avatar. "
    "When you move, I move. Open your mouth, or blink, and I will do the same. "
    "Nobody keeps your picture."
)
VOICE = "en-us+f3"
WORDS_PER_MINUTE = 162
PITCH = 58  # 0..100
PITCH_RANGE = 62  # 0..100, how lively
RATE_HZ = 16_000
PEAK = 0.7

VISEMES = {
    "PP": "p b m",
    "FF": "f v",
    "TH": "θ ð",
    "DD": "t d ɾ ʔ",
    "kk": "k ɡ g ŋ h",
    "CH": "tʃ dʒ ʃ ʒ",
    "SS": "s z",
    "nn": "n l ɫ əl",
    "RR": "ɹ r",
    "aa": "a ɑ ʌ ɐ aɪ aʊ æ ɑː ɑːɹ",
    "E": "ɛ e eɪ ə ɛɹ ɜː ɚ",
    "I": "i ɪ iː j ᵻ ɪɹ",
    "O": "o ɔ oʊ ɔː ɔɪ oː ɔːɹ oːɹ",
    "U": "u ʊ uː w ʊɹ",
}
"""The viseme of each phoneme that espeak-ng's American English says, in the international phonetic alphabet."""

PHONEMES_AS_IPA = 1 | 2  # espeakINITIALIZE_PHONEME_EVENTS | espeakINITIALIZE_PHONEME_IPA
SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
PHONEME_EVENT = 7
RATE, PITCH_PARAMETER, RANGE_PARAMETER = 1, 3, 4
UTF8 = 1


class EventId(ctypes.Union):
    """The payload of an event of espeak-ng's ``speak_lib.h``."""

    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    """``espeak_EVENT`` of espeak-ng's ``speak_lib.h``."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", EventId),
    ]


def speak() -> tuple[npt.NDArray[np.int16], int, list[tuple[int, str]]]:
    """Return the samples of ``TEXT``, their rate in Hz, and (first sample, phoneme) in order."""
    library = ctypes.CDLL("libespeak-ng.so.1")
    rate_hz = library.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEMES_AS_IPA)
    blocks: list[npt.NDArray[np.int16]] = []
    phonemes: list[tuple[int, str]] = []

    def heard(samples: Any, count: int, events: Any) -> int:
        if count > 0 and samples:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != 0:
            event = events[index]
            if event.type == PHONEME_EVENT:
                phonemes.append((event.sample, bytes(event.id.string).decode("utf-8", "ignore")))
            index += 1
        return 0

    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
    callback = prototype(heard)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(VOICE.encode()) != 0:
        raise SystemExit(f"espeak-ng has no voice {VOICE}")
    for parameter, value in ((RATE, WORDS_PER_MINUTE), (PITCH_PARAMETER, PITCH), (RANGE_PARAMETER, PITCH_RANGE)):
        library.espeak_SetParameter(parameter, value, 0)
    text = TEXT.encode()
    library.espeak_Synth(text, len(text) + 1, 0, 0, 0, UTF8, None, None)
    library.espeak_Synchronize()
    return np.concatenate(blocks), rate_hz, phonemes


def viseme_of(phoneme: str) -> str:
    """Return the viseme of one phoneme; ``sil`` for pauses and what the table does not know."""
    plain = phoneme.strip("ˈˌ;_: ")
    for viseme, phonemes in VISEMES.items():
        if plain in phonemes.split():
            return viseme
    return "sil"


def main() -> None:
    """Write both files beside this script."""
    samples, rate_hz, events = speak()
    count = round(len(samples) * RATE_HZ / rate_hz)
    # Area averaging is the low-pass that the way down from 22.05 kHz needs.
    resampled = cv2.resize(samples.astype(np.float32)[None], (count, 1), interpolation=cv2.INTER_AREA)[0]
    resampled *= PEAK * 32767 / np.abs(resampled).max()
    ends = [sample for sample, _ in events[1:]] + [len(samples)]
    phonemes = [
        [round(start / rate_hz, 3), round(end / rate_hz, 3), phoneme, viseme_of(phoneme)]
        for (start, phoneme), end in zip(events, ends, strict=True)
        if end > start
    ]
    folder = Path(__file__).parent
    with wave.open(str(folder / "speech.wav"), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(resampled.astype("<i2").tobytes())
    rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in phonemes)
    head = json.dumps({"text": TEXT, "voice": VOICE}, ensure_ascii=False)[:-1]
    (folder / "speech.json").write_text(f'{head}, "phonemes": [\n{rows}\n]}}\n', encoding="utf-8")
    print(f"{count / RATE_HZ:.2f} s, {len(phonemes)} phonemes")


if __name__ == "__main__":
    main()
