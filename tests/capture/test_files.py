import itertools
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.capture.cameras import at_own_pace
from appliance.capture.files import FileCamera
from appliance.errors import CameraError
from appliance.values import Image

from .films import number_of, numbered, numbers_and_times

PERIOD_NS = 1_000_000_000 // 30
SLACK_NS = 1_000_000  # the film's own times are rounded


def test_a_film_gives_every_picture_in_order_and_ends(film: Path) -> None:
    numbers = [number_of(image) for image, _ in FileCamera(str(film), 30, False).pictures() if image is not None]

    assert numbers == list(range(30))


def test_no_picture_of_a_film_comes_before_its_time(film: Path) -> None:
    stamps = [captured_ns for _, captured_ns in FileCamera(str(film), 60, False).pictures()]

    early = [index for index, at in enumerate(stamps) if at - stamps[0] < index * PERIOD_NS - SLACK_NS]
    assert early == []
    assert stamps[-1] - stamps[0] < 29 * PERIOD_NS + 500_000_000
    assert 0 <= time.monotonic_ns() - stamps[-1] < 500_000_000


def test_a_looping_film_goes_on_without_a_break(film: Path) -> None:
    played = numbers_and_times(itertools.islice(FileCamera(str(film), 30, True).pictures(), 45))

    expected = [number % 30 for number in range(45)]
    assert [shown for (shown, _), due in zip(played, expected, strict=True) if shown not in (due, None)] == []
    assert len([shown for shown, _ in played[30:] if shown is not None]) >= 5
    lasted_ns = played[-1][1] - played[0][1]
    assert 44 * PERIOD_NS - 2 * SLACK_NS < lasted_ns < 44 * PERIOD_NS + 500_000_000


def test_a_late_film_passes_pictures_over_and_keeps_its_pace(film: Path) -> None:
    pictures = FileCamera(str(film), 30, False).pictures()
    start = next(pictures)[1]
    time.sleep(0.5)

    rest = numbers_and_times(pictures)

    assert len(rest) == 29
    assert [shown for shown, _ in rest[:10]] == [None] * 10
    assert rest[-1][0] == 29
    assert rest[-1][1] - start < 29 * PERIOD_NS + 500_000_000


def test_a_decoder_that_needs_nearly_all_the_time_loses_no_picture() -> None:
    period_ns = 100_000_000

    def slowly() -> Image:
        time.sleep(0.07)
        return numbered(0)

    played = list(at_own_pace([[(index * period_ns, slowly) for index in range(8)]], 10))

    assert [image for image, _ in played if image is None] == []
    assert played[-1][1] - played[0][1] < 7.5 * period_ns


def test_a_still_is_a_clip_of_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "still.png"
    cv2.imwrite(str(path), numbered(5))

    once = list(FileCamera(str(path), 50, False).pictures())
    looped = numbers_and_times(itertools.islice(FileCamera(str(path), 50, True).pictures(), 6))

    assert len(once) == 1
    assert {number for number, _ in looped} - {None} == {5}
    assert looped[-1][1] - looped[0][1] >= 5 * 20_000_000 - SLACK_NS


def test_a_truncated_still_is_an_empty_picture(tmp_path: Path) -> None:
    path = tmp_path / "still.jpg"
    path.write_bytes(cv2.imencode(".jpg", numbered(5))[1].tobytes()[:900])

    images = [image for image, _ in FileCamera(str(path), 50, False).pictures()]

    assert [image.size for image in images if image is not None] == [0]


def test_a_missing_film_and_a_file_that_is_none_say_so(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a film")

    with pytest.raises(CameraError, match=r"no film or picture at .*look at camera.source"):
        next(FileCamera(str(tmp_path / "gone.mp4"), 30, False).pictures())
    with pytest.raises(CameraError, match="is no film that OpenCV can play; convert it"):
        next(FileCamera(str(text), 30, False).pictures())


def test_a_film_that_was_cut_short_ends_early_or_says_so(film: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(cut), cv2.VideoWriter.fourcc(*"MJPG"), 100, (320, 240))
    for number in range(20):
        writer.write(np.ascontiguousarray(numbered(number)))
    writer.release()
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])

    played = list(FileCamera(str(cut), 100, False).pictures())

    assert 0 < len(played) < 20
