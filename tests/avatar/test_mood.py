"""How a mood comes and goes."""

import numpy as np
import pytest

from appliance.avatar.channels import MOODS
from appliance.avatar.mood import Mood, feel, read_mood
from appliance.values import Float32

MS = 1_000_000
NEUTRAL, HAPPY, SAD = MOODS.index("neutral"), MOODS.index("happy"), MOODS.index("sad")


def wholly(mood: int) -> Float32:
    weights = np.zeros(5, np.float32)
    weights[mood] = 1
    return weights


def felt(shown: list[Float32], step_ms: int = 33) -> Mood:
    mood = None
    for index, weights in enumerate(shown):
        mood = feel(mood, weights, index * step_ms * MS)
    assert mood is not None
    return mood


def test_a_mood_rises_faster_than_it_falls() -> None:
    risen = felt([wholly(NEUTRAL), *[wholly(HAPPY)] * 9])  # 300 ms
    fallen = felt([wholly(HAPPY), *[wholly(NEUTRAL)] * 9])

    assert risen.weights[HAPPY] == pytest.approx(1 - np.exp(-0.297 / 0.3), abs=0.01)
    assert fallen.weights[HAPPY] == pytest.approx(np.exp(-0.297 / 0.8), abs=0.01)


def test_one_picture_of_another_mood_hardly_shows() -> None:
    mood = felt([wholly(NEUTRAL)] * 10 + [wholly(SAD)])

    assert mood.weights[SAD] < 0.12


@pytest.mark.parametrize("step_ms", [16, 33, 66])
def test_a_mood_does_not_depend_on_the_frame_rate(step_ms: int) -> None:
    mood = felt([wholly(NEUTRAL)] + [wholly(HAPPY)] * (528 // step_ms), step_ms)

    assert mood.weights[HAPPY] == pytest.approx(1 - np.exp(-0.528 / 0.3), abs=0.01)


def test_the_weights_are_a_whole_also_while_one_mood_gives_way_to_another() -> None:
    for count in range(1, 40):
        weights = felt([wholly(HAPPY)] + [wholly(SAD)] * count).weights
        assert weights.sum() == pytest.approx(1, abs=1e-5)
        assert weights.min() >= 0


def test_a_face_at_rest_is_neutral() -> None:
    assert (read_mood(np.zeros(52, np.float32)) == wholly(NEUTRAL)).all()


def test_after_a_long_gap_the_mood_is_what_is_shown() -> None:
    mood = feel(felt([wholly(HAPPY)]), wholly(SAD), 60_000 * MS)

    assert mood.weights == pytest.approx(wholly(SAD), abs=1e-3)
