"""Faults of the camera, the microphone and the broker at random, from a seed, each cured after a while."""

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.devices.paced import PacedMicrophone
from tests.devices.vcam import VirtualCamera
from tests.faults.matrix import CAMERAS, MICROPHONES, Fault
from tests.publish.brokers import Mosquitto

BACK_LIMIT_S = 30.0  # a broker that went meanwhile takes up to eight seconds to be heard of again

_PAUSES, _HELD_S = (0.3, 1.7), (0.5, 6.0)  # of the mean pause; seconds
_STEP_S = 0.1
_KILLED = Fault("capture killed", lambda pid: os.kill(pid, signal.SIGKILL), lambda _: None, "SIGKILL")


@dataclass(frozen=True)
class Stage:
    """What the faults happen to."""

    camera: VirtualCamera
    microphone: PacedMicrophone
    broker: Mosquitto
    daemon: int  # its process
    is_well: Callable[[str], bool]  # whether the topic health says so now of the "camera" or the "microphone"


class Chaos:
    """Three threads, one for each device and one for the broker. A context; at its end all is cured."""

    def __init__(self, stage: Stage, seed: int, pause_s: float) -> None:
        self._stage = stage
        self._pauses_s = (_PAUSES[0] * pause_s, _PAUSES[1] * pause_s)
        self._seed = seed
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=act) for act in (self._film, self._speak, self._carry)]
        self.faults: Counter[str] = Counter()
        self.stuck: list[str] = []  # faults that did not end with their cause

    def __enter__(self) -> "Chaos":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _film(self) -> None:
        choose = random.Random(self._seed)
        while not self._stop.wait(choose.uniform(*self._pauses_s)):
            row = choose.choice((*CAMERAS, _KILLED))
            device: Any = self._stage.camera if row is not _KILLED else capture_process(self._stage.daemon)
            if device is not None:
                self._let(row, "camera", device, choose)

    def _speak(self) -> None:
        choose = random.Random(self._seed + 1)
        microphone = self._stage.microphone
        while not self._stop.wait(choose.uniform(*self._pauses_s)):
            self._let(choose.choice(MICROPHONES), "microphone", microphone, choose)
            for order in list(microphone.control.iterdir()):  # the rate it came back at may stay no longer
                order.unlink()

    def _let(self, row: Fault, kind: str, device: Any, choose: random.Random) -> None:
        row.fault(device)
        self.faults[f"{kind} {row.name}"] += 1
        self._stop.wait(choose.uniform(*_HELD_S))
        row.cure(device)
        # A fault that was over before anyone noticed leaves health as it was: a moment later it counts.
        self._stop.wait(1.5)
        ends_s = time.monotonic() + BACK_LIMIT_S
        while not self._stage.is_well(kind):
            if time.monotonic() > ends_s:
                self.stuck.append(f"{kind} {row.name}")
                return
            time.sleep(_STEP_S)

    def _carry(self) -> None:
        choose = random.Random(self._seed + 2)
        broker = self._stage.broker
        while not self._stop.wait(3 * choose.uniform(*self._pauses_s)):
            paused = choose.random() < 0.5
            self.faults["broker stalled" if paused else "broker gone"] += 1
            (broker.pause if paused else broker.stop)()
            self._stop.wait(choose.uniform(*_HELD_S))
            (broker.resume if paused else broker.start)()


def capture_process(daemon: int) -> int | None:
    """The process that films, if it is there just now."""
    found = subprocess.run(["pgrep", "-P", str(daemon), "-f", "appliance.capture.process"], stdout=subprocess.PIPE)
    with suppress(IndexError):
        return int(found.stdout.split()[0])
    return None
