"""The whole program."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from appliance.avatar.compose import Avatar
from appliance.latest import Latest
from appliance.values import EVERYTHING, AvatarState, Face, Frame, Plan, Voice
from appliance.watchdog import Watchdog


class Faces(Protocol):
    """What reads faces: see ``face.stage.FaceStage``."""

    def read(self, frames: Sequence[Frame], plan: Plan) -> list[Face]:
        """Every slot of every camera that has news, with no more work than is planned."""
        ...


class Nobody:
    """Reads faces where no camera is set: there are none."""

    def read(self, frames: Sequence[Frame], plan: Plan = EVERYTHING) -> list[Face]:
        """Nobody."""
        return []


class Output(Protocol):
    """Where states go."""

    def send(self, state: AvatarState) -> bool:
        """Hand over one state; ``False`` if it was dropped."""
        ...


def run(
    frames: Iterable[Sequence[Frame]],
    plan: Latest[Plan],
    tracker: Faces,
    voices: Mapping[str, Latest[Voice]],
    avatar: Avatar,
    output: Output,
    watchdog: Watchdog,
) -> None:
    """Turn the newest picture of every camera, and what is heard, into avatar states, until the pictures end."""
    for batch in frames:
        faces = tracker.read(batch, plan.get())
        heard = {name: shelf.get() for name, shelf in voices.items()}
        for state in avatar.compose(faces, heard):
            output.send(state)
        watchdog.alive()
