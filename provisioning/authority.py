"""The certificate authority of a site: a folder on a technician's laptop, or on the site's server.

Functions over that folder. It holds, readable by its owner alone:

``authority-N.pem``, ``authority-N.key``   the authority and its key; N grows when it is rotated
``register.json``   who was given a certificate, until when, and who lost it
``ca.pem``          what every member must trust: the authorities that are not retired
``crl.pem``         who lost their certificate; for the broker
``passwords``       hashed, in mosquitto's format; for the broker

The broker takes the user from a certificate: a device is ``<site>/<device>``, a renderer ``renderer/<name>``,
whoever gives commands ``operator``. What each may do is in ``systemd/mosquitto/acl``, which needs no change when
somebody joins. Members make their keys themselves and hand over requests; no key travels.
"""

import base64
import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from provisioning.certificates import (
    DAYS,
    Key,
    Role,
    Subject,
    ends_utc,
    fingerprint,
    key_pem,
    make_authority,
    new_key,
    read_key,
    revocation_list,
    serial_of,
    sign,
)
from provisioning.certificates import make_request as _make_request
from provisioning.errors import AuthorityError

PUBLISHED = ("ca.pem", "crl.pem", "passwords")
"""What a broker needs of the folder."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")
_RESERVED = (Role.RENDERER.value, Role.OPERATOR.value, Role.BROKER.value)
_HASH_ROUNDS = 1000  # of a password with 192 random bits, which no dictionary has


@dataclass(frozen=True, slots=True)
class Member:
    """One certificate that was given."""

    role: str
    name: str
    serial: str  # hexadecimal
    ends_utc: str  # ISO 8601
    authority: int
    fingerprint: str
    revoked_utc: str = ""


@dataclass(frozen=True, slots=True)
class _Register:
    site: str
    authorities: tuple[int, ...]  # trusted, the newest last
    members: tuple[Member, ...] = ()

    @property
    def current(self) -> int:
        return self.authorities[-1]


def user_of(role: Role, name: str) -> str:
    """Return the user that the broker knows a member by; ``AuthorityError`` for a name that cannot be one.

    Names are 1 to 32 letters, digits, - and _; a device's is ``<site>/<device>``, a broker's is a host.
    """
    if role is Role.BROKER:
        _check(_HOST.fullmatch(name), f"a broker is named by its host or address, got {name!r}")
        return name
    parts = name.split("/") if role is Role.DEVICE else [name]
    _check(
        len(parts) == (2 if role is Role.DEVICE else 1) and all(_NAME.fullmatch(part) for part in parts),
        f"a {role.value} is named {'SITE/DEVICE' if role is Role.DEVICE else 'NAME'}, "
        f"each 1 to 32 letters, digits, - and _; got {name!r}",
    )
    if role is Role.DEVICE:
        _check(parts[0] not in _RESERVED, f"no site may be named {parts[0]!r}: users of that role are")
        return name
    return f"renderer/{name}" if role is Role.RENDERER else Role.OPERATOR.value


def create(folder: Path, site: str) -> None:
    """Make the authority of a site in a folder that holds none yet."""
    _check(_NAME.fullmatch(site), f"a site is named with 1 to 32 letters, digits, - and _; got {site!r}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    with _locked(folder):
        _check(not (folder / "register.json").exists(), f"{folder} holds an authority already; rotate renews it")
        _make(folder, site, 1)
        _write(folder / "passwords", b"")
        _save(folder, _Register(site, (1,)))


def make_request(key_file: Path, role: Role, name: str) -> bytes:
    """Return a signing request, PEM, for a member; its key is read, or made with mode 0600 where there is none."""
    user = user_of(role, name)
    if not key_file.exists():
        _write(key_file, key_pem(new_key()))
    return _make_request(read_key(key_file.read_bytes()), user)


def enrol(
    folder: Path, request: bytes, role: Role, name: str, hosts: Sequence[str] = (), days: float | None = None
) -> bytes:
    """Sign a member's request and note it in the register; return the certificate, PEM.

    ``hosts`` are the names and addresses that clients reach a broker by. A member may have several certificates:
    the one before stays good until it ends or is revoked.
    """
    user = user_of(role, name)
    _check(bool(hosts) == (role is Role.BROKER), "a broker, and nobody else, is enrolled with its hosts")
    for host in hosts:
        _check(_HOST.fullmatch(host), f"a host is a name or an address, got {host!r}")
    with _locked(folder):
        register = _load(folder)
        authority, key = _authority(folder, register.current)
        subject = Subject(role, user, name if role is Role.OPERATOR else "", tuple(hosts))
        certificate = sign(request, subject, authority, key, DAYS[role] if days is None else days)
        member = Member(
            role.value,
            name,
            f"{serial_of(certificate):x}",
            ends_utc(certificate).isoformat(),
            register.current,
            fingerprint(certificate),
        )
        _save(folder, replace(register, members=(*register.members, member)))
    return certificate


def revoke(folder: Path, role: Role, name: str) -> int:
    """Take a member's certificates and password away; return how many certificates that were."""
    with _locked(folder):
        register = _load(folder)
        now = datetime.now(timezone.utc).isoformat()
        lost = [member for member in register.members if _is(member, role, name) and not member.revoked_utc]
        had_password = _forget_password(folder, user_of(role, name))
        _check(lost or had_password, f"no {role.value} {name!r} has a certificate or a password; list names all")
        members = tuple(replace(member, revoked_utc=now) if member in lost else member for member in register.members)
        _save(folder, replace(register, members=members))
    return len(lost)


