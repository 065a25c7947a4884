"""The daemon without its networks: ``python -m tests.faults.without_networks SETTINGS``.

A dozen cameras and as many microphones are no load for it, but would be for a small machine's processor if each
picture and block were read. Everything else is the daemon's own: capture, listening, health, publishing, the loop.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from appliance import daemon
from appliance.settings import load
from appliance.values import EVERYTHING, Face, Frame, Plan, TrackingState


class NobodyThere:
    """Sees nobody on any picture."""

    def read(self, frames: Sequence[Frame], plan: Plan = EVERYTHING) -> list[Face]:
        """One empty slot for each picture that came."""
        return [
            Face(frame.camera, 0, "", TrackingState.ABSENT, 0, 0.0, frame.captured_ns, None)
            for frame in frames
            if frame.image is not None
        ]


def main() -> None:
    """Serve until SIGTERM."""
    vars(daemon).update(open_viseme_network=lambda *_: None, _face_stage=lambda *_: NobodyThere())
    daemon.serve(load(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
