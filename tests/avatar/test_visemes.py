"""What the mouth does for what is said: known sounds in, mouths out."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from appliance.avatar.channels import BLENDSHAPES, VISEMES
from appliance.avatar.visemes import SPOKEN, articulate, close, seal_of
from appliance.values import SPEECH_STEP_NS, Float32, Speech

MS = 1_000_000
END_NS = 5_000 * MS


def said(*sounds: tuple[str, int], certain: float = 0.9, db: float = 0.0) -> Speech:
    """Sounds of so many ms each, the last ending at ``END_NS``, as a network hears them that is nearly sure."""
    names = [name for name, length_ms in sounds for _ in range(length_ms // 10)]
    visemes = np.full((len(names), len(VISEMES)), (1 - certain) / (len(VISEMES) - 1), np.float32)
    visemes[np.arange(len(names)), [VISEMES.index(name) for name in names]] = certain
    return Speech(END_NS, END_NS, visemes, np.full(len(names), db, np.float32))


def mouth(speech: Speech, before_end_ms: int = 0) -> dict[str, float]:
    shapes = articulate(speech, END_NS - before_end_ms * MS)
    return dict(zip(BLENDSHAPES, shapes.tolist(), strict=True))


def gap(shapes: dict[str, float]) -> float:
    """How far the lips are apart."""
    return shapes["jawOpen"] - shapes["mouthClose"]


@pytest.mark.parametrize(
    ("sound", "low", "high"),
    [("sil", 0.0, 0.06), ("SS", 0.05, 0.15), ("DD", 0.1, 0.3), ("I", 0.15, 0.35), ("E", 0.3, 0.5), ("aa", 0.55, 0.75)],
)
def test_each_sound_opens_the_jaw_as_far_as_it_should(sound: str, low: float, high: float) -> None:
    assert low < mouth(said((sound, 300)))["jawOpen"] < high


@pytest.mark.parametrize("vowel", ["aa", "E", "I", "O", "U"])
@pytest.mark.parametrize("length_ms", [40, 60, 100])
@pytest.mark.parametrize("certain", [0.9, 0.6])
def test_lips_meet_for_p_b_and_m_between_any_vowels(vowel: str, length_ms: int, certain: float) -> None:
    speech = said((vowel, 120), ("PP", length_ms), (vowel, 100), certain=certain)

    closed = mouth(speech, before_end_ms=100 + length_ms // 2)
    after = mouth(speech, before_end_ms=30)

    assert closed["jawOpen"] > 0.05  # the jaw has no time to shut: the lips do it
    assert gap(closed) < 0.05
    assert closed["mouthLowerDownLeft"] < 0.03
    assert seal_of(articulate(speech, END_NS - 30 * MS)) < 0.2, after


def test_a_closure_that_is_hardly_heard_closes_nothing() -> None:
    speech = said(("aa", 300), certain=0.75)
    speech.visemes[:, VISEMES.index("PP")] += 0.1

    assert gap(mouth(speech)) > 0.3


def test_the_lower_lip_meets_the_teeth_for_f_and_v() -> None:
    tucked = mouth(said(("aa", 120), ("FF", 70), ("aa", 100)), before_end_ms=135)

    assert tucked["mouthRollLower"] > 0.4
    assert tucked["mouthLowerDownLeft"] < 0.15
    assert mouth(said(("aa", 290)))["mouthRollLower"] < 0.1


def test_sounds_of_the_tongue_leave_the_lips_to_their_neighbours() -> None:
    round_lips = mouth(said(("U", 120), ("DD", 60), ("U", 100)), before_end_ms=130)
    spread_lips = mouth(said(("I", 120), ("DD", 60), ("I", 100)), before_end_ms=130)

    assert round_lips["mouthPucker"] > 0.6
    assert spread_lips["mouthPucker"] < 0.1
    assert spread_lips["mouthStretchLeft"] > 0.2


def test_sibilants_narrow_the_jaw_between_open_vowels() -> None:
    speech = said(("aa", 120), ("SS", 80), ("aa", 100))

    assert mouth(speech, before_end_ms=140)["jawOpen"] < 0.25


def test_rounding_begins_before_its_vowel_and_before_the_jaw_has_moved() -> None:
    coming = said(("I", 200), ("U", 100))
    alone = said(("I", 300))

    before = mouth(coming, before_end_ms=130)  # 30 ms before the vowel

    assert before["mouthPucker"] > 0.25
    assert mouth(alone)["mouthPucker"] < 0.08
    assert before["jawOpen"] == pytest.approx(mouth(alone)["jawOpen"], abs=0.03)


def test_a_mouth_shuts_soon_after_the_last_sound() -> None:
    speech = said(("aa", 200), ("sil", 100))

    assert mouth(speech)["jawOpen"] < 0.08


def test_loud_speech_opens_the_jaw_wider_within_limits() -> None:
    opened = [mouth(said(("aa", 300), db=db))["jawOpen"] for db in (-40, -10, 0, 10, 40)]

    assert opened == sorted(opened)
    assert opened[1] < 0.8 * opened[2]
    assert opened[3] > 1.2 * opened[2]
    assert opened[0] > 0.5 * opened[2]
    assert opened[4] < 1.5 * opened[2]


def test_what_is_only_guessed_at_already_shapes_the_mouth_of_what_is_sure() -> None:
    known = said(("I", 200), ("U", 20))
    guessed = Speech(END_NS - 2 * SPEECH_STEP_NS, END_NS, known.visemes, known.loudness_db)

    before, after = (articulate(guessed, moment_ns) for moment_ns in (guessed.sure_ns, END_NS + 100 * MS))

    pucker = BLENDSHAPES.index("mouthPucker")
    assert 0.1 < before[pucker] < after[pucker]
    np.testing.assert_array_equal(after, articulate(guessed, END_NS))


@pytest.mark.parametrize(("ahead_ms", "nearest_ms"), [(-5_000, -290), (-300, -290), (500, 0)])
def test_a_moment_outside_what_is_known_is_the_nearest_that_is(ahead_ms: int, nearest_ms: int) -> None:
    speech = said(("aa", 150), ("SS", 150))

    outside = articulate(speech, END_NS + ahead_ms * MS)

    np.testing.assert_array_equal(outside, articulate(speech, END_NS + nearest_ms * MS))


@trials(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 40), db=st.floats(-60, 60), at_ms=st.integers(-500, 100))
def test_no_sound_makes_an_impossible_mouth(seed: int, rows: int, db: float, at_ms: int) -> None:
    random = np.random.default_rng(seed)
    visemes = random.dirichlet(np.full(len(VISEMES), 0.1), rows).astype(np.float32)
    speech = Speech(END_NS, END_NS, visemes, np.full(rows, db, np.float32))

    shapes = articulate(speech, END_NS + at_ms * MS)

    assert shapes.dtype == np.float32
    assert np.isfinite(shapes).all()
    assert ((shapes >= 0) & (shapes <= 1)).all()
    assert shapes[BLENDSHAPES.index("mouthClose")] <= shapes[BLENDSHAPES.index("jawOpen")]
    assert not np.delete(shapes, SPOKEN).any()


@pytest.mark.parametrize(("jaw", "seal", "closed"), [(0.4, 1.0, 0.4), (0.4, 0.5, 0.2), (0.0, 1.0, 0.0)])
def test_closing_keeps_within_the_opening_of_the_jaw(jaw: float, seal: float, closed: float) -> None:
    shapes: Float32 = np.zeros(52, np.float32)
    shapes[BLENDSHAPES.index("jawOpen")] = jaw
    shapes[BLENDSHAPES.index("mouthLowerDownLeft")] = 0.5

    sealed = dict(zip(BLENDSHAPES, close(shapes, seal).tolist(), strict=True))

    assert sealed["mouthClose"] == pytest.approx(closed)
    assert sealed["mouthLowerDownLeft"] == pytest.approx(0.5 * (1 - seal))


def test_the_mouth_follows_the_sounds_smoothly() -> None:
    speech = said(("I", 80), ("aa", 80), ("DD", 60), ("O", 80))
    moments = [articulate(speech, END_NS - ms * MS) for ms in range(290, -1, -10)]

    steps: npt.NDArray[np.float32] = np.abs(np.diff(moments, axis=0))

    assert steps.max() < 0.25
