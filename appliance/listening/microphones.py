"""What a microphone is, and which one a source names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from appliance import settings
from appliance.listening.alsa import AlsaMicrophone
from appliance.listening.recordings import FileMicrophone, SessionMicrophone
from appliance.values import Sound


class Microphone(Protocol):
    """Something that hears.

    ``blocks`` opens the source and yields ``blocks.BLOCK_SAMPLES`` samples at a time, at the pace
    of real time, until a recording ends; it can be called again. It raises ``MicrophoneError``
    when the source is not there, is not sound, or falls silent.
    """

    overruns: int  # how often sound was lost because nobody read it in time

    def blocks(self) -> Iterator[Sound]:
        """Yield sound as it is heard."""
        ...


def microphone_of(microphone: settings.Microphone) -> Microphone:
    """Make the microphone that a source names; nothing is opened yet."""
    kind, _, place = microphone.source.partition(":")
    if kind == "alsa":
        return AlsaMicrophone(microphone.name, place, microphone.rate)
    if kind == "session":
        return SessionMicrophone(microphone.name, Path(place).expanduser(), microphone.loop)
    return FileMicrophone(microphone.name, Path(place).expanduser(), microphone.loop)
