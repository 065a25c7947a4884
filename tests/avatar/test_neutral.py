"""The resting face of a visitor: what is learnt of arrivals of every kind, and how fast."""

from collections.abc import Callable

import numpy as np
import pytest

from appliance.avatar import neutral
from appliance.avatar.channels import BLENDSHAPES
from appliance.avatar.neutral import Neutral
from appliance.values import Float32, Gaze

S = 1_000_000_000
SMILE, JAW, LID = (BLENDSHAPES.index(name) for name in ("mouthSmileLeft", "jawOpen", "eyeBlinkLeft"))
LEFT_YAW = 53
Play = Callable[[float], dict[int, float]]  # what is added to rest at a time


def rest() -> Float32:
    weights = np.zeros(52, np.float32)
    weights[[SMILE, JAW, LID]] = (-0.1, 0.15, 0.4)
    return weights


def arrive(
    play: Play, seconds: float, gaze_deg: float = 0.0, well: bool = True, known: Neutral | None = None
) -> Neutral:
    """Watch somebody at 30 fps, with the noise of a face in a picture."""
    rng = np.random.default_rng(1)
    start_ns = known.at_ns if known else S
    known = known or neutral.meet(start_ns)
    for step in range(1, round(seconds * 30)):
        weights = rest() + rng.normal(0, 0.02, 52).astype(np.float32)
        for shape, weight in play(step / 30).items():
            weights[shape] += weight
        measured = neutral.measure(weights, Gaze((gaze_deg, 0), (gaze_deg, 0)))
        known = neutral.learn(known, measured, start_ns + step * S // 30, well)
    return known


def nothing(_at_s: float) -> dict[int, float]:
    return {}


def laughing_3_s(at_s: float) -> dict[int, float]:
    return {SMILE: 0.8, JAW: 0.4, LID: 0.2} if at_s < 3 else {}


def talking(at_s: float) -> dict[int, float]:
    return {JAW: 0.25 * (1 - np.cos(2 * np.pi * 4 * at_s)) if at_s % 2.5 > 0.4 else 0.0}


def blinking(at_s: float) -> dict[int, float]:
    return {LID: 0.6 if at_s % 1 < 0.25 else 0.0}


def reading_first(at_s: float) -> dict[int, float]:
    return {LID: 0.3 if at_s < 2 else 0.0}


@pytest.mark.parametrize(
    ("play", "seconds"),
    [(nothing, 0.3), (nothing, 60), (laughing_3_s, 5.5), (laughing_3_s, 12), (talking, 1.5), (talking, 30)]
    + [(blinking, 1), (blinking, 5), (blinking, 30), (reading_first, 4.5)],
)
def test_the_rest_is_known_however_somebody_arrives(play: Play, seconds: float) -> None:
    known = arrive(play, seconds)

    assert known.rest[[SMILE, JAW, LID]] == pytest.approx(rest()[[SMILE, JAW, LID]], abs=0.06)


def test_who_is_still_laughing_keeps_more_than_half_of_the_laugh() -> None:
    laugh = rest()
    laugh[SMILE] += 1.0
    known = arrive(lambda _: {SMILE: 1.0}, 2)

    weights, _ = neutral.calibrate(neutral.measure(laugh, Gaze()), known)

    assert weights[SMILE] > 0.65


def test_who_laughed_all_along_is_known_in_the_end() -> None:
    known = arrive(lambda _: {JAW: 0.6}, 20)
    later = arrive(nothing, 30, known=known)

    assert known.rest[JAW] > 0.6
    assert later.rest[JAW] == pytest.approx(0.15, abs=0.1)


def test_a_long_laugh_later_is_no_rest() -> None:
    later = arrive(lambda _: {SMILE: 0.7, JAW: 0.3}, 60, known=arrive(nothing, 12))

    assert later.rest[[SMILE, JAW]] == pytest.approx(rest()[[SMILE, JAW]], abs=0.03)


def test_what_changes_slowly_near_rest_is_followed() -> None:
    later = arrive(lambda _: {JAW: 0.08}, 120, known=arrive(nothing, 12))

    assert later.rest[JAW] == pytest.approx(0.15 + 0.08 * (1 - np.exp(-1.2)), abs=0.02)


def test_a_face_that_is_not_seen_well_teaches_nothing() -> None:
    settled = arrive(nothing, 12)
    begun = arrive(nothing, 0.2)
    for known in (settled, begun):
        turned = arrive(lambda _: {JAW: -0.1}, 60, well=False, known=known)
        assert (turned.rest == known.rest).all()


def test_a_face_never_seen_better_is_learnt_as_it_is() -> None:
    known = arrive(blinking, 5, well=False)

    assert known.rest[[SMILE, JAW, LID]] == pytest.approx(rest()[[SMILE, JAW, LID]], abs=0.06)


def test_the_first_look_that_counts_is_the_one_after_a_face_turned_to_the_camera() -> None:
    known = arrive(nothing, 0.3, known=arrive(lambda _: {JAW: 0.5}, 5, well=False))

    assert known.rest[JAW] == pytest.approx(0.15, abs=0.05)


@pytest.mark.parametrize(("seconds", "aside_deg"), [(1.0, 9.0), (3.5, 0.0), (9.0, 0.0)])
def test_a_glance_aside_on_arrival_is_forgotten_when_as_long_was_looked_ahead(seconds: float, aside_deg: float) -> None:
    known = arrive(nothing, 1.0, gaze_deg=9.0)
    if seconds > 1:
        known = arrive(nothing, seconds - 1, known=known)

    assert known.rest[LEFT_YAW - 1] * 30 == pytest.approx(aside_deg, abs=0.5)


def test_memory_of_what_was_seen_does_not_grow_and_ends() -> None:
    first, later, settled = (arrive(nothing, seconds).seen_s for seconds in (0.1, 9, 12))

    assert first is not None
    assert later is not None
    assert first.nbytes == later.nbytes < 32_000
    assert settled is None


def test_a_clock_that_stands_or_goes_back_changes_nothing() -> None:
    known = arrive(nothing, 2)

    same = neutral.learn(known, np.ones(56, np.float32), known.at_ns, well=True)
    back = neutral.learn(known, np.ones(56, np.float32), known.at_ns - S, well=True)

    assert (same.rest == known.rest).all()
    assert (back.rest == known.rest).all()
