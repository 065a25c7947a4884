import json
import re
import ssl
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from provisioning import authority
from provisioning.authority_command import main
from provisioning.certificates import Role, ends_utc, fingerprint, new_key, serial_of
from provisioning.certificates import make_request as bare_request
from provisioning.errors import AuthorityError

DEVICE = "lobby/orin-07"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "authority"
    authority.create(folder, "lobby")
    return folder


def enrolled(site: Path, role: Role = Role.DEVICE, name: str = DEVICE, hosts: tuple[str, ...] = ()) -> bytes:
    key = site.parent / f"{role.value}-{name.replace('/', '-')}.key"
    return authority.enrol(site, authority.make_request(key, role, name), role, name, hosts)


def is_trusted(certificate: bytes, site: Path, purpose: str) -> bool:
    """Ask OpenSSL, with the site's list of the revoked."""
    (site.parent / "asked.pem").write_bytes(certificate)
    lists = ("-crl_check", "-CRLfile", str(site / "crl.pem"), "-CAfile", str(site / "ca.pem"))
    asked = ("openssl", "verify", "-purpose", purpose, *lists, str(site.parent / "asked.pem"))
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def test_a_member_is_trusted_for_its_own_purpose_alone(site: Path) -> None:
    device, broker = enrolled(site), enrolled(site, Role.BROKER, "broker.local", ("broker.local", "192.0.2.1"))

    assert is_trusted(device, site, "sslclient")
    assert not is_trusted(device, site, "sslserver")
    assert is_trusted(broker, site, "sslserver")
    assert not is_trusted(broker, site, "sslclient")


def test_a_member_can_sign_nobody(site: Path) -> None:
    certificate = x509.load_pem_x509_certificate(enrolled(site))

    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


@pytest.mark.parametrize(
    ("role", "name", "user"),
    [
        (Role.DEVICE, DEVICE, DEVICE),
        (Role.RENDERER, "screen", "renderer/screen"),
        (Role.OPERATOR, "anna", "operator"),
    ],
)
def test_the_user_is_in_the_certificate(site: Path, role: Role, name: str, user: str) -> None:
    subject = x509.load_pem_x509_certificate(enrolled(site, role, name)).subject

    assert subject.rfc4514_string() == (f"OU=anna,CN={user}" if role is Role.OPERATOR else f"CN={user}")


@pytest.mark.parametrize(
    ("role", "name"),
    [
        (Role.DEVICE, "orin-07"),
        (Role.DEVICE, "lobby/orin-07/more"),
        (Role.DEVICE, "+/orin-07"),
        (Role.DEVICE, "lobby/#"),
        (Role.DEVICE, "renderer/orin-07"),
        (Role.DEVICE, "operator/orin-07"),
        (Role.DEVICE, "lobby/"),
        (Role.RENDERER, "a/b"),
        (Role.RENDERER, ""),
        (Role.RENDERER, "x:y"),
        (Role.RENDERER, "x\ny"),
        (Role.OPERATOR, "anna,CN=root"),
        (Role.BROKER, "two words"),
    ],
)
def test_a_name_that_could_be_another_in_the_acl_is_refused(site: Path, role: Role, name: str) -> None:
    with pytest.raises(AuthorityError, match=r"named|name"):
        authority.user_of(role, name)


def test_names_together_too_long_for_a_certificate_are_said(site: Path) -> None:
    with pytest.raises(AuthorityError, match="1 to 64 characters, got 65"):
        enrolled(site, name=f"{'s' * 32}/{'d' * 32}")


def test_a_request_is_signed_for_its_own_name_alone(site: Path, tmp_path: Path) -> None:
    request = authority.make_request(tmp_path / "one.key", Role.DEVICE, "lobby/orin-08")

    with pytest.raises(AuthorityError, match=r"must be of 'lobby/orin-07', it is of lobby/orin-08"):
        authority.enrol(site, request, Role.DEVICE, DEVICE)
    assert authority.members(site) == []


