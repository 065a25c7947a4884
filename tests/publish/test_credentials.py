from pathlib import Path

import pytest

from appliance.errors import ConfigError
from appliance.publish.credentials import read_credentials
from appliance.settings import Broker


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where systemd puts a service's credentials."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_a_loaded_credential_stands_for_the_file_of_its_name(tmp_path: Path, loaded: Path) -> None:
    (loaded / "mqtt.user").write_text("booth\n")
    (loaded / "mqtt.password").write_text("from systemd\n")
    broker = Broker(username_file="/etc/absent/mqtt.user", password_file=str(tmp_path / "absent" / "mqtt.password"))

    credentials = read_credentials(broker)

    assert (credentials.username, credentials.password) == ("booth", "from systemd")


def test_a_blank_credential_stands_for_none(tmp_path: Path, loaded: Path) -> None:
    (loaded / "mqtt.user").write_text("\n")
    (tmp_path / "mqtt.user").write_text("from the file")

    credentials = read_credentials(Broker(username_file=str(tmp_path / "mqtt.user")))

    assert credentials.username == "from the file"


def test_where_neither_is_the_settings_file_s_path_is_named(tmp_path: Path, loaded: Path) -> None:
    (loaded / "mqtt.user").write_text("\n")

    with pytest.raises(ConfigError, match=r"must name a readable text file, got /etc/absent/mqtt\.user"):
        read_credentials(Broker(username_file="/etc/absent/mqtt.user"))
