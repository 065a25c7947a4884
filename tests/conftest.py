"""What several test packages share: the real models, fetched once, and the demo clip."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Mosquitto

from appliance.demo.scene import PHOTOGRAPH, prepare
from appliance.settings import DESK_DIRECTORY, Settings, from_table
from engines import manifest
from engines.fetch import asset_path, ensure, locked


@pytest.fixture(scope="session")
def desk() -> Settings:
    """The settings of a machine without settings; its models are there."""
    settings = from_table({"storage": {"directory": DESK_DIRECTORY}})
    ensure(settings.storage.models, manifest.names(), print)
    return settings


@pytest.fixture(scope="session")
def photograph(desk: Settings) -> Path:
    return asset_path(desk.storage.models, PHOTOGRAPH)


@pytest.fixture(scope="session")
def clip(desk: Settings) -> Path:
    with locked(desk.storage.models, print):  # tests that run beside these wait for the one clip
        return prepare(desk, print)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    yield broker
    broker.stop()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected states of the replays")
