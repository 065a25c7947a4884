"""From the sound of one microphone to what its voice does, block by block, the same live and in a replay."""

from collections.abc import Iterable
from itertools import repeat
from math import log10
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from appliance.avatar.channels import VISEMES
from appliance.listening.arousal import ArousalState, feel
from appliance.listening.blocks import BLOCK_NS, BLOCK_SAMPLES
from appliance.listening.pitch import TAIL_SAMPLES, pitch_hz
from appliance.listening.viseme_network import GUESS_BLOCKS, SURE_BLOCKS, VisemeNetwork
from appliance.listening.voice import VoiceState, hear, level_of
from appliance.values import Float32, Sound, Speech, Voice

_MOMENTS = 32  # coarticulation looks a tenth of a second back, and a slow camera lags behind by two
_GUESSES = SURE_BLOCKS - GUESS_BLOCKS  # moments that are guessed at, and not yet sure
_SPEAKING = 0.5  # so sure must the network have been in the moments kept that they hold speech
_LOUDEST = 2.0  # samples beyond full scale come from resampling, or are no sound
_MOST_DB = 30.0

R = TypeVar("R", bound=np.generic)
Names = tuple[Float32, Float32]  # 15 visemes, and 15 that are guessed

_SILENT: Float32 = np.eye(len(VISEMES), dtype=np.float32)[VISEMES.index("sil")]


class Hearing:
    """What one microphone's voice does. Without a network it tells everything but visemes."""

    def __init__(self, microphone: str, network: VisemeNetwork | None = None) -> None:
        self._microphone = microphone
        self._network = network
        self.forget()

    def forget(self) -> None:
        """Begin anew, as after a microphone was away."""
        self._voice = VoiceState()
        self._arousal = ArousalState()
        self._tail: Float32 = np.zeros(TAIL_SAMPLES, np.float32)
        # One row a block, the newest last. What was named with a block is about an earlier one.
        self._named: Float32 = np.tile(_SILENT, (_MOMENTS - _GUESSES, 1))
        self._guessed: Float32 = np.tile(_SILENT, (_GUESSES, 1))
        self._active: npt.NDArray[np.bool_] = np.zeros(_MOMENTS + GUESS_BLOCKS, bool)
        self._loudness_db: Float32 = np.zeros(_MOMENTS + GUESS_BLOCKS, np.float32)
        if self._network is not None:
            self._network.forget()

    def hear(self, sound: Sound, visemes: bool = True) -> Voice:
        """Take one block or several; say what the voice does at their end.

        Without ``visemes`` the network is let go until they are wanted. How the sound is cut into calls makes no
        difference, but several blocks take less time together than one by one.
        """
        samples = np.clip(np.nan_to_num(sound.samples), -_LOUDEST, _LOUDEST)
        heard = [self._listen(block) for block in samples.reshape(-1, BLOCK_SAMPLES)]
        named = self._name(samples) if visemes else self._rest()
        pitches_hz = self._pitches(samples, any(active for active, _ in heard))
        for (active, loudness_db), high_hz, names in zip(heard, pitches_hz, named, strict=False):
            speaks = self._step(active, loudness_db, high_hz, names)
        level, arousal = level_of(self._voice.power), self._arousal.arousal
        if self._network is None or not visemes:
            return Voice(self._microphone, sound.heard_ns, speaks, level, arousal)
        sure_ns, newest_ns = (sound.heard_ns - blocks * BLOCK_NS for blocks in (SURE_BLOCKS, GUESS_BLOCKS))
        moments = self._moments()
        speech = Speech(sure_ns, newest_ns, moments, self._loudness_db[:_MOMENTS])
        return Voice(self._microphone, sound.heard_ns, speaks, level, arousal, moments[-1 - _GUESSES], speech)

    def _listen(self, block: Float32) -> tuple[bool, float]:
        """Whether a voice, or what sounds like one, speaks, and how loud it is."""
        self._voice, active, _ = hear(self._voice, block)
        return active, 10 * log10(max(2 * self._voice.power, 1e-12))

    def _name(self, samples: Float32) -> Iterable[Names | None]:
        """What is named with each block."""
        return repeat(None) if self._network is None else zip(*self._network.name(samples), strict=True)

    def _rest(self) -> Iterable[Names | None]:
        """Let the network go; nothing is named."""
        if self._network is not None:
            self._network.rest()
        return repeat(None)

    def _pitches(self, samples: Float32, wanted: bool) -> list[float]:
        """How high each block is; 0 where nobody wants to know."""
        sound = np.concatenate([self._tail, samples])
        self._tail = sound[-TAIL_SAMPLES:]
        return pitch_hz(sound).tolist() if wanted else [0.0] * (len(samples) // BLOCK_SAMPLES)

    def _step(self, active: bool, loudness_db: float, high_hz: float, names: Names | None) -> bool:
        """Take one block into account; return whether somebody speaks, as neither music nor noise does."""
        self._active = _pushed(self._active, active)
        self._loudness_db = _pushed(self._loudness_db, self._over_usual(loudness_db))
        named, guessed = names or (_SILENT, _SILENT)
        self._named, self._guessed = _pushed(self._named, named), _pushed(self._guessed, guessed)
        speaks = active and (names is None or bool((self._moments() @ _SILENT).min() < 1 - _SPEAKING))
        self._arousal = feel(self._arousal, speaks, loudness_db, high_hz if speaks else 0.0)
        return speaks

    def _moments(self) -> Float32:
        """What is said, moment by moment; where voice activity finds no voice, nothing is."""
        # Activity is sure of a voice only some blocks after its first sound, so those after a moment count for it.
        counted = np.convolve(self._active, np.ones(SURE_BLOCKS + 1))[SURE_BLOCKS : SURE_BLOCKS + _MOMENTS]
        return np.where(counted[:, None] > 0, np.concatenate([self._named, self._guessed]), _SILENT)

    def _over_usual(self, loudness_db: float) -> float:
        usual_db = self._arousal.usual_db
        return 0.0 if usual_db is None else min(max(loudness_db - usual_db, -_MOST_DB), _MOST_DB)


def _pushed(rows: npt.NDArray[R], newest: object) -> npt.NDArray[R]:
    """The rows with a new last one, and without the first."""
    return np.concatenate([rows[1:], np.asarray(newest, rows.dtype)[None]])
