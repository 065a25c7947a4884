"""The daemon in a hurry: ``python -m tests.soak.subject ORDER``, where ORDER is a JSON file.

It is the daemon with two more devices: a camera whose visitors come and go, and a microphone, both in a time of their
own that runs as fast as the loop turns. The other camera and microphone are real ones, in real time, and fail.
How long each turn of the loop took is written into a file that the observer made: milliseconds on the clock, and
milliseconds of this thread's processor time.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance import daemon, settings
from appliance.capture.supervisor import Cameras
from appliance.latest import Latest
from appliance.listening.ears import Listening
from appliance.values import Event, Frame, Plan
from tests.soak.visitors import SimulatedEar, Visits

CAMERA, MICROPHONE = "visitors", "their-voices"


Turns = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rest:
    """A pause in which only the real devices go on, so that somebody can look at the daemon."""

    after: int  # turns
    is_over: Path  # when there is such a file


class HurriedCameras(Cameras):
    """The real cameras' pictures as they come, and one simulated picture with every turn of the loop."""

    def __init__(
        self,
        cameras: Sequence[settings.Camera],
        report: Callable[[Event], None],
        plan: Latest[Plan],
        visits: Visits,
        turns: Turns,
        rest: Rest,
    ) -> None:
        super().__init__([camera for camera in cameras if camera.name != CAMERA], report, plan)
        self._frames = visits.frames(time.monotonic_ns())
        self._turns, self._rest = turns, rest

    def ready(self, beat_ns: int | None = None) -> Iterator[list[Frame]]:
        """Yield all turns that were ordered, then the real cameras' pictures until it is stopped."""
        real = super().ready(beat_ns=1)
        for index in range(len(self._turns)):
            if index == self._rest.after:
                yield from takewhile(lambda _: not self._rest.is_over.exists(), super().ready())
            batch = next(real, None)
            if batch is None:
                return
            batch.append(next(self._frames))
            clock_ns, worked_ns = time.monotonic_ns(), time.thread_time_ns()
            yield batch
            self._turns[index] = (time.monotonic_ns() - clock_ns) / 1e6, (time.thread_time_ns() - worked_ns) / 1e6
        yield from super().ready()


def main() -> None:
    """Serve until SIGTERM."""
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    wanted = settings.load(Path(order["settings"]))
    turns: Turns = np.memmap(order["turns"], np.float32, "r+").reshape(-1, 2)
    np.nansum(turns)  # takes all its pages now: they are not the daemon's growth
    rest = Rest(order["rest_after"], Path(order["rest_is_over"]))
    ear = SimulatedEar(MICROPHONE, daemon.open_viseme_network(wanted))
    visits = Visits(Path(order["clip"]), ear, CAMERA, order["fps"], order["seed"])
    listen = daemon._listen

    def listen_to_both(wanted: settings.Settings, *others: Any) -> list[Listening | SimulatedEar]:
        real = tuple(microphone for microphone in wanted.microphone if microphone.name != MICROPHONE)
        return [*listen(replace(wanted, microphone=real), *others), ear]

    def film_both(
        cameras: Sequence[settings.Camera], report: Callable[[Event], None], plan: Latest[Plan]
    ) -> HurriedCameras:
        return HurriedCameras(cameras, report, plan, visits, turns, rest)

    vars(daemon).update(_listen=listen_to_both, Cameras=film_both)
    daemon.serve(wanted)
    Path(order["visitors"]).write_text(str(visits.count), encoding="utf-8")


if __name__ == "__main__":
    main()
