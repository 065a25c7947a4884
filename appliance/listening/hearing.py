"""From the sound of one microphone to what its voice does, block by block, the same live and in a replay."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from appliance.avatar.channels import VISEMES
from appliance.listening.arousal import ArousalState, feel
from appliance.listening.blocks import BLOCK_NS, BLOCK_SAMPLES
from appliance.listening.pitch import TAIL_SAMPLES, pitch_hz
from appliance.listening.viseme_network import GUESS_BLOCKS, SURE_BLOCKS, VisemeNetwork
from appliance.listening.voice import VoiceState, hear
from appliance.values import Float32, Sound, Speech, Voice

_MOMENTS = 32  # coarticulation looks a tenth of a second back, and a slow camera lags behind by two
_GUESSES = SURE_BLOCKS - GUESS_BLOCKS  # moments that are guessed at, and not yet sure
_SPEAKING = 0.5  # so sure must the network have been in the moments kept that they hold speech
_LOUDEST = 2.0  # samples beyond full scale come from resampling, or are no sound
_MOST_DB = 30.0

R = TypeVar("R", bound=np.generic)

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
        """Take one block; say what the voice does. Without ``visemes`` its network is let go until they are wanted."""
        samples = np.clip(np.nan_to_num(sound.samples), -_LOUDEST, _LOUDEST)
        self._voice, active, level = hear(self._voice, samples)
        loudness_db = 10 * float(np.log10(max(2 * self._voice.power, 1e-12)))
        self._active = _pushed(self._active, active)
        self._loudness_db = _pushed(self._loudness_db, self._over_usual(loudness_db))
        if self._network is not None and not visemes:
            self._network.rest()
        if self._network is None or not visemes:
            arousal = self._feel(samples, active, loudness_db)
            return Voice(self._microphone, sound.heard_ns, active, level, arousal)
        speech = self._say(self._network, samples, sound.heard_ns)
        speaks = active and bool((speech.visemes @ _SILENT).min() < 1 - _SPEAKING)
        arousal = self._feel(samples, speaks, loudness_db)
        return Voice(self._microphone, sound.heard_ns, speaks, level, arousal, speech.visemes[-1 - _GUESSES], speech)

    def _feel(self, samples: Float32, speaks: bool, loudness_db: float) -> float:
        """How excited the voice is; neither music nor noise is."""
        window = np.concatenate([self._tail, samples])
        self._tail = window[BLOCK_SAMPLES:]
        self._arousal = feel(self._arousal, speaks, loudness_db, pitch_hz(window) if speaks else 0.0)
        return self._arousal.arousal

    def _say(self, network: VisemeNetwork, samples: Float32, heard_ns: int) -> Speech:
        """What is said, moment by moment; where voice activity finds no voice, nothing is."""
        named, guessed = network.name(samples)
        self._named, self._guessed = _pushed(self._named, named), _pushed(self._guessed, guessed)
        # Activity is sure of a voice only some blocks after its first sound, so those after a moment count for it.
        counted = np.convolve(self._active, np.ones(SURE_BLOCKS + 1))[SURE_BLOCKS : SURE_BLOCKS + _MOMENTS]
        visemes = np.where(counted[:, None] > 0, np.concatenate([self._named, self._guessed]), _SILENT)
        sure_ns, newest_ns = (heard_ns - blocks * BLOCK_NS for blocks in (SURE_BLOCKS, GUESS_BLOCKS))
        return Speech(sure_ns, newest_ns, visemes, self._loudness_db[:_MOMENTS])

    def _over_usual(self, loudness_db: float) -> float:
        usual_db = self._arousal.usual_db
        return 0.0 if usual_db is None else min(max(loudness_db - usual_db, -_MOST_DB), _MOST_DB)


def _pushed(rows: npt.NDArray[R], newest: object) -> npt.NDArray[R]:
    """The rows with a new last one, and without the first."""
    return np.concatenate([rows[1:], np.asarray(newest, rows.dtype)[None]])
