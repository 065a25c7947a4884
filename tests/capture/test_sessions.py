import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.capture.sessions import FILE_NAME, SessionCamera, SessionPictures, SessionWriter
from appliance.errors import CameraError

from .films import number_of, numbered, numbers_and_times

START_NS = 81_000_000_000_000
STEP_NS = 25_000_000
ROUNDING_NS = 100_000


@pytest.fixture
def session(tmp_path: Path) -> Path:
    folder = tmp_path / "session"
    with SessionWriter(folder) as writer:
        for number in range(12):
            writer.write(numbered(number), START_NS + number * STEP_NS)
    return folder


def test_what_was_recorded_comes_back_with_its_own_times(session: Path) -> None:
    pictures = SessionPictures(session)

    played = [(number_of(image), captured_ns) for image, captured_ns in pictures]

    assert played == [(number, START_NS + number * STEP_NS) for number in range(12)]
    assert (len(pictures), pictures.width_px, pictures.height_px) == (12, 320, 240)
    assert [path.name for path in session.iterdir()] == [FILE_NAME]


def test_a_session_gives_the_same_pictures_each_time(session: Path) -> None:
    first = [image.tobytes() for image, _ in SessionPictures(session)]
    second = [image.tobytes() for image, _ in SessionPictures(session)]

    assert first == second


def test_the_file_is_as_documented(session: Path) -> None:
    with np.load(session / FILE_NAME, allow_pickle=False) as arrays:
        jpeg, offsets, captured_ns = arrays["jpeg"], arrays["offsets"], arrays["captured_ns"]
        size = (int(arrays["width"]), int(arrays["height"]))

    assert (jpeg.dtype, offsets.dtype, captured_ns.dtype) == (np.uint8, np.int64, np.int64)
    assert (offsets.shape, captured_ns.shape, size) == ((13,), (12,), (320, 240))
    third = cv2.imdecode(jpeg[offsets[3] : offsets[4]], cv2.IMREAD_COLOR)
    assert number_of(np.asarray(third, np.uint8)) == 3


def test_a_session_camera_plays_at_the_recorded_pace_with_new_times(session: Path) -> None:
    played = list(SessionCamera(str(session), loop=False).pictures())

    stamps = [captured_ns for _, captured_ns in played]
    early = [index for index, at in enumerate(stamps) if at - stamps[0] < index * STEP_NS - ROUNDING_NS]
    assert len(played) == 12
    assert early == []
    assert abs(stamps[0] - START_NS) > 1_000_000_000
    assert stamps[-1] - stamps[0] < 11 * STEP_NS + 500_000_000


def test_a_session_camera_loops(session: Path) -> None:
    played = numbers_and_times(itertools.islice(SessionCamera(str(session), loop=True).pictures(), 15))

    assert [number for number, _ in played[-3:]] in ([0, 1, 2], [None, 1, 2], [None, None, 2])
    assert played[-1][1] - played[0][1] >= 14 * STEP_NS - ROUNDING_NS


def test_a_recording_that_was_cut_short_says_so(session: Path) -> None:
    path = session / FILE_NAME
    path.write_bytes(path.read_bytes()[:-5000])

    with pytest.raises(CameraError, match=r"is no whole recording: .*record the session again"):
        list(SessionPictures(session))


def test_one_damaged_byte_of_a_recording_is_noticed(session: Path) -> None:
    path = session / FILE_NAME
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(CameraError, match="is no whole recording"):
        list(SessionPictures(session))


@pytest.mark.parametrize(
    "changed",
    [
        {"offsets": np.arange(4)},
        {"captured_ns": np.zeros((2, 6), np.int64)},
        {"captured_ns": np.zeros(0, np.int64), "offsets": np.zeros(1, np.int64)},
        {"offsets": np.arange(13, dtype=np.int64) * -100},
        {"offsets": np.full(13, 10**9, np.int64).cumsum()},
        {"captured_ns": np.array([object()] * 12, object)},
        {"width": np.array([1, 2])},
        {"jpeg": np.zeros((2, 2))},
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(session: Path, changed: dict[str, np.ndarray]) -> None:
    path = session / FILE_NAME
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **{**content, **changed})

    with pytest.raises(CameraError, match="is no whole recording"):
        list(SessionPictures(session))


def test_a_missing_recording_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"no recorded pictures at .*appliance record"):
        next(SessionCamera(str(tmp_path), loop=False).pictures())


def test_a_recording_without_pictures_leaves_no_file(tmp_path: Path) -> None:
    SessionWriter(tmp_path).close()

    assert list(tmp_path.iterdir()) == []
