"""What the viseme network is taught with and scored by, where PyTorch is not needed."""

import json
import random
import wave
from pathlib import Path

import numpy as np
import pytest

from appliance.avatar.channels import VISEMES
from appliance.listening.blocks import BLOCK_SAMPLES, RATE
from appliance.values import Float32
from engines.training import viseme_sounds
from engines.training.evaluate_voice import as_captured, clips, louder, over
from engines.training.viseme_music import compose
from engines.training.viseme_phones import from_flite, from_ipa, from_russian, from_sampa, labels, single, visemes
from engines.training.viseme_scores import score

HOPS = 200


def named(*labels_of_hops: str) -> np.ndarray:
    return np.array([VISEMES.index(viseme) for viseme in labels_of_hops], np.int8)


def certain(visemes_of_hops: np.ndarray) -> Float32:
    return np.eye(len(VISEMES), dtype=np.float32)[visemes_of_hops].T


@pytest.mark.parametrize(
    ("signs", "phones"),
    [("ˈaɪ", ["AY"]), ("tʃ", ["CH"]), ("ts", ["S"]), ("ɑːɹ", ["AA", "R"]), ("mʲ", ["M"]), ("", []), ("ʲ", [])],
)
def test_international_phonetic_signs_become_arpabet(signs: str, phones: list[str]) -> None:
    assert from_ipa(signs, english=True) == phones


def test_only_english_has_an_r_in_its_open_e() -> None:
    assert (from_ipa("ɜː", english=True), from_ipa("ɜ", english=False)) == (["ER"], ["AH"])


@pytest.mark.parametrize(("name", "phone"), [("axr", "ER"), ("pau", "SIL"), ("hh", "HH"), ("ey", "EY")])
def test_american_phones_become_arpabet(name: str, phone: str) -> None:
    assert from_flite(name) == phone


@pytest.mark.parametrize(("name", "phone"), [("pp", "P"), ("ay", "AH"), ("sch", "SH"), ("pau", "SIL")])
def test_russian_phones_become_arpabet(name: str, phone: str) -> None:
    assert from_russian(name) == phone


@pytest.mark.parametrize(
    ("name", "phone"), [("a1", "AA"), ("t:", "T"), ("rr", "R"), ("@:", "AE"), ("ch", "K"), ("#", "SIL"), ("_", "SIL")]
)
def test_phones_of_festivals_other_languages_become_arpabet(name: str, phone: str) -> None:
    assert from_sampa(name) == phone


def test_a_diphthong_is_two_vowels_and_the_first_is_longer() -> None:
    assert single([(0.0, 1.0, "AY")]) == [(0.0, 0.6, "AA"), (0.6, 1.0, "IH")]


def test_an_h_has_the_mouth_of_what_follows() -> None:
    assert [viseme for _, _, viseme in visemes([(0, 1, "HH"), (1, 2, "OW"), (2, 3, "HH")])] == ["O", "O", "U", "sil"]


def test_a_hop_is_what_is_said_in_its_middle() -> None:
    frames = labels([(0.0, 0.014, "P"), (0.014, 0.026, "AA")], 4)

    assert [VISEMES[frame] for frame in frames] == ["PP", "aa", "aa", "sil"]


def test_a_perfect_guess_scores_one() -> None:
    spoken = np.tile(np.arange(len(VISEMES)), 10).astype(np.int8)

    perfect = score([spoken], [certain(spoken)])

    assert (perfect.accuracy, perfect.macro_f1, perfect.closure, perfect.pp) == (1.0, 1.0, 1.0, 1.0)


def test_lips_that_close_for_another_sound_close_all_the_same() -> None:
    spoken, guess = np.repeat(named("aa", "PP", "PP", "PP"), 5), np.repeat(named("aa", "FF", "sil", "aa"), 5)

    found = score([spoken], [certain(guess)])

    assert (found.accuracy, found.pp, found.closure) == (0.25, 0.0, pytest.approx(2 / 3))


