"""A sound card, by ALSA's name for it. The one module that imports ``alsaaudio``."""

import ctypes
import select
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from appliance.errors import MicrophoneError
from appliance.listening.blocks import BlockCutter, HearingClock, from_pcm
from appliance.values import Sound

_EPIPE = 32
_PERIOD_S = 0.01
_PERIODS = 16  # 160 ms of buffer: how long this process may be held up before sound is lost
_QUIET_S = 2.0  # longer without sound, and the device is given up
_RUSH_S = 5.0  # so much sound in less than half its time comes from no device


class AlsaMicrophone:
    """Any capture PCM. Rate and one channel are asked for; what the device gives instead is converted."""

    def __init__(self, name: str, pcm: str, rate: int) -> None:
        self._name = name
        self._pcm = pcm
        self._rate = rate
        self.overruns = 0

    def blocks(self) -> Iterator[Sound]:
        """Yield sound until the device fails; every failure is a ``MicrophoneError``."""
        alsaaudio = self._library()
        device: Any = None
        try:
            device = self._open(alsaaudio)
            yield from self._hear(device)
        except alsaaudio.ALSAAudioError as error:
            cure = _cure(str(error), opened=device is not None)
            raise self._error(f"gives no sound: {error}; {cure}") from None
        finally:
            if device is not None:
                device.close()

    def _library(self) -> ModuleType:
        try:
            import alsaaudio
        except ImportError as error:
            raise self._error(f"needs pyalsaaudio ({error}): pip install 'avatar-appliance[device]'") from None
        library: ModuleType = alsaaudio
        _hush()
        return library

    def _open(self, alsaaudio: ModuleType) -> Any:
        return alsaaudio.PCM(
            type=alsaaudio.PCM_CAPTURE,
            mode=alsaaudio.PCM_NONBLOCK,
            device=self._pcm,
            rate=self._rate,
            channels=1,
            format=alsaaudio.PCM_FORMAT_S16_LE,
            periodsize=round(self._rate * _PERIOD_S),
            periods=_PERIODS,
        )

    def _hear(self, device: Any) -> Iterator[Sound]:
        rate, channels = self._layout(device.info())
        clock, cutter, rush = HearingClock(rate), BlockCutter(rate, "LQ"), _Rush(rate)
        for data in self._reads(device, period=device.info()["period_size"]):
            read_ns = time.monotonic_ns()
            if data is None:  # what follows does not join on to what was heard
                self.overruns += 1
                clock, cutter = HearingClock(rate), BlockCutter(rate, "LQ")
                continue
            frames = from_pcm(data, 2, channels)
            if rush.exceeded(len(frames), read_ns):
                raise self._error("gives sound faster than time passes; name a real device, see arecord -L")
            for samples, heard_ns in cutter.cut(frames, clock.heard_ns(len(frames), read_ns)):
                yield Sound(self._name, samples, heard_ns)

    def _reads(self, device: Any, period: int) -> Iterator[bytes | None]:
        """Yield the frames of each read, and ``None`` for each over-run, until nothing comes for ``_QUIET_S``."""
        sound_s = time.monotonic()
        while True:
            length, data = device.read()  # starts the device, so it comes before the first wait
            if length > 0:
                yield data
                sound_s = time.monotonic()
            elif length == -_EPIPE:
                yield None
                time.sleep(_PERIOD_S)  # a device that does nothing else would take a whole processor
            left_s = sound_s + _QUIET_S - time.monotonic()
            if left_s <= 0:
                raise self._error(f"gave no sound for {_QUIET_S:g} s; look at its plug and its switch")
            if 0 <= length < period:  # all there was
                _wait(device, left_s)

    def _layout(self, info: dict[str, Any]) -> tuple[int, int]:
        """Rate and channels that the device agreed to."""
        if info["format_name"] != "S16_LE":
            raise self._error(f"must give S16_LE samples, gives {info['format_name']}; try alsa:plug{self._pcm}")
        return int(info["rate"]), int(info["channels"])

    def _error(self, what: str) -> MicrophoneError:
        return MicrophoneError(f"microphone {self._name}: alsa:{self._pcm} {what}")


_Hear = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
_HEAR_NOTHING = _Hear(lambda *_: None)  # as long as the program: ALSA keeps its address


def _hush() -> None:
    """Keep ALSA's own lines, of which each attempt to open an absent device causes some, out of the journal."""
    ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(_HEAR_NOTHING)


def _cure(error: str, opened: bool) -> str:
    if "busy" in error:
        return "see which program holds it with: fuser -v /dev/snd/*"
    return "look at its plug" if opened else "see the names that arecord -L lists"


def _wait(device: Any, limit_s: float) -> None:
    """Sleep until the device has sound, or the limit is over."""
    descriptors = device.polldescriptors()
    poll = select.poll()
    for descriptor, mask in descriptors:
        poll.register(descriptor, mask)
    ready = dict(poll.poll(limit_s * 1000))
    # dsnoop and other plug-ins clear their wake-up here; without it poll() returns at once for ever
    device.polldescriptors_revents([(descriptor, ready.get(descriptor, 0)) for descriptor, _ in descriptors])


class _Rush:
    """Notices sound that no device can have heard: ALSA's ``null``, or a pipe whose writer is gone."""

    def __init__(self, rate: int) -> None:
        self._limit = _RUSH_S * rate
        self._frames = 0
        self._since_ns = time.monotonic_ns()

    def exceeded(self, frames: int, read_ns: int) -> bool:
        """Whether ``frames`` more make ``_RUSH_S`` of sound in less than half the time."""
        self._frames += frames
        if self._frames < self._limit:
            return False
        took_ns = read_ns - self._since_ns
        self._frames, self._since_ns = 0, read_ns
        return took_ns < _RUSH_S * 1e9 / 2
