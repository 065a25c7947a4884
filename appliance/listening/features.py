"""What the viseme network hears: two views of a mel spectrogram, whatever the gain. Training and daemon call this."""

from dataclasses import dataclass

import numpy as np

from appliance.listening.blocks import BLOCK_SAMPLES, RATE
from appliance.values import Float32

MELS = 40
FEATURES = 2 * MELS

_WINDOW_SAMPLES = 400  # 25 ms
_TAIL_SAMPLES = _WINDOW_SAMPLES - BLOCK_SAMPLES
_SPECTRUM_SAMPLES = 512
_LOWEST_HZ, _HIGHEST_HZ = 80.0, 7600.0

# Levels are natural logarithms of power: 1 is 4.34 dB.
_ROUNDING = 1e-10  # about the power that rounding to 16 bits puts into a band
_QUIETEST = -11.5  # no sound is raised above this: a silent room is silence at any gain
_RANGE = 13.0  # 56 dB below the level nothing is told apart
_LEVEL_HOPS = 5  # a click is no voice
_LEVEL_FALL = 0.005  # a hop: 2.2 dB a second
_FLOOR_HOPS = 12  # noise flickers; its mean over 120 ms does less
_FLOOR_RISE = 0.007  # a hop: 3 dB a second


def _mel_bands() -> Float32:
    """Triangles that are even on O'Shaughnessy's mel scale, 2595 log10(1 + f / 700): frequencies x bands."""
    lowest, highest = 2595.0 * np.log10(1.0 + np.array([_LOWEST_HZ, _HIGHEST_HZ]) / 700.0)
    corners_hz = 700.0 * (10.0 ** (np.linspace(lowest, highest, MELS + 2) / 2595.0) - 1.0)
    low, middle, high = corners_hz[:-2], corners_hz[1:-1], corners_hz[2:]
    hz = np.fft.rfftfreq(_SPECTRUM_SAMPLES, 1.0 / RATE)[:, None]
    rise, fall = (hz - low) / (middle - low), (high - hz) / (high - middle)
    return np.asarray(np.maximum(np.minimum(rise, fall), 0.0), np.float32)


_BANDS = _mel_bands()
_HANN: Float32 = np.hanning(_WINDOW_SAMPLES).astype(np.float32)
_HANN /= np.sqrt(np.sum(_HANN**2))  # so that the power of a frequency is that of the sound


@dataclass(frozen=True, slots=True, eq=False)
class FeatureState:
    """What ``features`` remembers of the sound before."""

    tail: Float32  # the last samples
    recent: Float32  # the powers of the last hops, bands x hops, and a row of ones, of zeros before the beginning
    level: float  # of the voice, as far as is known
    floor: Float32  # of the noise in each band


def features(state: FeatureState | None, samples: Float32) -> tuple[FeatureState, Float32]:
    """Take whole 10 ms blocks of 16 kHz mono; return the state for the next, and ``FEATURES`` x hops.

    ``None`` begins. How the sound is cut into calls makes no difference, and no hop looks ahead: the
    last 25 ms of sound make it. Rows 0 to 39 are the bands in relation to the loudest 50 ms so far,
    which fade by 2.2 dB a second: an automatic gain. The others are the bands over their own noise:
    their quietest 120 ms so far, which rise by 3 dB a second. A constant offset has no effect. Values
    lie between -1.25 and 2.25; the first tenth of a second knows least.
    """
    if len(samples) == 0 or len(samples) % BLOCK_SAMPLES:
        raise ValueError(f"features need whole blocks of {BLOCK_SAMPLES} samples, got {len(samples)}")
    if state is None:
        state = _begin(float(samples[0]))
    heard: Float32 = np.concatenate([state.tail, samples.astype(np.float32)])
    powers = _powers(heard)
    counted = np.concatenate([powers, np.ones((1, powers.shape[1]), np.float32)])
    recent: Float32 = np.concatenate([state.recent, counted], axis=1)
    hops = powers.shape[1]
    loudness = np.log(_mean_of_last(recent, _LEVEL_HOPS, hops).sum(axis=0))
    level = np.maximum(_fade(state.level, loudness, _LEVEL_FALL), _QUIETEST)
    quiet = np.log(_mean_of_last(recent, _FLOOR_HOPS, hops))
    floor = -_fade(-state.floor, -quiet, _FLOOR_RISE)
    bands = np.maximum(np.log(powers), level - _RANGE)
    over = np.clip(bands - np.maximum(floor, level - _RANGE), 0.0, _RANGE)
    state = FeatureState(
        heard[-_TAIL_SAMPLES:], recent[:, -_FLOOR_HOPS + 1 :], float(level[-1]), floor[:, -1].astype(np.float32)
    )
    return state, np.concatenate([(bands - level) / 4.0 + 2.0, over / 4.0 - 1.0]).astype(np.float32)


def _begin(offset: float) -> FeatureState:
    """Take what was before the first sample for its constant, which has no power."""
    return FeatureState(
        tail=np.full(_TAIL_SAMPLES, offset, np.float32),
        recent=np.zeros((MELS + 1, _FLOOR_HOPS - 1), np.float32),
        level=_QUIETEST,
        floor=np.full(MELS, np.inf, np.float32),
    )


def _powers(heard: Float32) -> Float32:
    """Bands x hops, the constant part of each window removed."""
    windows = np.lib.stride_tricks.sliding_window_view(heard, _WINDOW_SAMPLES)[::BLOCK_SAMPLES]
    windows = (windows - windows.mean(axis=1, keepdims=True)) * _HANN
    spectrum = np.fft.rfft(windows, _SPECTRUM_SAMPLES)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return np.asarray((power @ _BANDS).T + np.float32(_ROUNDING), np.float32)


def _mean_of_last(recent: Float32, count: int, hops: int) -> Float32:
    """The mean power over each of the last ``hops`` and those before it, ``count`` in all, at the beginning fewer."""
    begin = recent.shape[1] - hops - count + 1
    sums = np.sum([recent[:, first : first + hops] for first in range(begin, begin + count)], axis=0)
    return np.asarray(sums[:-1] / sums[-1], np.float32)


def _fade(before: float | Float32, values: Float32, step: float) -> Float32:
    """The greatest value so far, each lessened by ``step`` for every hop since."""
    since = step * np.arange(1, values.shape[-1] + 1, dtype=np.float32)
    greatest = np.maximum.accumulate(values + since, axis=-1)
    return np.asarray(np.maximum(greatest, np.asarray(before)[..., None]) - since, np.float32)
