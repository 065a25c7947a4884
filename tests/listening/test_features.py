"""What the viseme network hears is the same however the sound is cut, however loud and however offset it is."""

import numpy as np
import pytest

from appliance.listening.blocks import BLOCK_SAMPLES
from appliance.listening.features import FEATURES, MELS, features
from appliance.values import Float32

HOPS = 300


@pytest.fixture
def syllables() -> Float32:
    """Three seconds: a buzz of 140 Hz that comes and goes four times a second, over noise."""
    time_s = np.arange(HOPS * BLOCK_SAMPLES) / 16_000
    buzz = sum(np.sin(2 * np.pi * 140 * harmonic * time_s) / harmonic for harmonic in range(1, 30))
    noise = np.random.default_rng(1).normal(size=len(time_s))
    return (0.1 * buzz * np.maximum(np.sin(2 * np.pi * 4 * time_s), 0) + 5e-3 * noise).astype(np.float32)


def whole(sound: Float32) -> Float32:
    return features(None, sound)[1]


@pytest.mark.parametrize("hops", [1, 7, 100])
def test_sound_in_pieces_gives_what_the_whole_gives(syllables: Float32, hops: int) -> None:
    state, parts = None, []
    for start in range(0, len(syllables), hops * BLOCK_SAMPLES):
        state, part = features(state, syllables[start : start + hops * BLOCK_SAMPLES])
        parts.append(part)

    assert np.concatenate(parts, axis=1) == pytest.approx(whole(syllables), abs=1e-4)


def test_a_hop_is_one_column_of_both_views(syllables: Float32) -> None:
    _, column = features(None, syllables[:BLOCK_SAMPLES])

    assert column.shape == (FEATURES, 1)
    assert column.dtype == np.float32


@pytest.mark.parametrize("gain_db", [-40, -20, 10])
def test_gain_changes_nothing(syllables: Float32, gain_db: int) -> None:
    louder = syllables * np.float32(10 ** (gain_db / 20))

    heard = np.abs(whole(louder) - whole(syllables))[:, 20:]

    assert heard.mean() < 0.02


def test_rounding_to_16_bits_at_40_db_less_leaves_the_voice(syllables: Float32) -> None:
    rounded = (np.round(syllables * 0.01 * 32768) / 32768).astype(np.float32)
    voiced = whole(syllables)[:MELS].max(axis=0) > 0.5

    heard = np.abs(whole(rounded) - whole(syllables))[:MELS, voiced]

    assert heard.mean() < 0.25


def test_a_constant_offset_changes_nothing(syllables: Float32) -> None:
    assert whole(syllables + np.float32(0.2)) == pytest.approx(whole(syllables), abs=0.01)


def test_later_sound_changes_nothing_before_it(syllables: Float32) -> None:
    other = syllables.copy()
    other[150 * BLOCK_SAMPLES :] = 0.9

    assert np.array_equal(whole(other)[:, :150], whole(syllables)[:, :150])


def test_steady_noise_is_told_from_what_rises_above_it(syllables: Float32) -> None:
    noise = 0.05 * np.random.default_rng(2).normal(size=len(syllables)).astype(np.float32)

    over_noise = whole(noise)[MELS:, 100:].mean()
    over_voice = whole(noise + syllables)[MELS:, 100:].max(axis=1)[:10].mean()

    assert over_voice > over_noise + 0.5


def test_silence_is_finite_and_alike() -> None:
    heard = whole(np.zeros(HOPS * BLOCK_SAMPLES, np.float32))

    assert np.isfinite(heard).all()
    assert np.ptp(heard[:, 1:], axis=1).max() < 1e-3


@pytest.mark.parametrize("samples", [0, 159, 161])
def test_a_part_of_a_block_is_refused(samples: int) -> None:
    with pytest.raises(ValueError, match=f"whole blocks of 160 samples, got {samples}"):
        features(None, np.zeros(samples, np.float32))
