from itertools import pairwise

import numpy as np
import pytest

from appliance import settings
from appliance.capture.patience import BLIND_LIMIT_S, Patience
from appliance.capture.scrutiny import DARK, FROZEN, FROZEN_NS, POOR_NS, UNFILLED, WHITE, Scrutiny
from appliance.errors import CameraError
from appliance.values import Image

FPS = 30
PERIOD_NS = 1_000_000_000 // FPS
USB = settings.Camera("cam0", "v4l2:/dev/video0", 320, 240, FPS)


def noisy(number: int, grey: int = 100) -> Image:
    return np.random.default_rng(number).integers(grey - 20, grey + 20, (240, 320, 3), np.uint8)


def flat(blue: int, green: int, red: int) -> Image:
    return np.full((240, 320, 3), (blue, green, red), np.uint8)


def refusals(scrutiny: Scrutiny, pictures: list[Image]) -> list[str]:
    return [scrutiny.refuse(picture, number * PERIOD_NS) for number, picture in enumerate(pictures)]


def complaints(scrutiny: Scrutiny, pictures: list[Image], period_ns: int = PERIOD_NS) -> list[str]:
    told = [scrutiny.poor(picture, number * period_ns) for number, picture in enumerate(pictures, start=1)]
    return [words for words in told if words is not None]


def test_a_sensor_that_moves_is_shown_from_its_second_picture_on() -> None:
    assert refusals(Scrutiny(USB), [noisy(number) for number in range(60)]) == [FROZEN] + 59 * [""]


def test_the_same_picture_again_is_refused_after_a_second_until_it_moves() -> None:
    still = noisy(1)
    found = refusals(Scrutiny(USB), [noisy(0), *(60 * [still]), noisy(2)])

    frozen = [number for number, words in enumerate(found) if words == FROZEN]
    assert frozen[0] == 0
    assert frozen[1] * PERIOD_NS > FROZEN_NS
    assert frozen[1:] == list(range(frozen[1], 61))
    assert found[-1] == ""


@pytest.mark.parametrize("picture", [flat(0, 0, 0), flat(255, 255, 255), flat(90, 91, 90)])
def test_a_lens_cap_is_no_frozen_picture(picture: Image) -> None:
    assert set(refusals(Scrutiny(USB), 60 * [picture])) == {""}


@pytest.mark.parametrize("source", ["file:/still.png", "rtsp://camera/stream", "session:/monday"])
def test_what_is_no_sensor_may_stand_still(source: str) -> None:
    camera = settings.Camera("cam0", source, 320, 240, FPS)

    assert set(refusals(Scrutiny(camera), 60 * [noisy(1)])) == {""}


@pytest.mark.parametrize("green", [135, 154], ids=["of a JPEG", "of YUYV"])
@pytest.mark.parametrize("rows", [240, 60])
def test_what_the_driver_left_unfilled_is_refused(green: int, rows: int) -> None:
    picture = noisy(1)
    picture[-rows:] = (0, green, 0)

    assert Scrutiny(USB).refuse(picture, 0) == UNFILLED


def test_a_green_screen_is_none_of_that() -> None:
    studio = noisy(1)
    studio[..., 1] = np.random.default_rng(2).integers(130, 170, studio.shape[:2])

    assert Scrutiny(USB).refuse(studio, 0) != UNFILLED


@pytest.mark.parametrize(("picture", "words"), [(flat(255, 255, 255), WHITE), (flat(3, 3, 3), DARK)])
def test_poor_light_is_told_once_it_lasts_and_once_it_is_over(picture: Image, words: str) -> None:
    lasting = POOR_NS // PERIOD_NS + 5

    assert complaints(Scrutiny(USB), lasting * [picture] + 40 * [noisy(1)]) == [words, ""]
    assert complaints(Scrutiny(USB), (lasting // 2) * [picture] + 40 * [noisy(1)]) == []


def test_a_size_that_was_not_asked_for_is_told() -> None:
    (words,) = complaints(Scrutiny(USB), 90 * [noisy(1)[:120, :160]])

    assert words == "it gives 160x120, and 320x240 was asked for"


@pytest.mark.parametrize(("share", "told"), [(1.0, 0), (0.8, 0), (0.5, 1)])
def test_far_fewer_pictures_than_asked_for_are_told(share: float, told: int) -> None:
    assert len(complaints(Scrutiny(USB), 150 * [noisy(1)], round(PERIOD_NS / share))) == told


def test_patience_tells_each_second_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    times_s: list[float] = []
    now_s = [100.0]
    monkeypatch.setattr("appliance.capture.patience.time.monotonic", lambda: now_s[0])
    patience = Patience(lambda waiting: (told.append(waiting), times_s.append(now_s[0])))

    def look() -> None:
        while now_s[0] < 130:
            now_s[0] += 0.1
            patience.refused("green")

    with pytest.raises(CameraError, match="green"):
        look()

    assert set(told) == {"green"}
    assert all(later - earlier >= 0.99 for earlier, later in pairwise(times_s))
    assert now_s[0] == pytest.approx(100.1 + BLIND_LIMIT_S, abs=0.15)
