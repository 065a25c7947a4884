import dataclasses
import json
import os
import signal
import subprocess
import sys
import wave
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.demo import clip
from appliance.demo.timeline import FRAMES, LENGTH_S, SPEECH_AT_S, build_timeline
from appliance.demo.warp import FaceWarp
from appliance.errors import ApplianceError

TIMELINE = build_timeline(clip.SPEECH_JSON)
RESTING = dict.fromkeys(TIMELINE.at(0), 0.0) | {"scale": 1.0}


def some_frames(photograph, indices):
    chosen = dataclasses.replace(
        TIMELINE, **{field.name: getattr(TIMELINE, field.name)[indices] for field in dataclasses.fields(TIMELINE)}
    )
    return list(clip.frames(clip.read_photograph(photograph), chosen))


def quiet(_line):
    return None


@pytest.fixture
def short_clip(monkeypatch):
    """Renders twenty frames instead of nine hundred."""
    whole = clip.frames
    monkeypatch.setattr(clip, "FRAMES", 20)
    monkeypatch.setattr(clip, "frames", lambda *arguments: islice(whole(*arguments), 20))


def test_a_whole_clip_holds_what_its_reader_expects(prepared):
    video = cv2.VideoCapture(str(prepared / clip.VIDEO))
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (1280, 720)
    assert video.get(cv2.CAP_PROP_FPS) == 30
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    assert (prepared / clip.VIDEO).stat().st_size < 40e6
    with wave.open(str(prepared / "voice.wav")) as voice:
        assert (voice.getframerate(), voice.getnchannels(), voice.getsampwidth()) == (16000, 1, 2)
        assert voice.getnframes() == LENGTH_S * 16000
    with np.load(prepared / "truth.npz") as truth:
        assert all(len(truth[name]) == FRAMES for name in (*clip.TRUTH, "visible", "present"))


def test_a_render_tells_how_far_it_is_and_a_second_call_renders_nothing(photograph, tmp_path, short_clip):
    told, lines = [], []
    first = clip.ensure_clip(tmp_path / "cache", photograph, told.append)
    before = {path: path.stat().st_mtime_ns for path in first.iterdir()}

    second = clip.ensure_clip(tmp_path / "cache", photograph, lines.append)

    assert second == first
    assert list(first.parent.iterdir()) == [first]
    assert len(told) >= 5
    assert lines == []
    assert {path: path.stat().st_mtime_ns for path in second.iterdir()} == before


def test_another_photograph_makes_another_clip(photograph, tmp_path, short_clip):
    first = clip.ensure_clip(tmp_path, photograph, quiet)
    picture = cv2.imread(str(photograph))
    cv2.imwrite(str(photograph), 255 - picture)

    assert clip.ensure_clip(tmp_path, photograph, quiet) != first


def test_the_same_photograph_gives_the_same_frames_and_truth(photograph):
    indices = [0, 105, 300, 640, 810]

    once, again = some_frames(photograph, indices), some_frames(photograph, indices)

    assert all(np.array_equal(first, second) for first, second in zip(once, again, strict=True))
    first_truth, second_truth = clip.truth(TIMELINE), clip.truth(build_timeline(clip.SPEECH_JSON))
    assert all(np.array_equal(first_truth[name], second_truth[name]) for name in first_truth)


def test_a_killed_render_leaves_no_clip(photograph, tmp_path):
    cache = tmp_path / "cache"
    program = (
        "import sys; from pathlib import Path; from appliance.demo.clip import ensure_clip; "
        "ensure_clip(Path(sys.argv[1]), Path(sys.argv[2]), lambda line: print(line, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", program, cache, photograph], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()

        os.kill(child.pid, signal.SIGKILL)

    assert [path for path in cache.iterdir() if not path.name.startswith(".")] == []


def test_the_next_render_sweeps_what_a_killed_one_left(photograph, tmp_path, short_clip):
    old, running = tmp_path / ".clip-old", tmp_path / ".clip-running"
    for aside in (old, running):
        aside.mkdir()
    os.utime(old, (1e9, 1e9))

    folder = clip.ensure_clip(tmp_path, photograph, quiet)

    assert {path.name for path in tmp_path.iterdir()} == {folder.name, running.name, photograph.name}


def test_a_failed_render_leaves_nothing_at_all(photograph, tmp_path, monkeypatch):
    def full_disk(_path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(clip, "write_voice", full_disk)

    with pytest.raises(ApplianceError, match=r"cannot be written to .* No space left on device"):
        clip.ensure_clip(tmp_path / "cache", photograph, quiet)

    assert list((tmp_path / "cache").iterdir()) == []


def test_a_video_that_lost_frames_is_an_error(photograph, tmp_path, monkeypatch):
    whole = clip.frames
    monkeypatch.setattr(clip, "frames", lambda *arguments: islice(whole(*arguments), 7))

    with pytest.raises(ApplianceError, match=f"7 of {FRAMES} frames"):
        clip.ensure_clip(tmp_path / "cache", photograph, quiet)


@pytest.mark.parametrize("content", [b"", b"not a picture", None], ids=["empty", "text", "absent"])
def test_an_unreadable_photograph_is_one_clear_line(tmp_path, content):
    path = tmp_path / "photograph.png"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ApplianceError, match=r"photograph\.png must be a picture of 512 x 512.*delete it") as caught:
        clip.ensure_clip(tmp_path, path, quiet)

    assert "\n" not in str(caught.value)


