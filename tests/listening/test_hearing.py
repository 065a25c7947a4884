"""From sound to what the voice does: sounds whose course is known, heard by a network that tells low from high."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from appliance.avatar.channels import VISEMES
from appliance.listening.arousal import CALM
from appliance.listening.hearing import Hearing
from appliance.listening.recordings import wav_blocks
from appliance.listening.viseme_network import VisemeNetwork
from appliance.values import SPEECH_STEP_NS, Float32, Sound, Speech, Voice

from .test_recordings import write_wav
from .test_voice import noise, vowels
from .toy_network import HIGH, LOW, toy_network

MS = 1_000_000
BEGIN_NS = 10**12
BLOCK = 160


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VisemeNetwork:
    return toy_network(tmp_path_factory.mktemp("toy") / "toy.onnx", request.param)


def listen(samples: Float32, network: VisemeNetwork | None, together: int = 1) -> list[Voice]:
    hearing, step = Hearing("mic0", network), together * BLOCK
    return [
        hearing.hear(Sound("mic0", samples[end - step : end], BEGIN_NS + end // BLOCK * 10 * MS))
        for end in range(step, len(samples) + 1, step)
    ]


def low(seconds: float, dbfs: float = -20.0) -> Float32:
    """Noise below 900 Hz, which comes in bursts, so that nothing takes it for the room's."""
    spectrum = np.fft.rfft(noise(0.0, seconds, seed=4))
    spectrum[np.fft.rfftfreq(round(16000 * seconds), 1 / 16000) > 900] = 0
    sound = np.fft.irfft(spectrum, round(16000 * seconds))
    return np.asarray(sound / np.sqrt(np.mean(sound**2)) * 10 ** (dbfs / 20), np.float32)


def high(seconds: float, dbfs: float = -20.0) -> Float32:
    """Noise above 4 kHz."""
    spectrum = np.fft.rfft(noise(0.0, seconds, seed=5))
    spectrum[np.fft.rfftfreq(round(16000 * seconds), 1 / 16000) < 4000] = 0
    sound = np.fft.irfft(spectrum, round(16000 * seconds))
    return np.asarray(sound / np.sqrt(np.mean(sound**2)) * 10 ** (dbfs / 20), np.float32)


def after_silence(*sounds: Float32) -> Float32:
    """One second of a quiet room, the sounds, a second of the room."""
    whole = np.concatenate([np.zeros(16000, np.float32), *sounds, np.zeros(16000, np.float32)])
    return whole + noise(-75.0, len(whole) / 16000)[: len(whole)]


def moments_s(speech: Speech) -> npt.NDArray[np.float64]:
    """When each row is, in seconds of the sound: the middle of its block."""
    rows = speech.newest_ns + SPEECH_STEP_NS * np.arange(1 - len(speech.visemes), 1) - SPEECH_STEP_NS // 2
    return np.asarray((rows - BEGIN_NS) / 1e9)


def said_at(voices: Sequence[Voice], moment_s: float) -> Float32:
    """What was in the end known to be said at a moment."""
    speech = next(v.speech for v in voices if v.speech and (v.speech.sure_ns - BEGIN_NS) / 1e9 >= moment_s + 0.01)
    return np.asarray(speech.visemes[np.argmin(np.abs(moments_s(speech) - moment_s))], np.float32)


def test_each_sound_is_named_at_its_own_moment(network: VisemeNetwork) -> None:
    voices = listen(after_silence(low(0.3), high(0.3)), network)

    course = [(0.9, 0), (1.1, LOW), (1.27, LOW), (1.33, HIGH), (1.55, HIGH), (1.7, 0)]
    assert [int(said_at(voices, at_s).argmax()) for at_s, _ in course] == [viseme for _, viseme in course]


