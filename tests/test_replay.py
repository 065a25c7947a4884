"""The main test: recorded pictures and sound through the whole program, held against what came out before."""

import shutil
import subprocess
import sys
from dataclasses import fields
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from appliance.capture.sessions import SessionWriter
from appliance.commands.replay import expect
from appliance.demo.clip import SPEECH_JSON, frames, read_photograph
from appliance.demo.scene import DESK, judge
from appliance.demo.timeline import FPS, LENGTH_S, Timeline, build_timeline
from appliance.listening.recordings import wav_blocks
from appliance.listening.sessions import SoundWriter
from appliance.publish.recorder import compare
from appliance.recording import open_session, write_about
from appliance.replaying import replay
from appliance.settings import Camera, Settings, from_table
from appliance.values import AvatarState, Sound, TrackingState

EXPECTED = Path(__file__).parent / "sessions" / "demo.jsonl"
EVERY = 8  # of the demonstration's pictures, one in so many: enough for each of its events
TOLERANCE = 0.02
S = 1_000_000_000


def record(folder: Path, photograph: Path, clip: Path, seconds: float) -> Path:
    """A session as ``appliance record`` leaves it; its pictures come straight from the clip's painter."""
    write_about(folder, Camera("cam0", f"session:{folder}", microphone="mic0"))
    whole, taken = build_timeline(SPEECH_JSON), slice(0, round(seconds * FPS), EVERY)
    kept = Timeline(**{field.name: getattr(whole, field.name)[taken] for field in fields(Timeline)})
    with SessionWriter(folder) as pictures:
        for index, picture in enumerate(frames(read_photograph(photograph), kept)):
            pictures.write(picture, S + index * EVERY * S // FPS)
    sound = SoundWriter(folder, "mic0")
    for block, samples in enumerate(islice(wav_blocks(clip / "voice.wav"), round(seconds * 100)), start=1):
        sound.write(Sound("mic0", samples, S + block * S // 100))
    sound.close()
    return folder


@pytest.fixture(scope="module")
def session(photograph: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("session"), photograph, clip, LENGTH_S)


@pytest.fixture(scope="module")
def states(session: Path, desk: Settings) -> list[AvatarState]:
    opened, settings = open_session(session, [f"storage.directory={desk.storage.directory}"])
    return list(replay(opened, settings))


def test_the_demonstration_still_yields_the_same_states(
    states: list[AvatarState], session: Path, desk: Settings, request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--update-golden"):
        opened, settings = open_session(session, [f"storage.directory={desk.storage.directory}"])
        expect(opened, settings)
        shutil.copy(opened.expected, EXPECTED)

    assert compare(EXPECTED, states, TOLERANCE) == []


def test_the_session_tells_its_story(states: list[AvatarState]) -> None:
    seen = [state.state for state in states]

    assert seen[0] is TrackingState.ACQUIRING
    assert seen[8] is TrackingState.TRACKING
    assert TrackingState.LOST in seen
    assert seen[-1] is TrackingState.TRACKING
    assert {state.session for state in states if state.state is TrackingState.TRACKING} - {""}


def test_the_voice_is_heard_while_she_speaks(states: list[AvatarState]) -> None:
    active = np.array([state.voice.active for state in states])
    seconds = np.array([state.captured_ns / S - 1 for state in states])

    assert active[(seconds > 11.5) & (seconds < 19)].mean() > 0.6
    assert active[seconds < 10].mean() == 0


def test_a_replay_is_the_same_every_time(states: list[AvatarState], session: Path, desk: Settings) -> None:
    opened, settings = open_session(session, [f"storage.directory={desk.storage.directory}"])

    again = list(replay(opened, settings))

    assert all((one.blendshapes == other.blendshapes).all() for one, other in zip(states, again, strict=True))


def test_the_face_follows_the_known_truth(clip: Path) -> None:
    score = judge(clip, from_table(DESK))

    assert min(score.correlation.values()) >= 0.85
    assert max(score.found_s) <= 0.5
    assert max(score.lost_s) <= 0.5


def test_the_command_replays_updates_and_tells_a_difference(photograph: Path, clip: Path, tmp_path: Path) -> None:
    session = record(tmp_path, photograph, clip, seconds=2)

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "appliance", "replay", str(session), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    written, same = run("--update"), run()
    expected = session / "expected.jsonl"
    expected.write_text(expected.read_text().replace('"jawOpen":', '"jawOpen":7.0,"was":', 1))
    different = run()

    assert (written.returncode, same.returncode, different.returncode) == (0, 0, 1)
    assert "states written" in written.stdout
    assert "every state as expected" in same.stdout
    assert "line 1: blendshapes.jawOpen: expected 7.0" in different.stderr
    assert different.stderr.splitlines()[-1].endswith("accept them with --update")
