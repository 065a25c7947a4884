"""One thread that listens to one microphone."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from appliance import settings
from appliance.errors import MicrophoneError
from appliance.latest import Latest
from appliance.listening.hearing import Hearing
from appliance.listening.microphones import microphone_of
from appliance.listening.scrutiny import SoundScrutiny
from appliance.listening.viseme_network import VisemeNetwork
from appliance.values import Event, Plan, Sound, Voice

_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 1.0  # a device that is back is heard again within 3 s
_STEADY_BLOCKS = 100  # after a second of sound the next failure is a new one
_QUIET_S = 0.1  # between the values of a microphone that is away
_TOGETHER = 2  # blocks: who wakes up half as often pays half as often for cold caches
_CLOSE_S = 3.0  # longer than the longest wait for a device


@dataclass(frozen=True, slots=True)
class ListeningStatus:
    """How listening fares, for the health topic."""

    blocks: int = 0  # of 10 ms, since the start
    overruns: int = 0
    restarts: int = 0
    last_error: str = ""
    ended: bool = False  # a recording played to its end, or the thread is gone
    failure: BaseException | None = None  # a bug; ``close`` raises it
    poor: str = ""  # what is wrong with the sound that it gives


class Listening:
    """Keeps ``voice`` fresh from its own thread, whatever the microphone does.

    A failed microphone is reported, retried with back-off, and reported when it is back; meanwhile
    the voice is silent. ``report`` and ``record`` are called on the listening thread; ``record``
    gets every block.
    """

    def __init__(
        self,
        microphone: settings.Microphone,
        report: Callable[[Event], None],
        record: Callable[[Sound], None] | None = None,
        network: VisemeNetwork | None = None,
        plan: Latest[Plan] | None = None,
    ) -> None:
        self.voice: Latest[Voice] = Latest(Voice(microphone.name, heard_ns=0))
        self.name = microphone.name
        self._microphone = microphone_of(microphone)
        self._senses = microphone.source.startswith("alsa:")  # a recording may hold silence
        self._delay_ns = round(microphone.delay_ms * 1e6)
        self._hearing = Hearing(microphone.name, network)
        self._plan = plan or Latest(Plan())
        self._report = report
        self._record = record
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"listening-{microphone.name}", daemon=True)
        self._blocks = 0
        self._restarts = 0
        self._last_error = self._poor = ""
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def status(self) -> ListeningStatus:
        """Say how it goes; from any thread."""
        ended = self._thread.ident is not None and not self._thread.is_alive()
        counts = (self._blocks, self._microphone.overruns, self._restarts)
        return ListeningStatus(*counts, self._last_error, ended, self._failure, self._poor)

    def close(self) -> None:
        """Stop listening, and raise what killed the thread if a bug did."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._listen()
        except BaseException as bug:  # kept for the daemon, which would not see a thread die
            self._failure = bug
            raise
        finally:
            self._fall_silent()

    def _listen(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._stop.is_set():
            before = self._blocks
            try:
                self._hear()
                return
            except MicrophoneError as error:
                if self._blocks - before >= _STEADY_BLOCKS:
                    retry_s = _FIRST_RETRY_S
                self._lose(error)
            self._rest(retry_s)
            retry_s = min(2 * retry_s, _LAST_RETRY_S)

    def _hear(self) -> None:
        """Listen until the recording ends or the microphone fails."""
        self._hearing.forget()
        scrutiny, together = SoundScrutiny(), list[Sound]()
        for given in self._microphone.blocks():
            if self._stop.is_set():
                return
            sound = replace(given, heard_ns=given.heard_ns - self._delay_ns)
            if self._last_error:
                self._find()
            together.append(sound)
            if len(together) == _TOGETHER:
                self._understand(together)
                together.clear()
            self._blocks += 1
            overruns, now_ns = self._microphone.overruns, time.monotonic_ns()
            if self._senses and (poor := scrutiny.poor(given.samples, overruns, now_ns)) is not None:
                self._judge(poor)
            if self._record is not None:
                self._record(sound)

    def _understand(self, sounds: Sequence[Sound]) -> None:
        """Say what the voice does at the end of sounds that follow each other."""
        whole = replace(sounds[-1], samples=np.concatenate([sound.samples for sound in sounds]))
        voice = self._hearing.hear(whole, self._plan.get().visemes)
        self.voice.put(replace(voice, ready_ns=time.monotonic_ns()))

    def _rest(self, seconds: float) -> None:
        """Wait before the next try; time passes meanwhile, and nobody speaks in it."""
        ends_s = time.monotonic() + seconds
        while (left_s := ends_s - time.monotonic()) > 0 and not self._stop.wait(min(left_s, _QUIET_S)):
            self._fall_silent()

    def _judge(self, poor: str) -> None:
        """Tell what is wrong with the sound that is heard, and when nothing is any more."""
        if poor:
            self._report(Event("microphone_poor", {"microphone": self.name, "reason": poor}))
        else:
            self._report(Event("microphone_well", {"microphone": self.name}))
        self._poor = poor

    def _lose(self, error: MicrophoneError) -> None:
        self._fall_silent()
        self._poor = ""
        if str(error) != self._last_error:
            self._report(Event("microphone_lost", {"microphone": self.name, "error": str(error)}))
        self._last_error = str(error)

    def _find(self) -> None:
        self._last_error = ""
        self._restarts += 1
        self._report(Event("microphone_restarted", {"microphone": self.name, "restarts": self._restarts}))

    def _fall_silent(self) -> None:
        """Close the mouth: nothing else would, when no sound comes."""
        now_ns = time.monotonic_ns()
        self.voice.put(Voice(self.name, now_ns, ready_ns=now_ns))
