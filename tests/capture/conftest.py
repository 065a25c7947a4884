from collections.abc import Iterator
from itertools import count
from os import getpid
from pathlib import Path

import cv2
import pytest

from appliance.capture.ring import SHARED_MEMORY
from appliance.values import Event
from tests.devices import vcam as virtual
from tests.devices.vcam import VirtualCamera

from .films import numbered

NUMBERS = count()


@pytest.fixture
def name() -> Iterator[str]:
    """A camera name of this test's own; its ring must be gone afterwards."""
    name = f"test-{getpid()}-{next(NUMBERS)}"
    yield name
    assert not (SHARED_MEMORY / f"avatar-{name}").exists()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty numbered pictures at 30 a second."""
    path = tmp_path_factory.mktemp("film") / "thirty.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (320, 240))
    for number in range(30):
        writer.write(numbered(number))
    writer.release()
    return path


@pytest.fixture(scope="session")
def preload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The camera that is put before the C library, compiled."""
    return virtual.build(tmp_path_factory.mktemp("vcam"))


@pytest.fixture
def vcam(tmp_path: Path, preload: Path, monkeypatch: pytest.MonkeyPatch) -> VirtualCamera:
    """A camera device for every process that this test starts."""
    camera = VirtualCamera(tmp_path)
    for variable, value in virtual.environment(preload, camera.device).items():
        monkeypatch.setenv(variable, value)
    return camera
