"""How excited a voice is, against its own habit. Pure functions of values.

Aroused voices are louder, higher, livelier in pitch and faster: Banse and Scherer, "Acoustic profiles
in vocal emotion expression", Journal of Personality and Social Psychology 70(3), 1996. The measures are
those of the Geneva minimalistic acoustic parameter set (Eyben et al., IEEE Transactions on Affective
Computing 7(2), 2016): loudness, pitch in semitones, how far pitch strays, and peaks of loudness a
second. Which microphone, how far away and whose voice would each weigh more than any excitement: so
all are taken against what this voice did in the last half minute of its speech.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log2, tanh

CALM = 0.5

_STEP_S = 0.01
_NOW_S = 1.0  # what a voice does now is its mean over so much speech,
_HABIT_S = 30.0  # its habit that over so much,
_SETTLED_S = 3.0  # and before so much of it was heard nothing is said of arousal
_FOLLOW_S = 0.5
_CALMING_S = 4.0  # in silence
_GONE_S = 20.0  # after so much silence the next who speaks may be another
_ENVELOPE_S = 0.04
_DIP_DB = 2.0  # between two syllables (de Jong and Wempe, Behavior Research Methods 41(2), 2009)

Measures = tuple[float, ...]
"""Loudness (dB), pitch (semitones), its straying (semitones), syllables a second."""

# What excitement adds to each, and how much each of them says.
_SPAN: Measures = (6.0, 4.0, 1.5, 1.5)
_WEIGHT: Measures = (0.4, 0.35, 0.15, 0.1)
_REACH = 1.3  # spans that all together are nearly everything
_NOTHING: Measures = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ArousalState:
    """What is remembered of one voice."""

    arousal: float = CALM
    spoken_s: float = 0.0
    now: Measures = _NOTHING
    habit: Measures = _NOTHING
    voiced_s: float = 0.0
    envelope_db: float = -120.0
    turn_db: float = -120.0  # the highest of the envelope since it rose, or the lowest since it fell
    rising: bool = False
    silent_s: float = 0.0

    @property
    def usual_db(self) -> float | None:
        """How loud this voice usually is; ``None`` before it was heard."""
        return self.habit[0] if self.voiced_s > 0 else None


def feel(state: ArousalState, active: bool, loudness_db: float, pitch_hz: float) -> ArousalState:
    """Take 10 ms of sound: whether somebody speaks, how loud, how high (0 where nothing is voiced)."""
    if not active:
        return _calm(state, loudness_db)
    envelope_db, turn_db, rising, syllables = _syllables(state, loudness_db)
    spoken_s = state.spoken_s + _STEP_S
    voiced_s = state.voiced_s + (_STEP_S if pitch_hz > 0 else 0.0)
    measured = _measure(state.now, loudness_db, pitch_hz, syllables)
    known_s = (voiced_s, voiced_s, voiced_s, spoken_s)  # loudness and pitch are those of voiced sound
    now = _followed(state.now, measured, known_s, _NOW_S)
    heard = [None if one is None else mean for one, mean in zip(measured, now, strict=True)]
    habit = _followed(state.habit, heard, known_s, _HABIT_S)
    excess = sum(w * (n - h) / s for w, n, h, s in zip(_WEIGHT, now, habit, _SPAN, strict=True))
    goal = CALM + CALM * tanh(_REACH * excess) if spoken_s >= _SETTLED_S else CALM
    arousal = state.arousal + (goal - state.arousal) * _STEP_S / _FOLLOW_S
    return ArousalState(arousal, spoken_s, now, habit, voiced_s, envelope_db, turn_db, rising)


def _calm(state: ArousalState, loudness_db: float) -> ArousalState:
    """Nobody speaks: calm down, and after a while be open for another voice."""
    arousal = state.arousal + (CALM - state.arousal) * _STEP_S / _CALMING_S
    state = replace(state, arousal=arousal, envelope_db=loudness_db, turn_db=loudness_db, rising=False)
    if state.silent_s < _GONE_S:
        return replace(state, silent_s=state.silent_s + _STEP_S)
    return ArousalState(arousal, envelope_db=loudness_db, turn_db=loudness_db, silent_s=state.silent_s)


def _measure(now: Measures, loudness_db: float, pitch_hz: float, syllables: int) -> list[float | None]:
    """The four measures of this moment; ``None`` for what cannot be told."""
    if pitch_hz <= 0:
        return [None, None, None, syllables / _STEP_S]
    semitones = 12 * log2(pitch_hz / 100.0)
    return [loudness_db, semitones, abs(semitones - (now[1] or semitones)), syllables / _STEP_S]


def _followed(means: Measures, values: Sequence[float | None], known_s: Measures, over_s: float) -> Measures:
    """Running means one step later: of all that was heard, until that is the whole span."""
    return tuple(
        mean if value is None else mean + (value - mean) * _STEP_S / min(max(s, _STEP_S), over_s)
        for mean, value, s in zip(means, values, known_s, strict=True)
    )


def _syllables(state: ArousalState, loudness_db: float) -> tuple[float, float, bool, int]:
    """Follow the envelope: it, its last turn, whether it rises, and the syllables that were said.

    One has been said when the envelope rose by ``_DIP_DB`` and fell by as much.
    """
    envelope_db = state.envelope_db + (loudness_db - state.envelope_db) * _STEP_S / _ENVELOPE_S
    turn_db = max(state.turn_db, envelope_db) if state.rising else min(state.turn_db, envelope_db)
    if abs(envelope_db - turn_db) < _DIP_DB:
        return envelope_db, turn_db, state.rising, 0
    return envelope_db, envelope_db, not state.rising, int(state.rising)
