"""What speech is heard through and over: rooms, microphones, noise, music, babble. All made up, none recorded."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance.listening.blocks import RATE
from appliance.values import Float32

_SEMITONE = 2.0 ** (1 / 12)
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10))
_CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 11), (0, 3, 7, 10), (0, 5, 7))


def rms(sound: npt.NDArray[np.floating[Any]]) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(sound**2)) + 1e-9)


def noise(chance: np.random.Generator, count: int) -> Float32:
    """Noise of unit power: white to brown, with a few hums and bumps, steady or swelling."""
    spectrum = np.fft.rfft(chance.standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / RATE)
    spectrum /= np.maximum(hz, 20.0) ** chance.uniform(0.0, 1.2)
    for _ in range(chance.integers(0, 4)):
        middle_hz, width = np.exp(chance.uniform(np.log(60), np.log(6000))), chance.uniform(0.05, 0.6)
        spectrum *= 1 + chance.uniform(0, 8) * np.exp(-((np.log(np.maximum(hz, 1) / middle_hz) / width) ** 2))
    sound = np.fft.irfft(spectrum, count)
    if chance.random() < 0.4:
        sound *= _swell(chance, count)
    if chance.random() < 0.3:  # mains
        time_s = np.arange(count) / RATE
        for harmonic in range(1, 6):
            sound += rms(sound) * chance.uniform(0, 0.5) * np.sin(2 * np.pi * 50 * harmonic * time_s)
    return np.asarray(sound / rms(sound), np.float32)


def _swell(chance: np.random.Generator, count: int) -> Float32:
    points = max(int(count / RATE * chance.uniform(0.5, 6)), 2)
    level_db = np.interp(np.linspace(0, points - 1, count), np.arange(points), chance.uniform(-18, 0, points))
    return np.asarray(10 ** (level_db / 20), np.float32)


def knocks(chance: np.random.Generator, count: int) -> Float32:
    """Clicks, taps and bangs of unit power."""
    sound = np.zeros(count, np.float32)
    for _ in range(chance.integers(1, max(int(count / RATE * 3), 2))):
        size = int(RATE * chance.uniform(0.003, 0.15))
        burst = chance.standard_normal(size) * np.exp(-np.arange(size) / (size * chance.uniform(0.1, 0.4)))
        start = int(chance.integers(0, count))
        sound[start : start + size] += (burst * chance.uniform(0.2, 1.0))[: count - start]
    sound = _shaped(chance, sound)
    return np.asarray(sound / rms(sound), np.float32)


def _shaped(chance: np.random.Generator, sound: Float32) -> Float32:
    low, high = np.exp(chance.uniform(np.log(40), np.log(600))), np.exp(chance.uniform(np.log(1500), np.log(7500)))
    return passed(sound, float(low), float(high), 1)


def passed(sound: Float32, low_hz: float | None, high_hz: float | None, order: int) -> Float32:
    """What is left between two frequencies, with Butterworth's slopes and no delay."""
    hz = np.maximum(np.fft.rfftfreq(len(sound), 1 / RATE), 1.0)
    gain = np.ones_like(hz)
    if low_hz is not None:
        gain /= np.sqrt(1 + (low_hz / hz) ** (2 * order))
    if high_hz is not None:
        gain /= np.sqrt(1 + (hz / high_hz) ** (2 * order))
    return np.asarray(np.fft.irfft(np.fft.rfft(sound) * gain, len(sound)), np.float32)