def test_the_opening_follows_the_vowels() -> None:
    spoken = np.repeat(named("sil", "aa", "PP", "O", "sil", "E"), 20)

    assert score([spoken], [certain(spoken)]).opening > 0.95
    assert score([spoken], [certain(np.roll(spoken, 20))]).opening < 0.5


@pytest.mark.parametrize("make", [viseme_sounds.noise, viseme_sounds.music, viseme_sounds.knocks])
def test_what_is_made_up_has_unit_power_and_never_repeats(make: object) -> None:
    assert callable(make)
    first, second = (make(np.random.default_rng(seed), 2 * RATE) for seed in (1, 2))

    assert viseme_sounds.rms(first) == pytest.approx(1.0, abs=0.01)
    assert abs(float(np.corrcoef(first, second)[0, 1])) < 0.5


def test_a_piece_is_one_whole_midi_track_and_no_two_are_alike() -> None:
    first, second = (compose(random.Random(seed)) for seed in (1, 2))

    assert (first[:4], first[14:18]) == (b"MThd", b"MTrk")
    assert int.from_bytes(first[18:22], "big") == len(first) - 22
    assert first.endswith(b"\x00\xff\x2f\x00")
    assert first != second


def test_a_band_keeps_what_is_inside_it() -> None:
    time_s = np.arange(RATE) / RATE
    inside, outside = (np.sin(2 * np.pi * hz * time_s).astype(np.float32) for hz in (1000, 6000))

    assert viseme_sounds.passed(inside + outside, 300, 3400, 5) == pytest.approx(inside, abs=0.1)


def test_what_a_card_delivers_is_whole_16_bit_steps_within_its_range() -> None:
    sound = viseme_sounds.captured(
        np.random.default_rng(3), np.random.default_rng(4).normal(size=RATE).astype(np.float32)
    )

    assert np.abs(sound).max() <= 1.0
    assert sound * 32768 == pytest.approx(np.round(sound * 32768), abs=1e-3)


@pytest.mark.parametrize("ratio_db", [20, 5])
def test_speech_is_as_far_above_the_noise_as_was_asked(ratio_db: int) -> None:
    speech = 0.1 * np.sin(np.arange(HOPS * BLOCK_SAMPLES) * 0.3).astype(np.float32)
    speech[len(speech) // 2 :] = 0.0  # a pause, which does not count
    noise = np.random.default_rng(5).normal(size=len(speech)).astype(np.float32)

    heard = over(ratio_db, lambda count: noise[:count])(speech)

    left = viseme_sounds.rms(heard[len(speech) // 2 :])
    assert 20 * np.log10(0.1 / np.sqrt(2) / left) == pytest.approx(ratio_db, abs=0.3)


def test_a_gain_clips_where_the_card_ends() -> None:
    speech = np.array([0.5, -0.1, 0.01], np.float32)

    assert louder(10)(speech) == pytest.approx(as_captured(np.array([1.0, -0.316, 0.0316], np.float32)), abs=1e-3)


def test_sentences_fit_for_scoring_are_read_and_others_left_out(tmp_path: Path) -> None:
    for name, text, hops, score_ in (
        ("good", "one two three", 200, -5),
        ("short", "no", 200, -5),
        ("bad", "a b c", 200, -40),
    ):
        about = {"text": text, "visemes": [[0.0, 1.0, "PP"], [1.0, 2.0, "aa"]], "score": score_}
        (tmp_path / f"{name}.json").write_text(json.dumps(about))
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as wav:
            wav.setparams((1, 2, RATE, 0, "NONE", ""))
            wav.writeframes(bytes(2 * hops * BLOCK_SAMPLES))

    (clip,) = clips(tmp_path)

    assert [VISEMES[viseme] for viseme in clip.visemes[[0, 99, 100, 199]]] == ["PP", "PP", "aa", "aa"]
