"""ALSA's own library, driven through pyalsaaudio: a paced plug-in of ours, and a FIFO."""

import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from appliance import settings
from appliance.errors import MicrophoneError
from appliance.listening.microphones import microphone_of

from .conftest import Alsa

CYCLE = 30011  # of the paced microphone's count
LISTEN = """
import sys, time
import numpy as np
from appliance import settings
from appliance.errors import MicrophoneError
from appliance.listening.microphones import microphone_of

source, rate, blocks, stall_at, out = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
microphone = microphone_of(settings.Microphone("mic", source, rate))
samples, heard_ns, in_hand_ns, error = [], [], [], ""
try:
    for sound in microphone.blocks():
        samples.append(sound.samples)
        heard_ns.append(sound.heard_ns)
        in_hand_ns.append(time.monotonic_ns())
        if len(samples) == 1:
            print("heard", flush=True)
            began_s = time.process_time()
        if len(samples) == stall_at: time.sleep(0.5)
        if len(samples) == blocks: break
except MicrophoneError as lost:
    error = str(lost)
worked_s = time.process_time() - began_s if samples else 0
stamps = {"heard_ns": heard_ns, "in_hand_ns": in_hand_ns}
np.savez(out, samples=samples, worked_s=worked_s, overruns=microphone.overruns, error=error, **stamps)
"""


class Heard:
    def __init__(self, path: Path) -> None:
        with np.load(path) as saved:
            self.pcm: npt.NDArray[np.int64] = np.rint(saved["samples"].reshape(-1) * 32768).astype(np.int64)
            self.blocks = len(saved["samples"])
            self.heard_ns = saved["heard_ns"]
            self.in_hand_ns = saved["in_hand_ns"]
            self.overruns = int(saved["overruns"])
            self.worked_s = float(saved["worked_s"])
            self.error = str(saved["error"])


def listen(alsa: Alsa, source: str, blocks: int, stall_at: int = 0, rate: int = 16000, order: str = "") -> Heard:
    """Listen in a child; ``order`` is given when it has heard its first block."""
    out = alsa.control.parent / "heard.npz"
    with alsa.run(LISTEN, source, rate, blocks, stall_at, out) as child:
        if order:
            assert child.stdout is not None
            child.stdout.readline()
            alsa.order(order)
        assert child.wait(20) == 0
    return Heard(out)


def test_every_sample_of_a_pipe_arrives_once_and_on_the_clock(alsa: Alsa) -> None:
    pcm = np.random.default_rng(1).integers(-32768, 32768, 120 * 160).astype("<i2")
    os.mkfifo(alsa.fifo)
    written_ns: list[int] = []

    def speak() -> None:
        with alsa.fifo.open("wb", buffering=0) as pipe:
            start_s = time.monotonic()
            for index, chunk in enumerate(pcm.reshape(-1, 160)):
                time.sleep(max(start_s + 0.01 * index - time.monotonic(), 0))
                written_ns.append(time.monotonic_ns())
                pipe.write(chunk.tobytes())

    speaker = threading.Thread(target=speak)
    speaker.start()
    heard = listen(alsa, "alsa:pipe", blocks=120)
    speaker.join()

    np.testing.assert_array_equal(heard.pcm, pcm)
    assert np.all(np.diff(heard.heard_ns) > 0)
    assert np.all(heard.heard_ns <= heard.in_hand_ns)
    assert abs(np.median(heard.heard_ns - np.array(written_ns))) < 10e6  # within one block of the truth
    assert heard.overruns == 0


def test_a_device_that_keeps_time_loses_nothing(alsa: Alsa) -> None:
    heard = listen(alsa, "alsa:mic", blocks=100)

    assert set(np.diff(heard.pcm) % CYCLE) == {1}
    assert heard.overruns == 0
    assert np.all(heard.heard_ns <= heard.in_hand_ns)
    steps_ns = np.diff(heard.heard_ns)
    assert np.all(steps_ns > 0)
    assert np.median(steps_ns) == pytest.approx(10e6, rel=0.001)


