"""One run of the daemon in which every fault of the matrix happens to a device of its own, at about one time."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto, Reader, wait_until

from appliance.demo.household import to_toml
from appliance.settings import Settings
from tests.devices import paced, vcam
from tests.devices.paced import PacedMicrophone
from tests.devices.vcam import VirtualCamera

from .matrix import CAMERAS, FPS, HEIGHT_PX, MICROPHONES, WELL, WIDTH_PX, Fault

ROOT = "avatar/v1/faults/device"
REPOSITORY = Path(__file__).parents[2]
SHOWN_S, ENDS_S = 20.0, 20.0  # a hang, not a speed
LOSS = {"camera": "camera_lost", "microphone": "microphone_lost"}
RETURN = {"camera": "camera_back", "microphone": "microphone_restarted"}


@dataclass(frozen=True)
class Course:
    """What was published about one device while its fault came and went."""

    events: list[dict[str, Any]]
    shown: bool  # in the topic health
    back_s: float  # from the device's return to the event that says so
    after: dict[str, Any]  # what health says a moment later


@dataclass(frozen=True)
class Matrix:
    """What came of all rows."""

    courses: Mapping[tuple[str, str], Course]  # by kind and name
    cameras: Mapping[str, VirtualCamera]
    frames: list[dict[str, Any]]  # of the camera that nothing happens to
    events: list[dict[str, Any]]  # all, from when all devices were well
    lasted_s: float
    exit_status: int


def stream(kind: str, name: str) -> str:
    """What a device is called in settings and topics."""
    return f"{kind[:3]}-{name}"


class Listener:
    """What the appliance says."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def all_of(self, leaf: str) -> list[dict[str, Any]]:
        """Every message of one topic so far."""
        return [json.loads(entry.payload) for entry in list(self._reader.messages) if entry.topic == f"{ROOT}/{leaf}"]

    def events(self, kind: str, name: str) -> list[dict[str, Any]]:
        """Every event of one device so far."""
        return [event for event in self.all_of("event") if event.get(kind) == stream(kind, name)]

    def health(self, kind: str, name: str) -> dict[str, Any]:
        """What the newest health message says of one device."""
        newest = self.all_of("health")[-1:]
        state: dict[str, Any] = newest[0][f"{kind}s"].get(stream(kind, name), {}) if newest else {}
        return state


@pytest.fixture(scope="module")
def matrix(desk: Settings, tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    folder = tmp_path_factory.mktemp("faults")
    cameras = {name: VirtualCamera(folder / name) for name in (WELL, *(row.name for row in CAMERAS))}
    microphones = {name: PacedMicrophone(folder / "mic" / name) for name in (WELL, *(row.name for row in MICROPHONES))}
    broker = Mosquitto(folder)
    reader = Reader(broker.port)
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in vcam.environment(vcam.build(folder), folder / "*" / "video0").items():
            patch.setenv(variable, value)
        controls = {name: microphone.control for name, microphone in microphones.items()}
        (folder / "asound.conf").write_text(paced.configuration(paced.build(folder), controls))
        patch.setenv("ALSA_CONFIG_PATH", str(folder / "asound.conf"))
        settings_file = folder / "appliance.toml"
        settings_file.write_text(to_toml(settings_of(desk, broker.port, cameras, list(microphones))))
        command = [sys.executable, "-m", "tests.faults.without_networks", str(settings_file)]
        with subprocess.Popen(command, cwd=REPOSITORY) as daemon:
            listener = Listener(reader)
            wait_until_well(listener, cameras, microphones)
            began_s = time.monotonic()
            reader.messages.clear()
            courses = courses_of_all(listener, cameras, microphones)
            frames, events = listener.all_of(f"{stream('camera', WELL)}/0/frame"), listener.all_of("event")
            lasted_s = time.monotonic() - began_s
            daemon.terminate()
            daemon.wait(ENDS_S)
    reader.close()
    broker.stop()
    return Matrix(courses, cameras, frames, events, lasted_s, daemon.returncode)


def settings_of(
    desk: Settings, port: int, cameras: Mapping[str, VirtualCamera], microphones: list[str]
) -> dict[str, Any]:
    size = {"width": WIDTH_PX, "height": HEIGHT_PX, "fps": FPS}
    shown = [
        {"name": stream("camera", name), "source": f"v4l2:{camera.device}", **size} for name, camera in cameras.items()
    ]
    for camera, microphone in zip(shown, microphones, strict=False):  # else each would be an avatar of its own
        camera["microphone"] = stream("microphone", microphone)
    return {
        "device": {"site": "faults", "name": "device"},
        "camera": shown,
        "microphone": [{"name": stream("microphone", name), "source": f"alsa:{name}"} for name in microphones],
        "broker": {"url": f"mqtt://127.0.0.1:{port}"},
        "storage": {"directory": desk.storage.directory},
    }


def wait_until_well(listener: Listener, cameras: Iterable[str], microphones: Iterable[str]) -> None:
    """Wait for every device. Starting so many processes at once may cost a small machine sound: wait that out, too."""

    def well() -> bool:
        seen = all(listener.health("camera", name).get("captured", 0) > FPS for name in cameras)
        heard = [listener.health("microphone", name) for name in microphones]
        return seen and all(state.get("blocks", 0) > 0 and state["poor"] is None for state in heard)

    assert wait_until(well, 60)


def courses_of_all(
    listener: Listener, cameras: Mapping[str, VirtualCamera], microphones: Mapping[str, PacedMicrophone]
) -> dict[tuple[str, str], Course]:
    """Let every fault happen, all in parallel."""
    rows: list[tuple[str, Fault, Any]] = [("camera", row, cameras[row.name]) for row in CAMERAS]
    rows += [("microphone", row, microphones[row.name]) for row in MICROPHONES]
    with ThreadPoolExecutor(len(rows)) as pool:
        courses = pool.map(lambda row: course_of(listener, *row), rows)
        return {(kind, row.name): course for (kind, row, _), course in zip(rows, courses, strict=True)}


def course_of(listener: Listener, kind: str, row: Fault, device: Any) -> Course:
    """Let one fault happen, wait until it is told, and let it end."""
    row.fault(device)
    field = "poor" if row.poor else "error"
    shown = wait_until(lambda: row.said in (listener.health(kind, row.name).get(field) or ""), SHOWN_S)
    row.cure(device)
    cured_ns, known = time.time_ns(), len(listener.events(kind, row.name))
    over = {f"{kind}_well", RETURN[kind]}

    def back() -> list[dict[str, Any]]:
        return [event for event in listener.events(kind, row.name)[known:] if event["event"] in over]

    came = wait_until(lambda: bool(back()), SHOWN_S)
    wait_until(lambda: not any(listener.health(kind, row.name).get(field) for field in ("error", "poor")), SHOWN_S)
    back_s = (back()[0]["utc_ns"] - cured_ns) / 1e9 if came else float("inf")
    return Course(listener.events(kind, row.name), shown, back_s, listener.health(kind, row.name))
