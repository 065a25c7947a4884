"""Session folders: what one camera and its microphone gave, and what the appliance makes of it.

``camera.npz`` and ``voice.wav`` are written by the stages that know their form; ``session.json``
holds the few settings that a replay needs, and ``expected.jsonl`` the states that it must yield.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from appliance.capture.sessions import SessionWriter
from appliance.errors import ApplianceError
from appliance.listening.sessions import VOICE_WAV, SoundWriter
from appliance.settings import Camera, Settings, from_table
from appliance.values import Frame, Sound

EXPECTED = "expected.jsonl"
_ABOUT = "session.json"


class Recording:
    """Writes session folders while the appliance runs: one a camera. Use it as a context.

    With one camera its session is the folder itself; with more, each has a folder of its name within.
    """

    def __init__(self, folder: Path, settings: Settings, seconds: float | None = None) -> None:
        self._seconds = seconds
        if not settings.camera:
            raise ApplianceError("a session holds what a camera saw, and no [[camera]] is set; set one to record")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ApplianceError(f"{folder} must be a new or an empty folder to record into; name another")
        folders = {
            camera.name: folder / camera.name if len(settings.camera) > 1 else folder for camera in settings.camera
        }
        self.folders: list[Path] = list(folders.values())
        self._parts = ExitStack()
        self._pictures: dict[str, SessionWriter] = {}
        self._sounds: dict[str, list[SoundWriter]] = {}
        for camera in settings.camera:
            place = folders[camera.name]
            place.mkdir(parents=True, exist_ok=True)
            write_about(place, camera)
            self._pictures[camera.name] = self._parts.enter_context(SessionWriter(place))
            if camera.microphone:
                writer = SoundWriter(place, camera.microphone)
                self._parts.callback(writer.close)
                self._sounds.setdefault(camera.microphone, []).append(writer)

    def watch(self, frames: Iterable[Sequence[Frame]]) -> Iterator[Sequence[Frame]]:
        """Pass pictures on, and keep them; end after ``seconds`` where they were given."""
        end_ns: float | None = None
        for batch in frames:
            if batch and end_ns is None and self._seconds is not None:
                end_ns = batch[0].captured_ns + self._seconds * 1e9
            if batch and end_ns is not None and batch[0].captured_ns >= end_ns:
                return
            for frame in batch:
                if frame.image is not None:
                    self._pictures[frame.camera].write(frame.image, frame.captured_ns)
            yield batch

    def hear(self, sound: Sound) -> None:
        """Keep a block of sound."""
        for writer in self._sounds.get(sound.microphone, []):
            writer.write(sound)

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()


@dataclass(frozen=True, slots=True)
class Session:
    """A session folder to replay."""

    folder: Path
    camera: Camera

    @property
    def expected(self) -> Path:
        """The states that a replay must yield."""
        return self.folder / EXPECTED

    @property
    def has_voice(self) -> bool:
        """Whether sound was recorded."""
        return (self.folder / VOICE_WAV).exists()


def open_session(folder: Path, overrides: Sequence[str] = ()) -> tuple[Session, Settings]:
    """Read what a session folder says of itself; ``overrides`` as on the command line."""
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ApplianceError(
            f"{folder} is no session folder: it has no {_ABOUT}; make one with: appliance record DIR"
        ) from None
    except (OSError, ValueError) as error:
        raise ApplianceError(f"{folder / _ABOUT} cannot be read: {error}; record the session again") from None
    camera = {**about, "source": f"session:{folder}"} if isinstance(about, dict) else {}
    microphones = [{"name": camera["microphone"], "source": f"session:{folder}"}] if camera.get("microphone") else []
    settings = from_table({"camera": [camera], "microphone": microphones}, overrides)
    return Session(folder, settings.camera[0]), settings


def write_about(folder: Path, camera: Camera) -> None:
    """Note down in a session folder the camera's settings that a replay needs."""
    about = {
        "name": camera.name,
        "width": camera.width,
        "height": camera.height,
        "fps": camera.fps,
        "faces": camera.faces,
        "microphone": camera.microphone,
        "horizontal_fov_deg": camera.horizontal_fov_deg,
    }
    (folder / _ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