def test_a_device_of_two_channels_is_mixed_to_one_and_keeps_its_pace(alsa: Alsa) -> None:
    alsa.order("stereo")

    heard = listen(alsa, "alsa:mic", blocks=50)

    assert set(np.diff(heard.pcm) % CYCLE) == {1}
    assert np.median(np.diff(heard.heard_ns)) == pytest.approx(10e6, rel=0.001)


def test_a_stalled_reader_over_runs_and_goes_on_with_true_stamps(alsa: Alsa) -> None:
    heard = listen(alsa, "alsa:mic", blocks=100, stall_at=50)

    assert heard.overruns == 1
    steps = np.diff(heard.pcm) % CYCLE
    gaps = np.flatnonzero(steps != 1)
    assert len(gaps) == 1
    lost_ns = (int(steps[gaps[0]]) - 1) * 1_000_000_000 // 16000
    block = (gaps[0] + 1) // 160
    stamped_ns = heard.heard_ns[block] - heard.heard_ns[block - 1] - 10_000_000
    assert lost_ns > 300_000_000  # 0.5 s of stall, 0.16 s of buffer
    assert stamped_ns == pytest.approx(lost_ns, abs=10e6)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_another_rate_becomes_16_khz_in_real_time(alsa: Alsa, rate: int) -> None:
    heard = listen(alsa, "alsa:mic", blocks=100, rate=rate)

    assert heard.blocks == 100
    assert np.median(np.diff(heard.heard_ns)) == pytest.approx(10e6, rel=0.001)
    assert np.median(np.diff(heard.pcm)) == pytest.approx(rate / 16000, abs=1)  # the count goes up as fast
    assert heard.worked_s < 0.25  # of one second: it sleeps between periods, and takes no frame singly


@pytest.mark.parametrize(
    ("order", "what"), [("gone", "No such device"), ("quiet", "no sound for 2 s"), ("choked", "no sound for 2 s")]
)
def test_a_device_that_fails_says_so_in_one_line(alsa: Alsa, order: str, what: str) -> None:
    heard = listen(alsa, "alsa:mic", blocks=1000, order=order)

    assert what in heard.error
    assert "alsa:mic" in heard.error
    assert "\n" not in heard.error


def test_a_source_that_outruns_time_is_no_device(alsa: Alsa) -> None:
    heard = listen(alsa, "alsa:nothing", blocks=100_000)

    assert "faster than time passes" in heard.error


def test_a_pcm_that_is_not_there_says_where_to_look(alsa: Alsa) -> None:
    heard = listen(alsa, "alsa:elsewhere", blocks=1)

    assert "alsa:elsewhere" in heard.error
    assert "arecord -L" in heard.error


def test_without_pyalsaaudio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alsaaudio", None)
    microphone = microphone_of(settings.Microphone("mic", "alsa:default"))

    with pytest.raises(MicrophoneError, match=r"pip install 'avatar-appliance\[device\]'"):
        next(iter(microphone.blocks()))


COME_BACK = """
import json, pathlib, sys, time
from appliance import settings
from appliance.listening.ears import Listening

control, events = pathlib.Path(sys.argv[1]), []
listening = Listening(settings.Microphone("mic", "alsa:mic"), lambda event: events.append(event.name))
def until(what):
    end_s = time.monotonic() + 10
    while not what(): assert time.monotonic() < end_s; time.sleep(0.01)
listening.start()
until(lambda: listening.status().blocks > 20)
(control / "gone").touch()
until(lambda: events)
error, before = listening.status().last_error, listening.voice.get()
(control / "gone").unlink()
until(lambda: listening.status().restarts)
first = listening.status().blocks
until(lambda: listening.status().blocks > first + 20)
after = listening.voice.get()
listening.close()
print(json.dumps([events, error, before.active, after.heard_ns - before.heard_ns, listening.status().last_error]))
"""


def test_a_device_that_dies_and_comes_back_is_heard_again(alsa: Alsa) -> None:
    with alsa.run(COME_BACK, alsa.control) as child:
        out, _ = child.communicate(timeout=25)

    events, error, active, step_ns, last_error = json.loads(out)
    assert events == ["microphone_lost", "microphone_restarted"]
    assert "No such device" in error
    assert not active  # a lost microphone must not leave the mouth open
    assert step_ns > 200_000_000  # the stamps go on with the clock, not with the count of blocks
    assert last_error == ""