def test_what_is_sure_lies_60_ms_back_and_a_guess_40_ms(network: VisemeNetwork) -> None:
    voice = listen(after_silence(low(0.3)), network)[110]

    assert voice.speech is not None
    assert voice.visemes is not None
    assert voice.heard_ns - voice.speech.sure_ns == 60 * MS
    assert voice.heard_ns - voice.speech.newest_ns == 40 * MS
    sure_row = len(voice.speech.visemes) - 1 - (voice.speech.newest_ns - voice.speech.sure_ns) // SPEECH_STEP_NS
    np.testing.assert_array_equal(voice.visemes, voice.speech.visemes[sure_row])
    np.testing.assert_allclose(voice.speech.visemes.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("together", [2, 3])
def test_how_the_sound_is_cut_into_calls_makes_no_difference(network: VisemeNetwork, together: int) -> None:
    sound = after_silence(*[vowels(dbfs, 0.7) for dbfs in (-26.0, -26.0, -26.0, -26.0, -26.0, -16.0)], high(0.3))

    apart, joined = listen(sound, network)[together - 1 :: together], listen(sound, network, together)

    assert max(voice.arousal for voice in joined) > 0.55
    for one, other in zip(apart, joined, strict=False):
        assert one.speech is not None
        assert other.speech is not None
        assert (one.heard_ns, one.active, one.speech.sure_ns) == (other.heard_ns, other.active, other.speech.sure_ns)
        assert (one.level, one.arousal) == pytest.approx((other.level, other.arousal), abs=1e-5)
        np.testing.assert_allclose(one.speech.visemes, other.speech.visemes, atol=1e-4)
        np.testing.assert_allclose(one.speech.loudness_db, other.speech.loudness_db, atol=1e-3)


def test_the_first_sound_after_a_silence_is_not_lost(network: VisemeNetwork) -> None:
    voices = listen(after_silence(low(0.3)), network)

    assert said_at(voices, 1.015)[LOW] > 0.5


def test_a_sound_that_is_no_voice_moves_no_mouth(network: VisemeNetwork) -> None:
    hum = low(8.0, -40.0)  # steady: the room's

    voices = listen(hum, network)

    assert all(voice.visemes is not None and voice.visemes[0] == 1 for voice in voices[500:])
    assert not any(voice.active for voice in voices[500:])


def test_a_voice_without_words_is_not_active(network: VisemeNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of music, which only the network can tell from speech."""
    sound = after_silence(vowels(-30.0, 4.0), vowels(-18.0, 2.0))
    alone = listen(sound, None)
    silence = np.eye(len(VISEMES), dtype=np.float32)[0]
    monkeypatch.setattr(network, "name", lambda samples: (np.tile(silence, (len(samples) // BLOCK, 1)),) * 2)

    voices = listen(sound, network)

    assert max(voice.arousal for voice in alone) > 0.6
    assert any(voice.active for voice in alone)
    assert not any(voice.active for voice in voices)
    assert {voice.arousal for voice in voices} == {CALM}


def test_how_loud_each_moment_is_counts_against_the_voices_habit(network: VisemeNetwork) -> None:
    bursts = [vowels(dbfs, 0.4) for dbfs in (-30.0, -30.0, -30.0, -30.0, -30.0, -18.0)]

    voices = listen(after_silence(*bursts), network)
    usual, loud = voices[280].speech, voices[338].speech

    assert usual is not None
    assert loud is not None
    assert usual.loudness_db.max() - loud.loudness_db.max() == pytest.approx(-12, abs=3)
    assert len(usual.loudness_db) == len(usual.visemes)


def test_gain_changes_nothing(network: VisemeNetwork) -> None:
    sound = after_silence(low(0.3), high(0.2), low(0.4))

    voices, quieter = listen(sound, network), listen(sound * np.float32(0.03), network)

    for at_s in (1.1, 1.4, 1.7):
        np.testing.assert_allclose(said_at(voices, at_s), said_at(quieter, at_s), atol=0.1)
    assert voices[-1].arousal == pytest.approx(quieter[-1].arousal, abs=0.02)


@pytest.mark.parametrize("offset", [-0.4, 0.2])
def test_a_constant_offset_changes_nothing(network: VisemeNetwork, offset: float) -> None:
    sound = after_silence(low(0.3), high(0.3))

    voices, shifted = listen(sound, network), listen(sound + np.float32(offset), network)

    for at_s in (0.8, 1.1, 1.45, 1.7):
        np.testing.assert_allclose(said_at(voices, at_s), said_at(shifted, at_s), atol=0.05)


def test_clipped_speech_is_still_speech(network: VisemeNetwork) -> None:
    sound = np.clip(30 * after_silence(low(0.3), high(0.3)), -1, 1)

    voices = listen(sound, network)

    assert said_at(voices, 1.15).argmax() == LOW
    assert said_at(voices, 1.45).argmax() == HIGH


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_impossible_samples_never_leave(network: VisemeNetwork, value: float) -> None:
    sound = after_silence(low(0.5))
    sound[18000:18400] = value

    voices = listen(sound, network)

    for voice in voices:
        assert voice.speech is not None
        assert np.isfinite(voice.speech.visemes).all()
        assert np.isfinite(voice.speech.loudness_db).all()
        assert np.isfinite([voice.level, voice.arousal]).all()


@pytest.mark.parametrize(
    ("rate", "channels", "width", "heard"),
    [(8000, 1, 1, [LOW]), (8000, 2, 2, [LOW]), (44100, 2, 2, [LOW, HIGH]), (48000, 2, 3, [LOW, HIGH])],
)
def test_a_source_of_any_rate_and_channels_is_heard_alike(
    network: VisemeNetwork, tmp_path: Path, rate: int, channels: int, width: int, heard: list[int]
) -> None:
    sound = after_silence(low(0.3), high(0.3))  # what is high lies above what 8 kHz can carry
    given = soxr.resample(sound, 16000, rate)
    path = write_wav(tmp_path / "source.wav", np.repeat(given[:, np.newaxis], channels, axis=1), rate, width)

    voices = listen(np.concatenate(list(wav_blocks(path))), network)

    assert [int(said_at(voices, at_s).argmax()) for at_s in (1.15, 1.45)[: len(heard)]] == heard
    assert said_at(voices, 0.8)[0] > 0.9


def test_digital_silence_says_nothing(network: VisemeNetwork) -> None:
    voices = listen(np.zeros(32000, np.float32), network)

    assert all(voice.visemes is not None and voice.visemes[0] == 1 for voice in voices)
    assert {(voice.active, voice.level, voice.arousal) for voice in voices} == {(False, 0.0, CALM)}


def test_values_once_given_do_not_change(network: VisemeNetwork) -> None:
    voices = listen(after_silence(low(0.3)), network)
    again = listen(after_silence(low(0.3)), network)

    for voice, other in zip(voices, again, strict=True):
        assert voice.speech is not None
        assert other.speech is not None
        np.testing.assert_array_equal(voice.speech.visemes, other.speech.visemes)
        assert voice.arousal == other.arousal


def test_after_forgetting_nothing_of_before_is_left(network: VisemeNetwork) -> None:
    hearing, sound = Hearing("mic0", network), after_silence(low(0.3))
    hearing.hear(Sound("mic0", high(0.01), BEGIN_NS))
    hearing.forget()

    voice = hearing.hear(Sound("mic0", sound[:BLOCK], BEGIN_NS))

    first = listen(sound[:BLOCK], network)[0]
    assert voice.speech is not None
    assert first.speech is not None
    np.testing.assert_array_equal(voice.speech.visemes, first.speech.visemes)


def test_the_networks_states_go_round(network: VisemeNetwork) -> None:
    listen(after_silence(low(0.2)), network)

    assert float(network._given["state_1"].item()) == 220


def test_both_libraries_hear_the_same(tmp_path: Path) -> None:
    sound = after_silence(low(0.3), high(0.2))

    one, other = (listen(sound, toy_network(tmp_path / "toy.onnx", runner)) for runner in ("onnxruntime", "openvino"))

    for at_s in (1.1, 1.4):
        np.testing.assert_allclose(said_at(one, at_s), said_at(other, at_s), atol=1e-4)


def test_without_a_network_everything_but_visemes_is_told() -> None:
    voice = listen(after_silence(vowels(-20.0, 0.5)), None)[140]

    assert (voice.visemes, voice.speech) == (None, None)
    assert voice.active
    assert voice.level > 0.3
