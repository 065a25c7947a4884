import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import settings
from appliance.capture.supervisor import Cameras
from appliance.values import Event

SERVER = Path(__file__).parent / "rtsp_server.py"
SYSTEM_PYTHON = "/usr/bin/python3"  # gi and its bindings come with the distribution, for its own Python
BINDINGS = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
LIMIT_S = 30.0

pytestmark = pytest.mark.skipif(
    subprocess.run([SYSTEM_PYTHON, "-c", BINDINGS], stderr=subprocess.DEVNULL, check=False).returncode != 0,
    reason="needs the packages gir1.2-gst-rtsp-server-1.0, python3-gi and gstreamer1.0-plugins-good",
)


class Server:
    """A network camera that can be switched off and on at the same address."""

    def __init__(self) -> None:
        self.port = 0
        self.switch_on()

    def switch_on(self) -> None:
        self._process = subprocess.Popen([SYSTEM_PYTHON, SERVER, str(self.port)], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def switch_off(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.switch_off()


def watch(cameras: Cameras, enough: Callable[[int], bool]) -> list[float]:
    """Look at pictures until it is enough; return how bright each was."""
    brightness: list[float] = []
    until = time.monotonic() + LIMIT_S
    for step in cameras.ready():
        brightness += [float(frame.image.mean()) for frame in step if frame.image is not None]
        if enough(len(brightness)):
            return brightness
        assert time.monotonic() < until, f"not enough within {LIMIT_S} s: {cameras.status()}"
    return brightness


def test_a_network_camera_is_captured_and_comes_back_after_an_outage(
    name: str, server: Server, events: list[Event]
) -> None:
    camera = settings.Camera(name=name, source=f"rtsp://me:secret@127.0.0.1:{server.port}/camera")

    with Cameras([camera], events.append) as cameras:
        brightness = watch(cameras, lambda count: count > 20)
        server.switch_off()
        watch(cameras, lambda _: bool(events))
        server.switch_on()
        again = watch(cameras, lambda count: count > 20)

    assert max(brightness) > 1, "a ball on black"
    assert max(again) > 1
    assert events[0].name == "camera_lost"
    assert events[-1].name == "camera_back"
    assert "secret" not in str(events)


def test_a_wrong_password_is_refused_and_not_shown(name: str, server: Server, events: list[Event]) -> None:
    camera = settings.Camera(name=name, source=f"rtsp://me:guessed@127.0.0.1:{server.port}/camera")

    with Cameras([camera], events.append) as cameras:
        watch(cameras, lambda _: bool(events))

    assert "look at its path, user and password" in str(events[0].details["reason"])
    assert "guessed" not in str(events)