def test_a_photograph_of_another_size_says_its_size(tmp_path):
    path = tmp_path / "photograph.png"
    cv2.imwrite(str(path), np.zeros((300, 400, 3), np.uint8))

    with pytest.raises(ApplianceError, match="found 400 x 300 pixels"):
        clip.ensure_clip(tmp_path, path, quiet)


def test_the_truth_keeps_to_its_ranges_and_uses_them():
    truth = clip.truth(TIMELINE)

    for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmile", "browUp", "visible"):
        assert truth[name].min() == pytest.approx(0, abs=1e-5), name
        assert truth[name].max() == pytest.approx(1, abs=1e-5), name
    assert truth["roll_deg"].min() < -12
    assert truth["roll_deg"].max() > 12
    assert 0.8 < truth["scale"].min() < 0.9 < 1.1 < truth["scale"].max() < 1.2
    assert set(np.unique(truth["present"])) == {0, 1}


def test_the_clip_begins_with_two_seconds_at_rest_and_loops():
    truth = clip.truth(TIMELINE)

    for name in clip.TRUTH:
        rest = 1 if name == "scale" else 0
        assert np.abs(truth[name][:60] - rest).max() < 1e-4, name
        assert abs(truth[name][-1] - rest) < 0.3, name


def test_the_face_leaves_twice_and_is_long_enough_away():
    present = clip.truth(TIMELINE)["present"]
    left = np.flatnonzero(np.diff(present) < 0)
    returned = np.flatnonzero(np.diff(present) > 0)

    assert len(left) == len(returned) == 2
    assert (returned - left).min() > 0.8 * 30


def test_the_channels_move_independently():
    truth = clip.truth(TIMELINE)
    seen = truth["visible"] > 0.999
    names = ("jawOpen", "eyeBlinkLeft", "mouthSmile", "roll_deg")

    together = np.abs(np.corrcoef([truth[name][seen] for name in names]) - np.eye(len(names)))

    assert together.max() < 0.3
    assert np.corrcoef(truth["eyeBlinkLeft"][seen], truth["eyeBlinkRight"][seen])[0, 1] < 0.85


def test_the_jaw_moves_with_the_speech_and_lips_meet_before_a_burst():
    phonemes = json.loads(clip.SPEECH_JSON.read_text(encoding="utf-8"))["phonemes"]
    middles = {viseme: [] for viseme in ("aa", "PP")}
    for start_s, _, _, viseme in phonemes:
        if viseme in middles:
            middles[viseme].append(round((SPEECH_AT_S + start_s) * 30) + (1 if viseme == "aa" else 0))

    assert TIMELINE.jawOpen[middles["aa"]].mean() > 2 * TIMELINE.jawOpen[middles["PP"]].mean()
    assert TIMELINE.close[middles["PP"]].min() > 0.4


def test_the_committed_speech_fits_the_clip():
    with wave.open(str(clip.SPEECH_WAV)) as speech:
        assert (speech.getframerate(), speech.getnchannels(), speech.getsampwidth()) == (16000, 1, 2)
        assert SPEECH_AT_S + speech.getnframes() / 16000 < LENGTH_S
    assert Path(clip.SPEECH_WAV).stat().st_size < 350_000


@pytest.mark.parametrize(
    ("channel", "left", "right", "top", "bottom"),
    [
        ("eyeBlinkRight", 190, 217, 88, 108),
        ("eyeBlinkLeft", 233, 260, 90, 110),
        ("jawOpen", 165, 282, 124, 230),
    ],
)
def test_a_channel_changes_its_own_part_of_the_face_alone(photograph, channel, left, right, top, bottom):
    texture = clip.enlarge(clip.read_photograph(photograph))
    warp = FaceWarp(texture)

    change = np.abs(warp(RESTING | {channel: 1.0}).astype(int) - warp(RESTING)).max(axis=2)

    rows, columns = np.nonzero(change > 3)
    x, y = (columns + warp.box[1].start) / 2.4, (rows + warp.box[0].start) / 2.4
    assert len(x) > 500
    assert left < x.min()
    assert x.max() < right
    assert top < y.min()
    assert y.max() < bottom


def test_the_photographed_smile_is_shown_unwarped(photograph):
    texture = clip.enlarge(clip.read_photograph(photograph))
    warp = FaceWarp(texture)

    face = warp(RESTING | {"mouthSmile": 1.0})

    difference = np.abs(face.astype(int) - texture[warp.box])
    assert difference.max() <= 3


def test_roll_turns_the_head_counter_clockwise_as_seen():
    straight = clip.pose_map(RESTING)
    rolled = clip.pose_map(RESTING | {"roll_deg": 10.0})
    above_pivot = (300, 640)

    # What is seen above the neck came from the head's own right side of the picture: the head moved left.
    assert rolled[above_pivot][0] > straight[above_pivot][0]
