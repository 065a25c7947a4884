"""What is read to whoever is on the telephone."""

import json
from pathlib import Path

import pytest

from appliance import __version__
from appliance.checks.finding import Verdict
from appliance.checks.telling import tell
from appliance.settings import Broker, Device, Settings
from provisioning import authority
from provisioning.certificates import Role

NAME = "lobby/orin-07"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder, key, certificate = tmp_path / "authority", tmp_path / "client.key", tmp_path / "client.pem"
    authority.create(folder, "lobby")
    request = authority.make_request(key, Role.DEVICE, NAME)
    certificate.write_bytes(authority.enrol(folder, request, Role.DEVICE, NAME))
    return Settings(device=Device("lobby", "orin-07"), broker=Broker(cert_file=str(certificate), key_file=str(key)))


def test_the_fingerprint_is_the_one_that_the_authority_lists(settings: Settings, tmp_path: Path) -> None:
    (listed,) = authority.members(tmp_path / "authority")

    told = tell(settings, tmp_path)

    assert told.verdict is Verdict.FINE
    assert told.text == f"{NAME}, fingerprint {listed.fingerprint}, release {__version__}, not run by systemd"


def test_how_the_last_change_of_the_release_ended_is_said(settings: Settings, tmp_path: Path) -> None:
    state = tmp_path / "opt/avatar-appliance/state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"last": "went back from deployment 5 to 4: the service failed"}))

    assert tell(settings, tmp_path).text.endswith("went back from deployment 5 to 4: the service failed")


def test_a_certificate_of_another_device_is_told(settings: Settings, tmp_path: Path) -> None:
    told = tell(Settings(device=Device("lobby", "orin-08"), broker=settings.broker), tmp_path)

    assert told.verdict is Verdict.STOP
    assert f"its certificate is of {NAME}" in told.text


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"damaged", "must be a certificate")])
def test_a_certificate_that_cannot_be_read_is_told(
    settings: Settings, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = Path(settings.broker.cert_file)
    path.unlink() if content is None else path.write_bytes(content)

    told = tell(settings, tmp_path)

    assert told.verdict is Verdict.WEAK
    assert reason in told.cure


def test_a_device_without_a_certificate_still_has_a_name(tmp_path: Path) -> None:
    assert tell(Settings(device=Device("lobby", "orin-07")), tmp_path).text.startswith(f"{NAME}, fingerprint none")
