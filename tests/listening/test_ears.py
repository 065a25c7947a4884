import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from appliance import settings
from appliance.errors import MicrophoneError
from appliance.listening import ears
from appliance.listening.ears import Listening
from appliance.values import Event, Sound, Voice

from .test_recordings import write_wav
from .test_voice import vowels
from .toy_network import LOW, toy_network

Sine = Callable[..., npt.NDArray[np.float32]]


def until(what: Callable[[], object]) -> None:
    end_s = time.monotonic() + 10
    while not what():
        assert time.monotonic() < end_s, "did not happen within 10 s"
        time.sleep(0.005)


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    sound = np.concatenate([np.zeros(4000, np.float32), vowels(-20.0, 0.5)])
    return write_wav(tmp_path / "speech.wav", sound[:, np.newaxis], 16000)


def test_a_recording_is_heard_to_its_end(speech: Path) -> None:
    events: list[Event] = []
    recorded: list[Sound] = []
    listening = Listening(settings.Microphone("mic0", f"file:{speech}"), events.append, recorded.append)
    silent = listening.voice.get()

    listening.start()
    until(lambda: listening.voice.get().active)
    voice = listening.voice.get()
    until(lambda: listening.status().ended)
    listening.close()

    assert (silent.active, silent.level, silent.heard_ns) == (False, 0.0, 0)
    assert voice.microphone == "mic0"
    assert voice.level > 0.3
    assert (voice.arousal, voice.visemes) == (0.5, None)
    assert voice.ready_ns >= voice.heard_ns
    assert len(recorded) == listening.status().blocks == 75
    assert voice.heard_ns in [sound.heard_ns for sound in recorded]
    assert not listening.voice.get().active  # the mouth closes when the sound ends
    assert events == []
    assert listening.status().failure is None


def test_a_missing_file_is_reported_once_and_heard_when_it_comes(tmp_path: Path, sine: Sine) -> None:
    path, events = tmp_path / "late.wav", list[Event]()
    listening = Listening(settings.Microphone("mic0", f"file:{path}", loop=True), events.append)

    listening.start()
    until(lambda: events)
    error = listening.status().last_error
    time.sleep(0.8)  # past the first retry
    write_wav(path, sine(-6.0, 0.2)[:, np.newaxis], 16000)
    until(lambda: listening.status().restarts)
    listening.close()

    assert [event.name for event in events] == ["microphone_lost", "microphone_restarted"]
    assert str(path) in error
    assert events[0].details == {"microphone": "mic0", "error": error}
    assert listening.status().last_error == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_on_the_thread_is_seen_by_the_daemon(speech: Path) -> None:
    def buggy(_: Sound) -> None:
        raise ZeroDivisionError("a bug")

    listening = Listening(settings.Microphone("mic0", f"file:{speech}"), lambda _: None, buggy)

    listening.start()
    until(lambda: listening.status().ended)

    assert isinstance(listening.status().failure, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        listening.close()


def test_closing_stops_at_once_and_may_come_before_the_start(speech: Path) -> None:
    listening = Listening(settings.Microphone("mic0", f"file:{speech}", loop=True), lambda _: None)
    listening.start()
    until(lambda: listening.status().blocks)
    began_s = time.monotonic()

    listening.close()

    assert time.monotonic() - began_s < 1.0
    assert listening.status().ended
    Listening(settings.Microphone("mic1", f"file:{speech}"), lambda _: None).close()


class DyingMicrophone:
    """Speaks for a moment, dies in the middle of a word, and is gone."""

    overruns = 0

    def blocks(self) -> Iterator[Sound]:
        sound = np.concatenate([np.zeros(8000, np.float32), vowels(-20.0, 0.32)])
        for start in range(0, len(sound), 160):
            yield Sound("mic0", sound[start : start + 160], time.monotonic_ns())
        raise MicrophoneError("microphone mic0: unplugged")


def test_a_device_that_dies_in_mid_word_leaves_a_shut_mouth_and_time_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ears, "microphone_of", lambda _: DyingMicrophone())
    heard: list[Voice] = []
    network = toy_network(tmp_path / "toy.onnx")
    listening = Listening(settings.Microphone("mic0", "alsa:x"), lambda _: None, None, network)
    put = listening.voice.put
    monkeypatch.setattr(listening.voice, "put", lambda voice: (heard.append(voice), put(voice)))

    listening.start()
    until(lambda: listening.status().last_error)
    lost_ns = listening.voice.get().heard_ns
    until(lambda: listening.voice.get().heard_ns > lost_ns + 200_000_000)
    listening.close()

    spoken = next(index for index, voice in enumerate(heard) if voice.speech is None)
    before, after = heard[spoken - 1], heard[spoken]
    assert before.speech is not None
    assert before.speech.visemes[:, LOW].max() > 0.5
    assert (after.active, after.level, after.visemes) == (False, 0.0, None)
    assert all(later.heard_ns > earlier.heard_ns for earlier, later in itertools.pairwise(heard))


def test_a_known_delay_is_taken_off_every_stamp(speech: Path) -> None:
    recorded: list[Sound] = []
    listening = Listening(settings.Microphone("mic0", f"file:{speech}", delay_ms=120), lambda _: None, recorded.append)
    began_ns = time.monotonic_ns()

    listening.start()
    until(lambda: len(recorded) >= 3)
    voice = listening.voice.get()
    listening.close()

    assert began_ns - 120_000_000 < recorded[0].heard_ns < began_ns
    assert voice.ready_ns - voice.heard_ns >= 120_000_000


def test_a_wav_that_is_none_is_told_in_one_line_and_heard_once_it_is_one(tmp_path: Path, sine: Sine) -> None:
    path, events = tmp_path / "voice.wav", list[Event]()
    path.write_text("this is no sound")
    listening = Listening(settings.Microphone("mic0", f"file:{path}", loop=True), events.append)

    listening.start()
    until(lambda: events)
    error, silent = listening.status().last_error, listening.voice.get()
    write_wav(path, sine(-6.0, 0.2)[:, np.newaxis], 16000)
    until(lambda: listening.voice.get().level > 0.5)
    listening.close()

    assert str(path) in error
    assert "convert it with: ffmpeg" in error
    assert (silent.active, silent.level) == (False, 0.0)
    assert [event.name for event in events] == ["microphone_lost", "microphone_restarted"]
