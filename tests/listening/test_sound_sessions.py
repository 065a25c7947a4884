import json
import os
import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import MicrophoneError
from appliance.listening.sessions import VOICE_TIMES, VOICE_WAV, SoundWriter, session_sound
from appliance.values import Sound


@pytest.fixture
def sounds() -> list[Sound]:
    """A second of 16-bit noise, with a jump in its stamps."""
    pcm = np.random.default_rng(3).integers(-32768, 32768, (100, 160))
    stamps = [7_000_000_000 + 10_000_003 * index + (500_000_000 if index > 60 else 0) for index in range(100)]
    return [Sound("mic0", (block / 32768).astype(np.float32), stamp) for block, stamp in zip(pcm, stamps, strict=True)]


def write(directory: Path, sounds: list[Sound]) -> None:
    writer = SoundWriter(directory, "mic0")
    for sound in sounds:
        writer.write(sound)
    writer.close()


def test_what_was_recorded_replays_bit_for_bit(tmp_path: Path, sounds: list[Sound]) -> None:
    write(tmp_path / "new" / "session", sounds)

    replayed = list(session_sound(tmp_path / "new" / "session"))

    assert [sound.heard_ns for sound in replayed] == [sound.heard_ns for sound in sounds]
    assert {sound.microphone for sound in replayed} == {"mic0"}
    np.testing.assert_array_equal([sound.samples for sound in replayed], [sound.samples for sound in sounds])


def test_loud_sound_is_clipped_not_wrapped(tmp_path: Path) -> None:
    write(tmp_path, [Sound("mic0", np.tile(np.array([1.5, -1.5], np.float32), 80), 1)])

    samples = next(session_sound(tmp_path)).samples

    assert samples.max() == pytest.approx(1.0, abs=1e-4)
    assert samples.min() == -1.0


RECORD_FOREVER = """
import itertools, sys
from pathlib import Path
import numpy as np
from appliance.listening.sessions import SoundWriter
from appliance.values import Sound
writer = SoundWriter(Path(sys.argv[1]), "mic0")
for count in itertools.count():
    writer.write(Sound("mic0", np.full(160, (count % 1000) / 32768, np.float32), count))
    if count == 1000: print("recorded", flush=True)
"""


def test_a_killed_recorder_leaves_a_session_that_plays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RECORD_FOREVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as recorder:
        assert recorder.stdout is not None
        recorder.stdout.readline()
        os.kill(recorder.pid, signal.SIGKILL)

    replayed = list(session_sound(tmp_path))

    assert len(replayed) >= 900
    assert all(round(sound.samples[0] * 32768) == sound.heard_ns % 1000 for sound in replayed)


def damage_header(directory: Path) -> None:
    (directory / VOICE_TIMES).write_text('{"v": 2}\n1\n')


def damage_stamp(directory: Path) -> None:
    lines = (directory / VOICE_TIMES).read_text().splitlines(keepends=True)
    (directory / VOICE_TIMES).write_text("".join([*lines[:5], "soon\n", *lines[5:]]))


def empty_times(directory: Path) -> None:
    (directory / VOICE_TIMES).write_text("")


def binary_times(directory: Path) -> None:
    (directory / VOICE_TIMES).write_bytes(b"\xff\xfe\x00")


def no_sound(directory: Path) -> None:
    (directory / VOICE_WAV).unlink()


def no_times(directory: Path) -> None:
    (directory / VOICE_TIMES).unlink()


def other_sound(directory: Path) -> None:
    with wave.open(str(directory / VOICE_WAV), "wb") as wav:
        wav.setparams((2, 2, 44100, 0, "NONE", ""))
        wav.writeframes(bytes(4000))


def not_sound(directory: Path) -> None:
    (directory / VOICE_WAV).write_bytes(b"RIFF")


@pytest.mark.parametrize(
    "damage",
    [damage_header, damage_stamp, empty_times, binary_times, no_sound, no_times, other_sound, not_sound],
)
def test_a_damaged_session_is_one_line_that_names_it(tmp_path: Path, sounds: list[Sound], damage: object) -> None:
    write(tmp_path, sounds)
    assert callable(damage)
    damage(tmp_path)

    with pytest.raises(MicrophoneError) as caught:
        list(session_sound(tmp_path))

    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(MicrophoneError, match="file"):
        SoundWriter(tmp_path / "file", "mic0")


def test_the_format_is_the_documented_one(tmp_path: Path, sounds: list[Sound]) -> None:
    write(tmp_path, sounds)

    first, *stamps = (tmp_path / VOICE_TIMES).read_text().splitlines()

    assert json.loads(first) == {"v": 1, "microphone": "mic0", "rate": 16000, "block": 160}
    assert [int(stamp) for stamp in stamps] == [sound.heard_ns for sound in sounds]
    with wave.open(str(tmp_path / VOICE_WAV)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate(), wav.getnframes()) == (1, 2, 16000, 16000)
