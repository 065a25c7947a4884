"""The network that is shipped, heard speaking the demonstration's sentence."""

import json

import numpy as np
import pytest

from appliance.avatar.channels import VISEMES
from appliance.demo.clip import SPEECH_JSON, SPEECH_WAV
from appliance.listening.blocks import BLOCK_SAMPLES
from appliance.listening.viseme_network import GUESS_BLOCKS, MODEL, SURE_BLOCKS
from appliance.values import Float32
from engines.own import own_model_path
from engines.training.evaluate_voice import Change, Listener, as_captured, louder, read_wav
from engines.training.viseme_phones import HOPS_PER_S, Labels
from engines.training.viseme_scores import Scores, score


@pytest.fixture(scope="module")
def listener() -> Listener:
    return Listener(own_model_path(MODEL))


@pytest.fixture(scope="module")
def speech() -> Float32:
    samples = read_wav(SPEECH_WAV)
    return samples[: len(samples) // BLOCK_SAMPLES * BLOCK_SAMPLES]


@pytest.fixture(scope="module")
def spoken(speech: Float32) -> Labels:
    """The viseme of each hop, as the synthesiser says."""
    phonemes = json.loads(SPEECH_JSON.read_text(encoding="utf-8"))["phonemes"]
    visemes = np.zeros(len(speech) // BLOCK_SAMPLES, np.int8)
    for begin_s, end_s, _, viseme in phonemes:
        visemes[round(begin_s * HOPS_PER_S) : round(end_s * HOPS_PER_S)] = VISEMES.index(viseme)
    return visemes


def heard(listener: Listener, speech: Float32, spoken: Labels, change: Change = as_captured) -> dict[int, Scores]:
    told = listener.named(change(speech))
    return {delay: score([spoken], [told[delay]]) for delay in (SURE_BLOCKS, GUESS_BLOCKS)}


def test_it_names_what_is_said_60_ms_before(listener: Listener, speech: Float32, spoken: Labels) -> None:
    found = heard(listener, speech, spoken)[SURE_BLOCKS]

    assert found.accuracy > 0.68
    assert found.opening > 0.8
    assert found.closure > 0.8


def test_40_ms_after_a_sound_it_knows_nearly_as_much(listener: Listener, speech: Float32, spoken: Labels) -> None:
    found = heard(listener, speech, spoken)

    assert found[GUESS_BLOCKS].accuracy > found[SURE_BLOCKS].accuracy - 0.05


@pytest.mark.parametrize("gain_db", [-40, -20])
def test_a_gain_changes_nothing(listener: Listener, speech: Float32, spoken: Labels, gain_db: int) -> None:
    as_it_is = heard(listener, speech, spoken)[SURE_BLOCKS]

    softer = heard(listener, speech, spoken, louder(gain_db))[SURE_BLOCKS]

    assert softer.accuracy == pytest.approx(as_it_is.accuracy, abs=0.02)
    assert softer.opening == pytest.approx(as_it_is.opening, abs=0.02)


def test_what_it_names_is_the_mouth_of_its_own_time(listener: Listener, speech: Float32, spoken: Labels) -> None:
    told = listener.named(as_captured(speech))[SURE_BLOCKS]

    at = {shift: score([spoken], [np.roll(told, shift, axis=1)]).accuracy for shift in range(-5, 6)}

    assert abs(max(at, key=lambda shift: at[shift])) <= 2


def test_after_it_forgot_it_says_the_same_again(listener: Listener, speech: Float32) -> None:
    first, second = (listener.named(speech[: 200 * BLOCK_SAMPLES])[SURE_BLOCKS] for _ in range(2))

    assert np.array_equal(first, second)