def test_a_request_asks_in_vain_for_more_than_its_key(site: Path, tmp_path: Path) -> None:
    key = new_key()
    wish = x509.BasicConstraints(ca=True, path_length=None)
    builder = x509.CertificateSigningRequestBuilder().add_extension(wish, critical=True)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, DEVICE)])
    request = builder.subject_name(name).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    given = x509.load_pem_x509_certificate(authority.enrol(site, request, Role.DEVICE, DEVICE))

    assert not given.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("request_pem", [b"", b"no request", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_what_is_no_request_is_said(site: Path, request_pem: bytes) -> None:
    with pytest.raises(AuthorityError, match="not a certificate signing request"):
        authority.enrol(site, request_pem, Role.DEVICE, DEVICE)


def test_a_request_changed_on_its_way_is_refused(site: Path) -> None:
    good = x509.load_pem_x509_csr(bare_request(new_key(), DEVICE))
    spoilt = bytearray(good.public_bytes(serialization.Encoding.DER))
    spoilt[spoilt.index(b"orin-07")] ^= 1
    request = x509.load_der_x509_csr(bytes(spoilt)).public_bytes(serialization.Encoding.PEM)

    with pytest.raises(AuthorityError, match="not signed by its own key"):
        authority.enrol(site, request, Role.DEVICE, "lobby/nrin-07")


def test_a_key_is_made_once_and_never_leaves(site: Path, tmp_path: Path) -> None:
    key = tmp_path / "device.key"

    first, second = (authority.make_request(key, Role.DEVICE, DEVICE) for _ in range(2))

    assert fingerprint(first) == fingerprint(second) == fingerprint(authority.enrol(site, first, Role.DEVICE, DEVICE))
    assert re.fullmatch(r"([0-9a-f]{4} ){7}[0-9a-f]{4}", fingerprint(first))
    body = key.read_text().splitlines()[1]
    assert not any(body in file.read_text() for file in site.iterdir())


def test_everything_is_readable_by_its_owner_alone(site: Path, tmp_path: Path) -> None:
    enrolled(site)
    authority.give_password(site, Role.RENDERER, "screen", tmp_path / "screen.password")
    authority.export(site, tmp_path / "broker")

    files = [*site.iterdir(), *(tmp_path / "broker").iterdir(), *tmp_path.glob("*.key"), tmp_path / "screen.password"]

    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (site, tmp_path / "broker")} == {0o700}
    assert sorted(file.name for file in (tmp_path / "broker").iterdir()) == ["ca.pem", "crl.pem", "passwords"]


def test_who_is_revoked_is_trusted_no_more_and_may_come_back(site: Path) -> None:
    old, other = enrolled(site), enrolled(site, name="lobby/orin-08")
    assert authority.revoke(site, Role.DEVICE, DEVICE) == 1

    new = enrolled(site)

    assert not is_trusted(old, site, "sslclient")
    assert is_trusted(other, site, "sslclient")
    assert is_trusted(new, site, "sslclient")
    assert [member.revoked_utc != "" for member in authority.members(site)] == [True, False, False]


def test_revoking_nobody_is_said(site: Path) -> None:
    with pytest.raises(AuthorityError, match="no device 'lobby/orin-09' has a certificate or a password"):
        authority.revoke(site, Role.DEVICE, "lobby/orin-09")


def test_a_password_is_hashed_replaced_and_taken_away(site: Path, tmp_path: Path) -> None:
    secret = tmp_path / "screen.password"
    users = [authority.give_password(site, Role.RENDERER, name, secret) for name in ("other", "screen", "screen")]
    kept = (site / "passwords").read_text()

    assert users == ["renderer/other", "renderer/screen", "renderer/screen"]
    assert [line.split(":")[0] for line in kept.splitlines()] == ["renderer/other", "renderer/screen"]
    assert len(secret.read_text().strip()) == 32
    assert secret.read_text().strip() not in kept
    authority.revoke(site, Role.RENDERER, "screen")
    assert [line.split(":")[0] for line in (site / "passwords").read_text().splitlines()] == ["renderer/other"]


def test_operators_and_brokers_have_no_password(site: Path, tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match="operator has a certificate"):
        authority.give_password(site, Role.OPERATOR, "anna", tmp_path / "password")


def test_old_and_new_are_trusted_between_rotating_and_retiring(site: Path) -> None:
    old, staying = enrolled(site), enrolled(site, name="lobby/orin-08")
    authority.rotate(site)
    new = enrolled(site)
    assert all(is_trusted(certificate, site, "sslclient") for certificate in (old, new, staying))

    left_behind = authority.retire(site)

    assert [member.name for member in left_behind] == ["lobby/orin-08"]
    assert is_trusted(new, site, "sslclient")
    assert not is_trusted(old, site, "sslclient")
    assert [file.name for file in site.glob("*.key")] == ["authority-2.key"]


def test_who_was_revoked_stays_so_when_the_authority_is_rotated(site: Path) -> None:
    lost = enrolled(site)
    authority.revoke(site, Role.DEVICE, DEVICE)

    authority.rotate(site)

    assert not is_trusted(lost, site, "sslclient")


def test_the_list_of_the_revoked_does_not_end_before_the_authority(site: Path) -> None:
    crl = x509.load_pem_x509_crl((site / "crl.pem").read_bytes())

    assert crl.next_update_utc == ends_utc((site / "ca.pem").read_bytes())
    assert crl.next_update_utc > datetime.now(timezone.utc) + timedelta(days=19 * 365)


def test_a_second_authority_in_the_folder_is_refused(site: Path) -> None:
    before = {file: file.read_bytes() for file in site.iterdir()}

    with pytest.raises(AuthorityError, match="holds an authority already"):
        authority.create(site, "lobby")
    assert {file: file.read_bytes() for file in site.iterdir()} == before


def test_a_folder_without_or_with_a_damaged_authority_is_said(site: Path, tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match="create makes an authority"):
        authority.rotate(tmp_path / "none")
    (site / "register.json").write_text("{")
    with pytest.raises(AuthorityError, match=r"register\.json is damaged"):
        enrolled(site)


def test_brokers_alone_have_hosts(site: Path) -> None:
    with pytest.raises(AuthorityError, match="with its hosts"):
        enrolled(site, Role.BROKER, "broker.local")
    with pytest.raises(AuthorityError, match="with its hosts"):
        enrolled(site, hosts=("orin-07.local",))


def test_twenty_at_once_are_all_in_the_register(site: Path, tmp_path: Path) -> None:
    enrolling = (
        "import sys; from pathlib import Path\n"
        "from provisioning import authority; from provisioning.certificates import Role\n"
        "site, start = Path(sys.argv[1]), int(sys.argv[2])\n"
        "for number in range(start, start + 5):\n"
        "    name = f'lobby/orin-{number}'\n"
        "    key = site.parent / f'{number}.key'\n"
        "    authority.enrol(site, authority.make_request(key, Role.DEVICE, name), Role.DEVICE, name)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", enrolling, str(site), str(start)]) for start in range(0, 20, 5)]

    assert [process.wait(30) for process in running] == [0, 0, 0, 0]
    assert len({member.serial for member in authority.members(site)}) == 20