def music(chance: np.random.Generator, count: int) -> Float32:
    """A piece of unit power: some of pad, chords, arpeggio, bass, tune and drums, in one key and one tempo."""
    beat = int(RATE * 60 / chance.uniform(60, 170))
    root_hz = 55 * _SEMITONE ** chance.integers(0, 12)
    scale = _SCALES[chance.integers(len(_SCALES))]
    parts: list[Callable[[], Float32]] = [
        lambda: _chords(chance, count, root_hz, beat * int(chance.choice([2, 4, 8])), slow=True),
        lambda: _chords(chance, count, root_hz, beat, slow=False),
        lambda: _tune(chance, count, root_hz * 4, scale, beat // int(chance.choice([2, 3, 4]))),
        lambda: _tune(chance, count, root_hz * 8, scale, beat),
        lambda: _tune(chance, count, root_hz, scale[:3], beat),
        lambda: _drums(chance, count, beat // 2),
    ]
    chosen = chance.permutation(len(parts))[: chance.integers(1, len(parts) + 1)]
    sound = np.zeros(count, np.float32)
    for index in chosen:
        part = parts[index]()
        sound += part / rms(part) * 10 ** (chance.uniform(-12, 0) / 20)
    if chance.random() < 0.5:
        sound = room(chance, sound)
    if chance.random() < 0.5:
        sound = np.tanh(sound / rms(sound) * chance.uniform(0.3, 1.5)).astype(np.float32)  # a loudness maximiser
    return np.asarray(sound / rms(sound), np.float32)


def _note(chance: np.random.Generator, hz: float, count: int, attack_s: float, decay_s: float) -> Float32:
    """Harmonics that fall off, with vibrato, struck or swelling."""
    time_s = np.arange(count) / RATE
    bend = chance.uniform(0, 0.006) * np.sin(2 * np.pi * chance.uniform(4, 7) * time_s) / 5
    phase = 2 * np.pi * hz * (time_s + bend * 0.1)
    falloff, odd = chance.uniform(0.6, 2.2), chance.uniform(0.2, 1.0)
    harmonics = min(int(7500 / hz), int(chance.integers(1, 14)))
    sound = np.zeros(count)
    for harmonic in range(1, max(harmonics, 1) + 1):
        sound += (
            (odd if harmonic % 2 == 0 else 1.0) / harmonic**falloff * np.sin(harmonic * phase + chance.uniform(0, 6))
        )
    return np.asarray(sound * np.minimum(time_s / attack_s, 1) * np.exp(-time_s / decay_s), np.float32)


def _chords(chance: np.random.Generator, count: int, root_hz: float, step: int, slow: bool) -> Float32:
    sound = np.zeros(count, np.float32)
    attack_s, decay_s = (chance.uniform(0.1, 0.5), 8.0) if slow else (0.005, chance.uniform(0.1, 1.0))
    for start in range(0, count, step):
        base_hz = root_hz * 2 * _SEMITONE ** int(chance.choice([0, 5, 7, 9, -3]))
        for interval in _CHORDS[chance.integers(len(_CHORDS))]:
            size = min(step, count - start)
            sound[start : start + size] += _note(chance, base_hz * _SEMITONE**interval, size, attack_s, decay_s)
    return sound


def _tune(chance: np.random.Generator, count: int, root_hz: float, scale: tuple[int, ...], step: int) -> Float32:
    sound = np.zeros(count, np.float32)
    attack_s, decay_s = chance.choice([0.004, 0.03, 0.08]), chance.uniform(0.08, 1.5)
    for start in range(0, count, step):
        if chance.random() < 0.8:
            size = min(int(step * chance.choice([1, 1, 2])), count - start)
            hz = root_hz * _SEMITONE ** scale[chance.integers(len(scale))]
            sound[start : start + size] += _note(chance, hz, size, attack_s, decay_s)
    return sound


def _drums(chance: np.random.Generator, count: int, step: int) -> Float32:
    sound = np.zeros(count, np.float32)
    time_s = np.arange(int(0.3 * RATE)) / RATE
    kick = np.sin(2 * np.pi * (50 * time_s + 8 * (1 - np.exp(-time_s * 30)))) * np.exp(-time_s * 14)
    snare = chance.standard_normal(len(time_s)) * np.exp(-time_s * 25) + 0.5 * np.sin(
        2 * np.pi * 190 * time_s
    ) * np.exp(-time_s * 20)
    hat = np.diff(chance.standard_normal(len(time_s) + 1)) * np.exp(-time_s * chance.uniform(30, 90))
    for beat, start in enumerate(range(0, count, step)):
        size = min(len(time_s), count - start)
        hit = (
            0.4 * hat * chance.uniform(0.3, 1) + (kick if beat % 4 == 0 else 0) + (snare * 0.7 if beat % 4 == 2 else 0)
        )
        sound[start : start + size] += np.asarray(hit, np.float32)[:size]
    return sound


def babble(chance: np.random.Generator, count: int, voices: list[Float32]) -> Float32:
    """Several of the voices at once, of unit power together."""
    sound = np.zeros(count, np.float32)
    for voice in voices:
        sound += np.roll(np.resize(voice / rms(voice), count), int(chance.integers(count))) * chance.uniform(0.4, 1.0)
    return np.asarray(sound / rms(sound), np.float32)


def room(chance: np.random.Generator, sound: Float32) -> Float32:
    """Reverberation: exponentially dying noise after the direct sound, darker as it dies."""
    count = int(RATE * chance.uniform(0.08, 0.7))
    dying = chance.standard_normal(count) * np.exp(-6.9 * np.arange(count) / count)
    tail = passed(dying.astype(np.float32), None, chance.uniform(1500, 7000), 1)
    tail[: int(RATE * chance.uniform(0.001, 0.012))] = 0
    tail *= chance.uniform(0.05, 0.7) / np.sqrt(np.sum(tail**2) + 1e-9)
    tail[0] = 1.0
    size = 1 << (len(sound) + count - 1).bit_length()
    return np.asarray(np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)[: len(sound)], np.float32)


def tilted(chance: np.random.Generator, sound: Float32, most_db: float = 9.0) -> Float32:
    """Another microphone: up to so many decibels more or less, smoothly over frequency."""
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    gain_db = np.interp(hz, (0, 150, 400, 1000, 2200, 4500, 8000), chance.uniform(-most_db, most_db, 7))
    return np.asarray(np.fft.irfft(np.fft.rfft(sound) * 10 ** (gain_db / 20), len(sound)), np.float32)


def narrowed(chance: np.random.Generator, sound: Float32) -> Float32:
    """A telephone, a low sampling rate, or a microphone without lows."""
    kind = chance.integers(3)
    if kind == 0:
        return passed(sound, chance.uniform(200, 350), chance.uniform(3200, 3600), 5)
    if kind == 1:
        return passed(sound, None, chance.uniform(3400, 7500), 8)
    return passed(sound, chance.uniform(80, 350), None, 2)


def captured(chance: np.random.Generator, sound: Float32) -> Float32:
    """The sound as a card delivers it: some gain, clipped in one case of eight, offset in one of six, 16 bits."""
    peak_db = chance.uniform(-46, 0) if chance.random() < 0.5 else chance.uniform(-25, 0)
    sound = sound / (np.abs(sound).max() + 1e-6) * 10 ** (peak_db / 20)
    if chance.random() < 0.12:
        limit = np.abs(sound).max() * chance.uniform(0.15, 0.7)
        sound = np.clip(sound, -limit, limit)
    if chance.random() < 0.17:
        sound = sound + chance.uniform(-0.05, 0.05)
    return np.asarray(np.round(np.clip(sound, -1, 1) * 32767) / 32768, np.float32)