def rotate(folder: Path) -> None:
    """Make a new authority that signs from now on; the one before is trusted until ``retire``.

    Hand ``ca.pem`` to every member and the broker, enrol the broker again, then the others, then retire.
    """
    with _locked(folder):
        register = _load(folder)
        number = register.current + 1
        _make(folder, register.site, number)
        _save(folder, replace(register, authorities=(*register.authorities, number)))


def retire(folder: Path) -> list[Member]:
    """Trust the newest authority alone; return the members whose certificates end with that."""
    with _locked(folder):
        register = _load(folder)
        _save(folder, replace(register, authorities=(register.current,)))
        for number in register.authorities[:-1]:
            (folder / f"authority-{number}.key").unlink()
    fresh = {(member.role, member.name) for member in _valid(register) if member.authority == register.current}
    return [member for member in _valid(register) if (member.role, member.name) not in fresh]


def members(folder: Path) -> list[Member]:
    """Return every certificate that was ever given, in order."""
    return list(_load(folder).members)


def give_password(folder: Path, role: Role, name: str, secret_file: Path) -> str:
    """Make a member's password, write it to a file of mode 0600, and its hash for the broker; return the user.

    For a renderer that cannot hold a certificate. A member has one password: the one before is void.
    """
    user = user_of(role, name)
    _check(role in (Role.RENDERER, Role.DEVICE), f"a {role.value} has a certificate, and no password")
    password, salt = secrets.token_urlsafe(24), secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _HASH_ROUNDS)
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    with _locked(folder):
        _load(folder)
        _forget_password(folder, user)
        _write(secret_file, f"{password}\n".encode())
        before = (folder / "passwords").read_bytes()
        _write(folder / "passwords", before + f"{user}:$7${_HASH_ROUNDS}${'$'.join(encoded)}\n".encode())
    return user


def has_password(folder: Path, role: Role, name: str) -> bool:
    """Whether the broker takes a password of this member."""
    lines = (folder / "passwords").read_text(encoding="utf-8").splitlines()
    return any(line.startswith(f"{user_of(role, name)}:") for line in lines)


def export(folder: Path, target: Path) -> None:
    """Write what a broker needs of the folder, ``PUBLISHED``, to another folder, each file whole or not at all."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder):
        _load(folder)
        for name in PUBLISHED:
            _write(target / name, (folder / name).read_bytes())


def _check(holds: object, rule: str) -> None:
    if not holds:
        raise AuthorityError(rule)


def _valid(register: _Register) -> list[Member]:
    """The certificates that are neither revoked nor over."""
    now = datetime.now(timezone.utc)
    return [
        member
        for member in register.members
        if not member.revoked_utc and datetime.fromisoformat(member.ends_utc) > now
    ]


def _is(member: Member, role: Role, name: str) -> bool:
    return (member.role, member.name) == (role.value, name)


def _make(folder: Path, site: str, number: int) -> None:
    key = new_key()
    _write(folder / f"authority-{number}.key", key_pem(key))
    _write(folder / f"authority-{number}.pem", make_authority(key, f"avatar {site} {number}"))


def _authority(folder: Path, number: int) -> tuple[bytes, Key]:
    key = read_key((folder / f"authority-{number}.key").read_bytes())
    return (folder / f"authority-{number}.pem").read_bytes(), key


def _load(folder: Path) -> _Register:
    try:
        fields = json.loads((folder / "register.json").read_text(encoding="utf-8"))
        given = tuple(Member(**member) for member in fields["members"])
        return _Register(fields["site"], tuple(fields["authorities"]), given)
    except FileNotFoundError:
        raise AuthorityError(f"{folder} holds no authority; create makes one") from None
    except (ValueError, TypeError, KeyError) as error:
        raise AuthorityError(f"{folder}/register.json is damaged: {error}; put it back from a copy") from None


def _save(folder: Path, register: _Register) -> None:
    """Write the register and, from it, what members and the broker read."""
    _write(folder / "register.json", json.dumps(asdict(register), indent=1).encode())
    trusted, lists = b"", b""
    for number in reversed(register.authorities):
        authority, key = _authority(folder, number)
        revoked = {
            int(member.serial, 16): datetime.fromisoformat(member.revoked_utc)
            for member in register.members
            if member.authority == number and member.revoked_utc
        }
        trusted += authority
        lists += revocation_list(authority, key, revoked)
    _write(folder / "ca.pem", trusted)
    _write(folder / "crl.pem", lists)


def _forget_password(folder: Path, user: str) -> bool:
    lines = (folder / "passwords").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(f"{user}:")]
    _write(folder / "passwords", "".join(kept).encode())
    return len(kept) < len(lines)


def _write(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, whole or not at all."""
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    aside.replace(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep others from changing the folder meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise AuthorityError(f"{folder} cannot be opened: {error.strerror}; create makes an authority there") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
