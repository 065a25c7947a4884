"""The pitch of a voice, from 10 ms blocks, by autocorrelation."""

import numpy as np

from appliance.listening.blocks import BLOCK_SAMPLES, RATE
from appliance.values import Float32

LOWEST_HZ, HIGHEST_HZ = 65.0, 450.0

_WINDOW_SAMPLES = 1024  # 64 ms: four periods of the lowest voice
TAIL_SAMPLES = _WINDOW_SAMPLES - BLOCK_SAMPLES
_SPECTRUM_SAMPLES = 2 * _WINDOW_SAMPLES  # so that the correlation does not wrap around
_BINS = 257  # up to 2 kHz: the periods are there, and hiss is not
_LAG_RATE = RATE // 2
_LAGS = _SPECTRUM_SAMPLES // 2
_FIRST, _LAST = int(_LAG_RATE / HIGHEST_HZ), int(_LAG_RATE / LOWEST_HZ)
_WINDOW: Float32 = np.hanning(_WINDOW_SAMPLES).astype(np.float32)
_OCTAVE_COST = 0.02  # a correlation so much lower at half the period still is the voice's
_VOICED = 0.5
_QUIETEST_POWER = 1e-7  # mean square: rounding has periods, too


def _correlations(centred: Float32) -> Float32:
    power = np.abs(np.fft.rfft(centred, _SPECTRUM_SAMPLES)[:, :_BINS]) ** 2
    return np.asarray(np.fft.irfft(power, _LAGS)[:, : _LAST + 2], np.float32)


def _of_window() -> Float32:
    """What the window alone takes away from the correlation at each lag, 1 at none."""
    whole = np.abs(np.fft.rfft(_WINDOW, _SPECTRUM_SAMPLES)) ** 2
    lost = np.fft.irfft(whole)[: 2 * (_LAST + 2) : 2]
    return np.asarray(lost / lost[0], np.float32)


_LOST = _of_window()
_COST: Float32 = (_OCTAVE_COST * np.log2(np.arange(_FIRST, _LAST + 1) / _FIRST)).astype(np.float32)


def pitch_hz(sound: Float32) -> Float32:
    """The pitch of each block of a sound but its first ``TAIL_SAMPLES``, in hertz; 0 where nothing is voiced.

    Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise
    ratio of a sampled sound", 1993: the autocorrelation of the windowed sound divided by the window's
    own, with a cost on longer periods. One window alone, which ends with the block: no path is sought
    through several.
    """
    windows = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW_SAMPLES)[::BLOCK_SAMPLES]
    centred = (windows - windows.mean(axis=1, keepdims=True)) * _WINDOW
    loud = (centred**2).mean(axis=1) >= _QUIETEST_POWER
    correlations = _correlations(centred) / _LOST
    correlations /= np.maximum(correlations[:, :1], np.float32(1e-12))  # that at no lag, where nothing is lost
    lags = _FIRST + np.argmax(correlations[:, _FIRST : _LAST + 1] - _COST, axis=1)
    found = [_at_peak(one, lag) for one, lag in zip(correlations, lags.tolist(), strict=True)]
    return np.where(loud, np.array(found, np.float32), np.float32(0))


def _at_peak(correlation: Float32, lag: int) -> float:
    """The pitch of a period of about ``lag``; 0 where the correlation has no peak there that is a voice's."""
    before, peak, after = correlation[lag - 1 : lag + 2].tolist()
    if peak < _VOICED or peak < before or peak < after:
        return 0.0
    bend = before - 2 * peak + after
    return float(_LAG_RATE / (lag + (0.5 * (before - after) / bend if bend < 0 else 0.0)))
