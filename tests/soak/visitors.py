"""Visitors who come and go before a camera, in a time that is not ours."""

import random
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from appliance.demo.clip import SPEECH_WAV, VIDEO
from appliance.latest import Latest
from appliance.listening.blocks import BLOCK_NS
from appliance.listening.ears import ListeningStatus
from appliance.listening.hearing import Hearing
from appliance.listening.recordings import wav_blocks
from appliance.listening.viseme_network import VisemeNetwork
from appliance.values import Frame, Image, Sound, Voice

WIDTH_PX, HEIGHT_PX = 640, 360

_FIRST, _PICTURES = 60, 48  # of the demo's clip: the face is whole on them
_AWAY_S, _HERE_S = (1.0, 30.0), (2.0, 15.0)


class SimulatedEar:
    """A microphone whose sound comes as fast as it is asked for; to the daemon it is one of its own."""

    def __init__(self, name: str, network: VisemeNetwork | None) -> None:
        self.name = name
        self.voice: Latest[Voice] = Latest(Voice(name, heard_ns=0))
        self._hearing = Hearing(name, network)
        self._blocks = list(wav_blocks(SPEECH_WAV))
        self._heard_ns = self._count = 0

    def listen(self, until_ns: int, speaks: bool) -> None:
        """Hear what is said up to a moment; nothing is heard while nobody speaks."""
        if not speaks:
            self._heard_ns = until_ns
            return
        while self._heard_ns + BLOCK_NS <= until_ns:
            self._heard_ns += BLOCK_NS
            samples = self._blocks[self._count % len(self._blocks)]
            self._count += 1
            self.voice.put(self._hearing.hear(Sound(self.name, samples, self._heard_ns)))

    def status(self) -> ListeningStatus:
        """How it goes: well."""
        return ListeningStatus(blocks=self._count)


class Visits:
    """Pictures of an empty place and of people who stay a while, each a little different, from a seed."""

    def __init__(self, clip: Path, ear: SimulatedEar, camera: str, fps: int, seed: int) -> None:
        self._pictures = _pictures(clip)
        self._empty = np.random.default_rng(seed).integers(90, 110, (HEIGHT_PX, WIDTH_PX, 3), np.uint8)
        self._shown = np.empty_like(self._empty)
        self._random = random.Random(seed)
        self._ear, self._camera, self._fps = ear, camera, fps
        self.count = 0

    def frames(self, start_ns: int) -> Iterator[Frame]:
        """Yield frames for ever, a period of simulated time apart; an image holds until the next."""
        captured_ns, sequence = start_ns, 0
        while True:
            for image, speaks in self._visit():
                captured_ns, sequence = captured_ns + 1_000_000_000 // self._fps, sequence + 1
                self._ear.listen(captured_ns, speaks)
                yield Frame(self._camera, sequence, captured_ns, image, captured_ns)

    def _visit(self) -> Iterator[tuple[Image, bool]]:
        """Nobody for a while, then one visitor."""
        choose = self._random
        for _ in range(round(choose.uniform(*_AWAY_S) * self._fps)):
            yield self._empty, False
        self.count += 1
        speaks, scale = choose.random() < 0.5, choose.uniform(0.8, 1.2)
        x_px, y_px = choose.uniform(-60, 60), choose.uniform(-20, 20)
        middle = np.array([WIDTH_PX / 2, HEIGHT_PX / 2])
        shift = (1 - scale) * middle + (x_px, y_px)
        turn = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        for index in range(round(choose.uniform(*_HERE_S) * self._fps)):
            step = index % (2 * _PICTURES - 2)  # there and back again
            picture = self._pictures[min(step, 2 * _PICTURES - 2 - step)]
            cv2.warpAffine(picture, turn, (WIDTH_PX, HEIGHT_PX), self._shown, borderMode=cv2.BORDER_REPLICATE)
            yield self._shown, speaks


def _pictures(clip: Path) -> list[Image]:
    film = cv2.VideoCapture(str(clip / VIDEO))
    film.set(cv2.CAP_PROP_POS_FRAMES, _FIRST)
    pictures = [film.read()[1] for _ in range(_PICTURES)]
    film.release()
    return [np.asarray(cv2.resize(picture, (WIDTH_PX, HEIGHT_PX)), np.uint8) for picture in pictures]
