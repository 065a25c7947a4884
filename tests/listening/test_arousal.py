"""How excited a voice is against its habit, and how high it is: made voices whose every measure is known."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from appliance.listening.arousal import CALM, ArousalState, feel
from appliance.listening.pitch import TAIL_SAMPLES, pitch_hz
from appliance.values import Float32

from .test_voice import noise

BLOCK = 160


def hum(hz: float, seconds: float = 0.1, dbfs: float = -20.0) -> Float32:
    """A voiced sound: harmonics that fall by 6 dB an octave."""
    times_s = np.arange(round(16000 * seconds)) / 16000
    sound = sum(np.sin(2 * np.pi * hz * k * times_s + k) / k for k in range(1, int(7000 / hz)))
    scaled: Float32 = (sound / np.sqrt(np.mean(np.square(sound))) * 10 ** (dbfs / 20)).astype(np.float32)
    return scaled


@pytest.mark.parametrize("hz", [70.0, 85.0, 110.0, 150.0, 210.0, 300.0, 400.0, 440.0])
@pytest.mark.parametrize("dbfs", [-50.0, -6.0])
def test_the_pitch_of_a_voiced_sound_is_found_within_half_a_percent(hz: float, dbfs: float) -> None:
    window = hum(hz, dbfs=dbfs)[: TAIL_SAMPLES + BLOCK]

    assert pitch_hz(window) == pytest.approx(hz, rel=0.005)


@pytest.mark.parametrize("hz", [90.0, 210.0])
def test_pitch_is_found_in_noise_with_an_offset_and_without_the_fundamental(hz: float) -> None:
    size = TAIL_SAMPLES + BLOCK
    noisy = hum(hz)[:size] + noise(-27.0, 0.1)[:size] + np.float32(0.3)
    times_s = np.arange(size) / 16000
    telephone = sum(np.sin(2 * np.pi * hz * k * times_s) for k in range(4, 9)).astype(np.float32) / 20

    assert pitch_hz(noisy) == pytest.approx(hz, rel=0.02)
    assert pitch_hz(telephone) == pytest.approx(hz, rel=0.02)


def test_noise_and_silence_have_no_pitch() -> None:
    size = TAIL_SAMPLES + BLOCK
    hiss = [pitch_hz(noise(-20.0, 0.1, seed)[:size]) for seed in range(100)]

    assert np.mean(np.array(hiss) > 0) < 0.02
    assert pitch_hz(np.zeros(size, np.float32)) == 0
    assert pitch_hz(np.full(size, 0.5, np.float32)) == 0


def talk(
    seconds: float, db: float = -30.0, hz: float = 120.0, stray: float = 2.0, rate: float = 4.0, seed: int = 1
) -> list[tuple[bool, float, float]]:
    """Steps of speech: so many syllables a second, pitch that strays by so many semitones."""
    random = np.random.default_rng(seed)
    times_s = np.arange(0, seconds, 0.01)
    syllable = np.sin(np.pi * rate * times_s) ** 2
    loudness_db = db + 10 * np.log10(0.05 + syllable) + random.normal(0, 0.3, len(times_s))
    semitones = stray * np.sqrt(2) * np.sin(2 * np.pi * 0.6 * times_s)
    pitch = np.where(syllable > 0.3, hz * 2 ** (semitones / 12), 0.0)
    return list(zip([True] * len(times_s), loudness_db.tolist(), pitch.tolist(), strict=True))


def quiet(seconds: float) -> list[tuple[bool, float, float]]:
    return [(False, -70.0, 0.0)] * round(seconds * 100)


def listen(steps: list[tuple[bool, float, float]], state: ArousalState | None = None) -> ArousalState:
    state = state or ArousalState()
    for active, loudness_db, hz in steps:
        state = feel(state, active, loudness_db, hz)
    return state


@pytest.fixture(scope="module")
def acquainted() -> ArousalState:
    return listen(talk(20))


def test_a_voice_that_keeps_its_habit_is_calm(acquainted: ArousalState) -> None:
    assert acquainted.arousal == pytest.approx(CALM, abs=0.1)


@pytest.mark.parametrize("db", [-70.0, -10.0])
@pytest.mark.parametrize("hz", [85.0, 240.0])
def test_neither_gain_nor_who_speaks_is_excitement(db: float, hz: float) -> None:
    assert listen(talk(20, db=db, hz=hz)).arousal == pytest.approx(CALM, abs=0.1)


@pytest.mark.parametrize(
    ("changed", "excited"),
    [
        ({"db": -22.0}, True),
        ({"hz": 170.0}, True),
        ({"stray": 6.0}, True),
        ({"rate": 6.0, "db": -27.0}, True),
        ({"db": -36.0}, False),
        ({"hz": 100.0, "stray": 0.3}, False),
        ({"rate": 2.0, "db": -33.0}, False),
    ],
    ids=str,
)
def test_louder_higher_livelier_and_faster_is_excited_and_the_contrary_tired(
    acquainted: ArousalState, changed: dict[str, float], excited: bool
) -> None:
    arousal = listen(talk(2, **changed), acquainted).arousal

    assert arousal > 0.6 if excited else arousal < 0.42


def test_everything_together_is_nearly_the_most_and_the_least(acquainted: ArousalState) -> None:
    excited = listen(talk(2, db=-20.0, hz=190.0, stray=5.0, rate=6.0), acquainted).arousal
    tired = listen(talk(2, db=-40.0, hz=95.0, stray=0.5, rate=2.0), acquainted).arousal

    assert 0.9 < excited <= 1
    assert 0 <= tired < 0.2


def test_excitement_shows_within_a_second_and_passes_in_silence(acquainted: ArousalState) -> None:
    excited = listen(talk(1.2, db=-20.0, hz=190.0), acquainted)

    assert excited.arousal > 0.75
    assert listen(quiet(15), excited).arousal == pytest.approx(CALM, abs=0.03)


def test_what_goes_on_becomes_a_habit(acquainted: ArousalState) -> None:
    assert listen(talk(90, db=-22.0), acquainted).arousal < 0.6


def test_nothing_is_said_of_a_voice_just_met() -> None:
    states = [listen(talk(seconds, db=-15.0)) for seconds in (0.1, 1.0, 2.5)]

    assert [state.arousal for state in states] == [CALM] * 3


def test_another_voice_after_a_long_silence_is_soon_known(acquainted: ArousalState) -> None:
    other = talk(6, db=-42.0, hz=85.0)

    assert listen(quiet(25) + other, acquainted).arousal == pytest.approx(CALM, abs=0.12)
    assert abs(listen(quiet(2) + other, acquainted).arousal - CALM) > 0.12


def test_how_loud_a_voice_usually_is_is_known_from_its_first_sound_on() -> None:
    assert listen(quiet(1)).usual_db is None
    assert listen(talk(0.5)).usual_db == pytest.approx(-31.0, abs=2)
    assert listen(talk(10)).usual_db == pytest.approx(-31.0, abs=2)


def test_syllables_are_counted() -> None:
    for rate in (2.0, 4.0, 6.0):
        state = listen(talk(10, rate=rate))

        assert state.habit[3] == pytest.approx(rate, rel=0.15)


def test_whispered_speech_is_neither(acquainted: ArousalState) -> None:
    whispered: npt.NDArray[np.float64] = np.array([loudness for _, loudness, _ in talk(3)])

    state = listen([(True, loudness, 0.0) for loudness in whispered.tolist()], replace(acquainted))

    assert 0.3 < state.arousal < 0.7
