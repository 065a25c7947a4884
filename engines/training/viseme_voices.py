"""Speech whose phonemes are timed: espeak-ng and flite as they speak, and recordings from a bank."""

import ctypes
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from appliance.demo.make_speech import Event
from appliance.listening.blocks import RATE, from_pcm
from appliance.values import Float32
from engines.training.viseme_phones import SILENCE, Segment, from_flite, from_ipa

_SYNCHRONOUS, _PHONEMES_AS_IPA, _WORD_EVENT, _PHONEME_EVENT, _UTF8 = 2, 3, 1, 7, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_STOPS = frozenset(("P", "B", "T", "D", "K", "G", "CH", "JH"))
_FIRST_CLOSURE_S = 0.05
_LONGEST_CLOSURE_S = 0.13
_SHORTEST_PAUSE_S = 0.08
_QUIET_SHARE = 0.06  # of the loudest just before it: a closure is at most so loud


@dataclass(frozen=True, slots=True)
class Spoken:
    """16 kHz mono, -1..1, and its phones."""

    samples: Float32
    segments: list[Segment]
    speaker: str


class Espeak:
    """libespeak-ng by ctypes; one instance a process."""

    def __init__(self, library: Path, data: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(data.parent).encode(), _PHONEMES_AS_IPA)
        if self._rate <= 0:
            raise SystemExit(f"espeak-ng finds no data in {data}")
        self._blocks: list[npt.NDArray[np.int16]] = []
        self._events: list[tuple[int, str]] = []
        self._words: list[int] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
        self._callback = kind(self._heard)
        self._library.espeak_SetSynthCallback(self._callback)

    def _heard(self, samples: Any, count: int, events: Any) -> int:
        if count > 0 and samples:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != 0:
            if events[index].type == _PHONEME_EVENT:
                sign = bytes(events[index].id.string).split(b"\0")[0].decode("utf-8", "ignore")
                self._events.append((events[index].sample, sign))
            elif events[index].type == _WORD_EVENT:
                self._words.append(events[index].sample)
            index += 1
        return 0

    def say(self, text: str, voice: str, words_per_minute: int = 170, pitch: int = 50, liveliness: int = 50) -> Spoken:
        """Speak one sentence; ``voice`` is a language and, after a plus, a variant."""
        self._blocks, self._events, self._words = [], [], []
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SystemExit(f"espeak-ng has no voice {voice}")
        for parameter, value in ((_RATE, words_per_minute), (_PITCH, pitch), (_RANGE, liveliness)):
            self._library.espeak_SetParameter(parameter, value, 0)
        spoken = text.encode()
        self._library.espeak_Synth(spoken, len(spoken) + 1, 0, 0, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        heard = np.concatenate(self._blocks) if self._blocks else np.zeros(1, np.int16)
        samples = at_16_khz(from_pcm(heard.tobytes(), 2, 1)[:, 0], self._rate)
        return Spoken(samples, _with_closures(samples, self._segments(len(heard), voice)), f"espeak {voice}")

    def word_begins_s(self) -> list[float]:
        """When each word of the last sentence begins."""
        return [sample / self._rate for sample in self._words]

    def _segments(self, count: int, voice: str) -> list[Segment]:
        times_s = [sample / self._rate for sample, _ in self._events] + [count / self._rate]
        segments: list[Segment] = []
        for (_, sign), begin_s, end_s in zip(self._events, times_s, times_s[1:], strict=False):
            phones = from_ipa(sign, english=voice.startswith("en")) or [SILENCE]
            if phones == [SILENCE] and segments and end_s - begin_s < _SHORTEST_PAUSE_S:
                phones = [segments[-1][2]]  # a link, an aspiration or a softening: no pause
            step_s = (end_s - begin_s) / len(phones)
            segments += [(begin_s + step_s * k, begin_s + step_s * (k + 1), phone) for k, phone in enumerate(phones)]
        return segments


def _with_closures(samples: Float32, segments: list[Segment]) -> list[Segment]:
    """Give each stop the silence before its burst, which espeak-ng counts to what comes before."""
    moved = list(segments)
    for index in range(1, len(moved)):
        (before_s, _, before), (begin_s, end_s, phone) = moved[index - 1], moved[index]
        if phone not in _STOPS:
            continue
        if before == SILENCE:  # nobody hears where that begins
            closes_s = max(before_s, begin_s - _FIRST_CLOSURE_S)
        else:
            closes_s = _quiet_from_s(samples, max(before_s + 0.02, begin_s - _LONGEST_CLOSURE_S), begin_s)
        moved[index - 1], moved[index] = (before_s, closes_s, before), (closes_s, end_s, phone)
    return moved


def _quiet_from_s(samples: Float32, begin_s: float, end_s: float) -> float:
    """Since when it is quiet before ``end_s``, looking back to ``begin_s`` in steps of 5 ms."""
    step = RATE // 200
    steps = samples[int(begin_s * RATE) : int(end_s * RATE)]
    steps = steps[len(steps) % step :].reshape(-1, step)
    if len(steps) == 0:
        return end_s
    loudness = np.sqrt(np.mean(steps**2, axis=1))
    loudness[-1] = 0.0  # the burst may begin in it
    loud = np.flatnonzero(loudness >= max(_QUIET_SHARE * float(loudness.max()), 1e-3))
    return end_s - (len(steps) - 1 - int(loud[-1]) if len(loud) else len(steps)) / 200


class Flite:
    """flite as a program, with the libraries that lie beside it."""

    VOICES = ("awb", "rms", "slt", "kal16")

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def say(self, text: str, voice: str, stretch: float = 1.0, pitch_hz: int | None = None) -> Spoken:
        """Speak one sentence; a ``stretch`` above 1 is slower."""
        settings = ["--setf", f"duration_stretch={stretch:.3f}"]
        if pitch_hz is not None:
            settings += ["--setf", f"int_f0_target_mean={pitch_hz}"]
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            command = [str(self._folder / "flite"), "-voice", voice, "-psdur", *settings, "-t", text, file.name]
            told = subprocess.run(
                command, env={"LD_LIBRARY_PATH": str(self._folder)}, capture_output=True, text=True, check=True
            ).stdout
            with wave.open(file.name) as wav:
                rate, data = wav.getframerate(), wav.readframes(wav.getnframes())
        samples = from_pcm(data, 2, 1)[:, 0]
        segments: list[Segment] = []
        begin_s = 0.0
        for word in told.split():
            name, _, end = word.rpartition(":")
            segments.append((begin_s, float(end), from_flite(name)))
            begin_s = float(end)
        return Spoken(at_16_khz(samples, rate), segments, f"flite {voice}")


def at_16_khz(samples: Float32, rate: int) -> Float32:
    """Resample, where need be."""
    return samples if rate == RATE else np.asarray(soxr.resample(samples, rate, RATE), np.float32)
