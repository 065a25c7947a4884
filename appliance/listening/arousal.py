"""How excited a voice is, against its own habit. Pure functions of values.

Aroused voices are louder, higher, livelier in pitch and faster: Banse and Scherer, "Acoustic profiles
in vocal emotion expression", Journal of Personality and Social Psychology 70(3), 1996. The measures are
those of the Geneva minimalistic acoustic parameter set (Eyben et al., IEEE Transactions on Affective
Computing 7(2), 2016): loudness, pitch in semitones, how far pitch strays, and peaks of loudness a
second. Which microphone, how far away and whose voice would each weigh more than any excitement: so
all are taken against what this voice did in the last half minute of its speech.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from appliance.values import Float32

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

# Loudness (dB), pitch (semitones), its straying (semitones), syllables a second: what excitement adds,
# and how much each of them says.
_SPAN: Float32 = np.array([6.0, 4.0, 1.5, 1.5], np.float32)
_WEIGHT: Float32 = np.array([0.4, 0.35, 0.15, 0.1], np.float32)
_REACH = 1.3  # spans that all together are nearly everything
_NOTHING: Float32 = np.zeros(4, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class ArousalState:
    """What is remembered of one voice."""

    arousal: float = CALM
    spoken_s: float = 0.0
    now: Float32 = field(default_factory=_NOTHING.copy)
    habit: Float32 = field(default_factory=_NOTHING.copy)
    voiced_s: float = 0.0
    envelope_db: float = -120.0
    turn_db: float = -120.0  # the highest of the envelope since it rose, or the lowest since it fell
    rising: bool = False
    silent_s: float = 0.0

    @property
    def usual_db(self) -> float | None:
        """How loud this voice usually is; ``None`` before it was heard."""
        return float(self.habit[0]) if self.voiced_s > 0 else None


def feel(state: ArousalState, active: bool, loudness_db: float, pitch_hz: float) -> ArousalState:
    """Take 10 ms of sound: whether somebody speaks, how loud, how high (0 where nothing is voiced)."""
    if not active:
        return _calm(state, loudness_db)
    state, syllables = _syllables(state, loudness_db)
    state = replace(state, spoken_s=state.spoken_s + _STEP_S, silent_s=0.0)
    if pitch_hz > 0:
        state = replace(state, voiced_s=state.voiced_s + _STEP_S)
    now, habit = state.now.copy(), state.habit.copy()
    measured, known_s = _measure(now, loudness_db, pitch_hz, syllables), _known(state)
    heard = ~np.isnan(measured)
    now[heard] += (measured - now)[heard] * _shares(known_s, _NOW_S)[heard]
    habit[heard] += (now - habit)[heard] * _shares(known_s, _HABIT_S)[heard]
    excess = float(_WEIGHT @ ((now - habit) / _SPAN))
    goal = CALM + CALM * float(np.tanh(_REACH * excess)) if state.spoken_s >= _SETTLED_S else CALM
    arousal = state.arousal + (goal - state.arousal) * _STEP_S / _FOLLOW_S
    return replace(state, arousal=arousal, now=now, habit=habit)


def _calm(state: ArousalState, loudness_db: float) -> ArousalState:
    """Nobody speaks: calm down, and after a while be open for another voice."""
    arousal = state.arousal + (CALM - state.arousal) * _STEP_S / _CALMING_S
    state = replace(state, arousal=arousal, envelope_db=loudness_db, turn_db=loudness_db, rising=False)
    if state.silent_s < _GONE_S:
        return replace(state, silent_s=state.silent_s + _STEP_S)
    return ArousalState(arousal, envelope_db=loudness_db, turn_db=loudness_db, silent_s=state.silent_s)


def _measure(now: Float32, loudness_db: float, pitch_hz: float, syllables: int) -> Float32:
    """The four measures of this moment; what cannot be told is not a number."""
    if pitch_hz <= 0:
        return np.array([np.nan, np.nan, np.nan, syllables / _STEP_S], np.float32)
    semitones = 12 * float(np.log2(pitch_hz / 100.0))
    usual = float(now[1]) if now[1] else semitones
    return np.array([loudness_db, semitones, abs(semitones - usual), syllables / _STEP_S], np.float32)


def _known(state: ArousalState) -> Float32:
    """For how long each measure has been taken; loudness and pitch are those of voiced sound."""
    return np.array([state.voiced_s, state.voiced_s, state.voiced_s, state.spoken_s], np.float32)


def _shares(known_s: Float32, over_s: float) -> Float32:
    """What part of a running mean one more step is: of all that was heard, until that is the whole span."""
    return np.asarray(_STEP_S / np.clip(known_s, _STEP_S, over_s), np.float32)


def _syllables(state: ArousalState, loudness_db: float) -> tuple[ArousalState, int]:
    """Follow the envelope; a syllable has been said when it rose by ``_DIP_DB`` and fell by as much."""
    envelope_db = state.envelope_db + (loudness_db - state.envelope_db) * _STEP_S / _ENVELOPE_S
    turn_db = max(state.turn_db, envelope_db) if state.rising else min(state.turn_db, envelope_db)
    if abs(envelope_db - turn_db) < _DIP_DB:
        return replace(state, envelope_db=envelope_db, turn_db=turn_db), 0
    said = int(state.rising)
    return replace(state, envelope_db=envelope_db, turn_db=envelope_db, rising=not state.rising), said
