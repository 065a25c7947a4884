"""Loudness, and whether somebody speaks, from 10 ms blocks. Pure functions of values."""

from dataclasses import dataclass, field
from math import log10

import numpy as np

from appliance.listening.blocks import BLOCK_SAMPLES
from appliance.values import Float32

SILENT_DBFS = -60.0
"""The loudness that is level 0. Level 1 is 0 dBFS, and between them it is linear in decibels."""

_WINDOW_SAMPLES = 512  # 32 ms, of which each block renews 10
_TAIL_SAMPLES = _WINDOW_SAMPLES - BLOCK_SAMPLES
_WINDOW: Float32 = np.hanning(_WINDOW_SAMPLES).astype(np.float32)
_BAND = slice(4, 129)  # of 31.25 Hz each: 125 Hz to 4 kHz, above mains hum, where speech is
_BINS = 125

# Time constants: x' = keep * x + (1 - keep) * new, once a block.
_KEEP_OFFSET = 0.98
_KEEP_POWER = 0.7
_KEEP_NOISE = 0.87  # 0.8 at the paper's 16 ms
_KEEP_PRESENCE = 0.94  # 0.9 at the paper's 16 ms
_KEEP_SPEECH = 0.97  # of the decision-directed estimate

_PRIOR_SNR = 10.0**1.5  # 15 dB, what speech is taken to have where it is present
_FLOOR_DBFS = -75.0  # noise is never taken to be less: rounding and dither are no room
_FLOOR_POWER = 10.0 ** (_FLOOR_DBFS / 10.0) / 2.0 * float(np.sum(_WINDOW**2))
_SPEECH_RATIO = 0.6  # mean log likelihood ratio from which a block is speech
_ONSET_BLOCKS = 5  # so many in a row make a voice: a click stays in the window for 4
_HOLD_BLOCKS = 20  # so long after the last it is held: stops and breaths are part of speech


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """What is known of a room's noise and of the speech in it, by frequency."""

    noise: Float32  # power
    speech: Float32  # power
    presence: Float32  # of speech, 0..1


@dataclass(frozen=True, slots=True, eq=False)
class VoiceState:
    """What ``hear`` remembers from block to block."""

    tail: Float32 = field(default_factory=lambda: np.zeros(0, np.float32))
    offset: float | None = None  # the microphone's constant part
    power: float = 0.0
    room: Room | None = None  # None before a whole window was heard
    run_blocks: int = 0
    hold_blocks: int = 0


def hear(state: VoiceState, samples: Float32) -> tuple[VoiceState, bool, float]:
    """Take one block; return the state for the next, whether a voice speaks, and the level 0..1."""
    mean = float(samples.mean())
    offset = mean if state.offset is None else _KEEP_OFFSET * state.offset + (1 - _KEEP_OFFSET) * mean
    centred = samples - np.float32(offset)
    power = _KEEP_POWER * state.power + (1 - _KEEP_POWER) * float(centred @ centred) / BLOCK_SAMPLES
    window = np.concatenate([state.tail, centred])[-_WINDOW_SAMPLES:]
    room, ratio = _listen(state.room, window) if len(window) == _WINDOW_SAMPLES else (None, 0.0)
    run_blocks = state.run_blocks + 1 if ratio > _SPEECH_RATIO else 0
    hold_blocks = _HOLD_BLOCKS if run_blocks >= _ONSET_BLOCKS else max(state.hold_blocks - 1, 0)
    state = VoiceState(window[-_TAIL_SAMPLES:], offset, power, room, run_blocks, hold_blocks)
    return state, hold_blocks > 0, level_of(power)


def level_of(power: float) -> float:
    """Loudness 0..1 of a mean square; as in AES17, a sine that reaches full scale is 0 dBFS."""
    dbfs = 10.0 * log10(max(2.0 * power, 1e-12))
    return min(max(1.0 - dbfs / SILENT_DBFS, 0.0), 1.0)


def _listen(room: Room | None, window: Float32) -> tuple[Room, float]:
    """Mean log likelihood ratio of speech over noise: Sohn, Kim and Sung, "A statistical model-based
    voice activity detection", IEEE Signal Processing Letters 6(1), 1999, with its decision-directed
    estimate of the speech, and the noise tracked as in ``_next_noise``.
    """
    power: Float32 = (np.abs(np.fft.rfft(window * _WINDOW)[_BAND]) ** 2).astype(np.float32)
    if room is None:
        return _enter(power), 0.0
    posterior = power / room.noise
    prior = _KEEP_SPEECH * room.speech / room.noise + (1 - _KEEP_SPEECH) * np.maximum(posterior - 1.0, 0.0)
    gain = prior / (1.0 + prior)
    ratio = float((np.minimum(posterior, 1000.0) * gain - np.log1p(prior)).mean())
    noise, presence = _next_noise(room.noise, room.presence, power)
    return Room(noise, gain**2 * power, presence), ratio


def _enter(power: Float32) -> Room:
    """Take the first window for noise, smoothed over neighbours; speech in it is unlearned in 0.1 s."""
    smooth = np.convolve(np.pad(power, 8, mode="edge"), np.full(17, 1 / 17), mode="valid").astype(np.float32)
    nothing: Float32 = np.zeros(_BINS, np.float32)
    return Room(np.maximum(smooth, np.float32(_FLOOR_POWER)), nothing, nothing)


def _next_noise(noise: Float32, presence: Float32, power: Float32) -> tuple[Float32, Float32]:
    """Track noise through speech: Gerkmann and Hendriks, "Unbiased MMSE-based noise power estimation
    with low complexity and low tracking delay", IEEE TASLP 20(4), 2012, equations 17 to 22.
    """
    absent = (1.0 + _PRIOR_SNR) * np.exp(-power / noise * (_PRIOR_SNR / (1.0 + _PRIOR_SNR)))
    speech = 1.0 / (1.0 + absent)
    presence = (_KEEP_PRESENCE * presence + (1 - _KEEP_PRESENCE) * speech).astype(np.float32)
    speech = np.where(presence > 0.99, np.minimum(speech, 0.99), speech)
    guess = (1.0 - speech) * power + speech * noise
    noise = (_KEEP_NOISE * noise + (1 - _KEEP_NOISE) * guess).astype(np.float32)
    return np.maximum(noise, np.float32(_FLOOR_POWER)), presence
