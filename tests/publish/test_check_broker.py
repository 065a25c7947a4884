"""What ``appliance check`` says of real brokers, guarded as we ship it and not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import DEVICE, Mosquitto, free_port, is_listening, older, wait_until
from sites import Site

from appliance.checks.broker import broker, strangers
from appliance.checks.finding import Finding, Verdict
from appliance.settings import Broker, Settings
from provisioning import authority
from provisioning.certificates import Role


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    running = made.start()
    assert wait_until(lambda: is_listening(made.certificates))
    yield made
    running.stop()


def look(**wanted: str) -> list[Finding]:
    return list(broker(Settings(device=DEVICE, broker=Broker(**wanted))))


def texts(findings: list[Finding], verdict: Verdict) -> str:
    return "\n".join(finding.text for finding in findings if finding.verdict is verdict)


def test_a_site_as_we_ship_it_is_fine(site: Site) -> None:
    findings = look(**site.member(Role.DEVICE, "lobby/orin-07"))

    assert {finding.verdict for finding in findings} == {Verdict.FINE}
    said = texts(findings, Verdict.FINE)
    assert "lets us in with MQTT 5" in said
    assert "TLSv1.3, holds until" in said
    assert "ours holds until" in said
    assert "refuses what we write to topics of others" in said


def test_a_certificate_that_ends_soon_is_weak(site: Site) -> None:
    findings = look(**site.member(Role.DEVICE, "lobby/orin-07", days=12))

    assert "ours holds until" in texts(findings, Verdict.WEAK)
    assert findings[-2].cure == "enrol this device anew at the site's authority"


def test_a_device_with_another_s_name_is_stopped(site: Site) -> None:
    findings = look(**site.member(Role.DEVICE, "lobby/orin-08"))

    assert "does not let us write avatar/v1/lobby/orin-07/" in texts(findings, Verdict.STOP)


def test_strangers_are_looked_for_with_no_name(site: Site, mosquitto: Mosquitto) -> None:
    guarded, open_door = (
        Broker(**site.secret(Role.DEVICE, "lobby/orin-07")),
        Broker(url=f"mqtt://127.0.0.1:{mosquitto.port}"),
    )

    assert [finding.verdict for finding in strangers(guarded)] == [Verdict.FINE]
    assert [finding.verdict for finding in strangers(open_door)] == [Verdict.WEAK]


def test_a_broker_that_lets_in_who_says_no_name_is_weak(mosquitto: Mosquitto, tmp_path: Path) -> None:
    (tmp_path / "user").write_text("somebody\n")
    named = Broker(url=f"mqtt://127.0.0.1:{mosquitto.port}", username_file=str(tmp_path / "user"))

    assert [finding.text for finding in strangers(named)] == ["lets in anybody without a name"]


def test_a_broker_without_an_acl_is_weak(mosquitto: Mosquitto) -> None:
    assert "write topics of others" in texts(look(url=f"mqtt://127.0.0.1:{mosquitto.port}"), Verdict.WEAK)


def test_a_broker_without_an_acl_is_weak_with_mqtt_3_1_1_too(mosquitto: Mosquitto) -> None:
    with older(mosquitto.port) as (port, _):
        assert "write topics of others" in texts(look(url=f"mqtt://127.0.0.1:{port}"), Verdict.WEAK)


def test_a_silent_refusal_is_told_from_a_yes_with_mqtt_3_1_1(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite avatar/v1/lobby/orin-07/#\ntopic read avatar/#\n")
    guarded = Mosquitto(tmp_path, ("allow_anonymous true", f"acl_file {rules}"))
    with older(guarded.port) as (port, _):
        findings = look(url=f"mqtt://127.0.0.1:{port}")
    guarded.stop()

    assert "hands on nothing of what we write to topics of others" in texts(findings, Verdict.FINE)
    assert texts(findings, Verdict.WEAK) == ""


def test_a_broker_that_is_not_there_stops(tmp_path: Path) -> None:
    assert "Connection refused" in texts(look(url=f"mqtt://127.0.0.1:{free_port()}"), Verdict.STOP)


def test_a_foreign_broker_stops(site: Site, tmp_path: Path) -> None:
    authority.create(tmp_path / "foreign", "lobby")
    wanted = {**site.member(Role.DEVICE, "lobby/orin-07"), "ca_file": str(tmp_path / "foreign" / "ca.pem")}

    assert "not trusted" in texts(look(**wanted), Verdict.STOP)


def test_a_password_that_is_wrong_stops(site: Site, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("open sesame\n")
    wanted = {**site.secret(Role.DEVICE, "lobby/orin-07"), "password_file": str(tmp_path / "wrong")}

    findings = look(**wanted)

    assert "Not authorized" in texts(findings, Verdict.STOP)
    assert not any("sesame" in finding.text + finding.cure for finding in findings)