def test_the_commands_lead_from_nothing_to_a_member(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, key = str(tmp_path / "authority"), str(tmp_path / "device.key")
    assert main(["create", folder, "--site", "lobby"]) == 0
    assert main(["request", key, "device", DEVICE]) == 0
    asked = capsys.readouterr()
    (tmp_path / "request.pem").write_text(asked.out)

    assert main(["enrol", folder, "device", DEVICE, "--request", str(tmp_path / "request.pem")]) == 0

    given = capsys.readouterr()
    assert given.err == asked.err  # the fingerprints that two people compare
    assert is_trusted(given.out.encode(), tmp_path / "authority", "sslclient")
    assert main(["list", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["serial"] == f"{serial_of(given.out.encode()):x}"
    assert main(["revoke", folder, "device", DEVICE]) == 0
    assert main(["revoke", folder, "renderer", "nobody"]) == 1
    assert "authority: no renderer 'nobody'" in capsys.readouterr().err
    assert main(["enrol", folder, "device", DEVICE, "--request", str(tmp_path / "none")]) == 1


def test_python_trusts_what_the_authority_signs(site: Path) -> None:
    enrolled(site, Role.BROKER, "broker.local", ("broker.local",))

    ssl.create_default_context(cafile=str(site / "ca.pem"))  # Python 3.13 is strict about authorities

    assert len(ssl.create_default_context(cafile=str(site / "ca.pem")).get_ca_certs()) == 1
