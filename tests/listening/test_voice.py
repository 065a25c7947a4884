from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from appliance.listening.voice import VoiceState, hear

Sine = Callable[..., npt.NDArray[np.float32]]
Samples = npt.NDArray[np.float32]


def listen(samples: Samples) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Whether a voice is active and how loud it is, block by block."""
    state, active, levels = VoiceState(), [], []
    for start in range(0, len(samples) - 159, 160):
        state, speaks, level = hear(state, samples[start : start + 160].astype(np.float32))
        active.append(speaks)
        levels.append(level)
    return np.array(active), np.array(levels)


def noise(dbfs: float, seconds: float, seed: int = 1) -> Samples:
    samples = np.random.default_rng(seed).standard_normal(round(16000 * seconds))
    return (10 ** ((dbfs - 3.01) / 20) * samples).astype(np.float32)


def vowels(dbfs: float, seconds: float) -> Samples:
    """Something like speech: a gliding pitch through three formants, in syllables of 0.2 s."""
    times_s = np.arange(round(16000 * seconds)) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 1.3 * times_s)) / 16000
    sound = np.zeros(len(times_s))
    for harmonic in range(1, 30):
        gain = sum(np.exp(-(((harmonic * 120 - formant) / 150) ** 2)) for formant in (600, 1200, 2500))
        sound += (gain + 0.02) * np.sin(harmonic * phase)
    sound *= 0.5 - 0.5 * np.cos(2 * np.pi * times_s / 0.2)
    scaled: Samples = (sound / np.sqrt(np.mean(sound**2)) * 10 ** ((dbfs - 3.01) / 20)).astype(np.float32)
    return scaled


@pytest.mark.parametrize(
    ("dbfs", "level"), [(-80.0, 0.0), (-60.0, 0.0), (-40.0, 1 / 3), (-20.0, 2 / 3), (-6.0, 0.9), (0.0, 1.0)]
)
@pytest.mark.parametrize("hz", [100.0, 1000.0, 7000.0])
def test_the_level_of_a_sine_is_linear_in_decibels(sine: Sine, dbfs: float, level: float, hz: float) -> None:
    _, levels = listen(sine(dbfs, hz=hz))

    assert levels[50:] == pytest.approx(level, abs=0.005)


def test_clipped_sound_is_as_loud_as_can_be(sine: Sine) -> None:
    _, levels = listen(np.clip(sine(20.0), -1, 1))

    assert set(levels[50:]) == {1.0}


@pytest.mark.parametrize("offset", [-0.5, 0.02, 0.4])
def test_a_constant_offset_is_not_loudness(sine: Sine, offset: float) -> None:
    _, levels = listen(sine(-40.0, 2.0) + np.float32(offset))
    active, silence = listen(np.full(32000, offset, np.float32))

    assert levels[50:] == pytest.approx(1 / 3, abs=0.005)
    assert not silence.any()
    assert not active.any()


def test_the_level_follows_a_syllable_within_50_ms(sine: Sine) -> None:
    _, levels = listen(np.concatenate([np.zeros(8000, np.float32), sine(-20.0, 0.5), np.zeros(16000, np.float32)]))

    assert levels[:50].max() == 0.0
    assert levels[55] == pytest.approx(2 / 3, abs=0.05)
    assert levels[130] < 0.1


@pytest.mark.parametrize("dbfs", [-90.0, -60.0, -40.0, -20.0])
def test_steady_noise_is_no_voice(dbfs: float) -> None:
    active, _ = listen(noise(dbfs, 20.0))

    assert active.mean() < 0.01


def test_digital_silence_is_no_voice() -> None:
    active, levels = listen(np.zeros(16000, np.float32))

    assert not active.any()
    assert not levels.any()


def test_mains_hum_is_no_voice(sine: Sine) -> None:
    hum = sine(-20.0, 10.0, hz=50.0) + sine(-30.0, 10.0, hz=150.0) + sine(-36.0, 10.0, hz=250.0) + noise(-60.0, 10.0)

    active, _ = listen(hum)

    assert not active[100:].any()


def test_a_click_is_no_voice() -> None:
    sound = noise(-60.0, 4.0)
    sound[32000:32020] += 0.8

    active, _ = listen(sound)

    assert not active.any()


@pytest.mark.parametrize(
    ("speech_dbfs", "noise_dbfs"), [(-20.0, -90.0), (-20.0, -50.0), (-20.0, -30.0), (-45.0, -65.0)]
)
def test_speech_is_found_in_noise_and_let_go_after(speech_dbfs: float, noise_dbfs: float) -> None:
    sound = noise(noise_dbfs, 6.0)
    sound[32000:64000] += vowels(speech_dbfs, 2.0)

    active, _ = listen(sound)

    assert not active[:200].any()
    assert active[210:400].mean() > 0.98
    assert not active[440:].any()  # let go within 0.4 s


def test_speech_from_the_first_block_on_is_found() -> None:
    active, _ = listen(vowels(-20.0, 2.0) + noise(-60.0, 2.0))

    assert active[50:].mean() > 0.9


def test_a_fan_that_starts_is_unlearned_in_six_seconds() -> None:
    active, _ = listen(np.concatenate([noise(-60.0, 4.0), noise(-40.0, 12.0)]))

    assert not active[:400].any()
    assert not active[1000:].any()


def test_the_same_sound_gives_the_same_answer() -> None:
    sound = vowels(-30.0, 1.0) + noise(-50.0, 1.0)

    first, second = listen(sound), listen(sound)

    np.testing.assert_array_equal(first, second)
