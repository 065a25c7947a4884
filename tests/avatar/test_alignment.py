"""Sound against picture: courses of a mouth with a known shift between what is seen and what is heard."""

import numpy as np
import pytest

from appliance.avatar.alignment import KEPT_S, Course, agreement, estimate

MS = 1_000_000
S = 1_000_000_000
SURE_NS = 60 * MS  # the newest sound that is named lies so far back


def opening(times_s: np.ndarray, seed: int = 1) -> np.ndarray:
    """A mouth that speaks: syllables of uneven length and height."""
    random = np.random.default_rng(seed)
    middles = np.cumsum(random.uniform(0.13, 0.33, 200))
    heights, widths = random.uniform(0.1, 0.7, 200), random.uniform(0.03, 0.07, 200)
    bumps = heights * np.exp(-(((times_s[:, None] - middles) / widths) ** 2) / 2)
    whole: np.ndarray = bumps.sum(axis=1)
    return whole


def watched(
    delay_s: float, seconds: float = 9.0, fps: float = 30.0, noise: float = 0.05, counts: bool = True, heard: int = 1
) -> Course:
    """A visitor who speaks all the time, sound stamped ``delay_s`` later than the pictures."""
    random = np.random.default_rng(7)
    seen_s = 2 + np.arange(0, seconds, 1 / fps)
    sound_s = seen_s - SURE_NS / 1e9
    seen = opening(seen_s) + random.normal(0, noise, len(seen_s))
    voice = opening(sound_s - delay_s, heard) + random.normal(0, noise, len(seen_s))
    course = Course()
    for at_s, wide, sound_at_s, loud in zip(seen_s, seen, sound_s, voice, strict=True):
        course = course.then(round(at_s * S), float(wide), round(sound_at_s * S), float(loud), counts)
    return course


@pytest.mark.parametrize("delay_ms", [-240, -150, -60, -20, 0, 30, 90, 200, 260])
@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
def test_a_known_shift_is_found_within_15_ms(delay_ms: int, fps: float) -> None:
    found_s = estimate(watched(delay_ms / 1000, fps=fps))

    assert found_s is not None
    assert found_s * 1000 == pytest.approx(delay_ms, abs=15)


def test_a_poor_view_still_tells_and_a_useless_one_does_not() -> None:
    poor, useless = estimate(watched(0.1, noise=0.12)), estimate(watched(0.1, noise=1.0))

    assert poor == pytest.approx(0.1, abs=0.03)
    assert useless is None


def test_somebody_elses_voice_tells_nothing() -> None:
    found = [estimate(watched(0.0, heard=seed)) for seed in range(2, 22)]

    assert sum(one is not None for one in found) <= 1


def test_a_shift_out_of_reach_tells_nothing() -> None:
    assert [estimate(watched(delay_s)) for delay_s in (-0.8, -0.5, 0.5, 0.8)] == [None] * 4


def test_even_syllables_fit_several_shifts_and_tell_nothing() -> None:
    course = Course()
    for step in range(270):
        at_s = step / 30
        wide = 0.3 + 0.3 * np.sin(2 * np.pi * 5 * at_s)
        course = course.then(round(at_s * S), float(wide), round(at_s * S), float(wide), True)

    assert estimate(course) is None


@pytest.mark.parametrize("seconds", [0.0, 0.03, 1.0, 2.5])
def test_too_little_speech_tells_nothing(seconds: float) -> None:
    assert estimate(watched(0.1, seconds=seconds)) is None
    assert estimate(watched(0.1, counts=False)) is None


def test_a_still_mouth_tells_nothing() -> None:
    course = Course()
    for step in range(300):
        course = course.then(step * 33 * MS, 0.0, step * 33 * MS, float(step % 7) / 7, True)

    assert estimate(course) is None


def test_a_course_keeps_no_more_than_it_needs() -> None:
    course = watched(0.0, seconds=30.0)

    assert len(course.rows) == pytest.approx(KEPT_S * 30, abs=2)
    assert len(course.last(0.5)[0]) == pytest.approx(15, abs=1)
    assert len(Course().last(0.5)[0]) == 0


def test_agreement_tells_whose_voice_it_is() -> None:
    own, others = agreement(watched(0.1), 3.0, 0.1), agreement(watched(0.1, heard=5), 3.0, 0.1)

    assert own is not None
    assert others is not None
    assert own > 0.8
    assert abs(others) < 0.5
    assert agreement(watched(0.1, seconds=2.0), 3.0) is None
