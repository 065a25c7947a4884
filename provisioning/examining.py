"""Look at a device and say what would change there. Nothing is changed by looking."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from provisioning import authority, desired
from provisioning.certificates import Role, ends_utc, fingerprint
from provisioning.connection import Link
from provisioning.desired import Content, Resource, Table
from provisioning.errors import AuthorityError
from provisioning.site import Device, Site

_ADDRESS_PASSWORD = re.compile(r"(?<=://)[^/@\s\"]+(?=@)")  # rtsp://user:password@camera
_RENEW = timedelta(days=60)  # a certificate that ends sooner is renewed


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that would change; ``details`` are lines of a diff."""

    title: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """A key on the device, and whom the site's authority is to say it is."""

    role: Role
    name: str
    resource: Table
    hosts: tuple[str, ...] = ()


@dataclass(slots=True)
class Finding:
    """What a device is, and what is to be done there, in order."""

    facts: Table
    by_key: bool = False
    keeper: list[Resource] = field(default_factory=list)
    install: bool = False
    system: list[Resource] = field(default_factory=list)
    enrol: list[Identity] = field(default_factory=list)
    credentials: list[Resource] = field(default_factory=list)
    deploy: Table | None = None
    doors: list[Resource] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


def identities(site: Site, device: Device) -> Iterator[Identity]:
    """Who a device is: itself, and where it is the broker that, too."""
    name = f"{site.site.name}/{device.name}"
    place = {"key": f"{desired.ETC}/client.key", "certificate": f"{desired.ETC}/client.pem"}
    yield Identity(Role.DEVICE, name, {**place, "user": name, "owner": "root", "group": "root"})
    if site.broker.device == device.name:
        host = site.broker.host
        place = {"key": f"{desired.BROKER}/broker.key", "certificate": f"{desired.BROKER}/broker.pem"}
        owner = {"user": host, "owner": "mosquitto", "group": "mosquitto"}
        yield Identity(Role.BROKER, host, {**place, **owner}, tuple(dict.fromkeys((host, device.host))))


async def examine(link: Link, site: Site, device: Device, content: Content, signer: str) -> Finding:
    """Hold a device against the site file."""
    facts = await link.ask("facts")
    found = Finding(facts, link.by_key)
    groups = {
        "keeper": list(desired.keeper_resources(signer)),
        "system": list(desired.system_resources(site, device, content, facts)),
        "credentials": list(credentials(site, device, content)),
        "doors": list(desired.guard_resources(site, device, facts, link.by_key)),
    }
    everything = [resource for group in groups.values() for resource in group]
    answers = iter((await link.ask("compare", resources=everything))["found"])
    for name, group in groups.items():
        for resource in group:
            answer = next(answers)
            if not answer["same"] and not _means_the_same(resource, answer):
                getattr(found, name).append(resource)
                found.changes.append(_change(resource, answer))
    await _examine_identities(link, site, device, found)
    _examine_release(site, device, content, found)
    return found


def credentials(site: Site, device: Device, content: Content) -> Iterator[Resource]:
    """What the authority publishes to a device, and to the one that is the broker."""
    folder = site.path(site.site.authority)
    yield desired.file(f"{desired.ETC}/ca.pem", (folder / "ca.pem").read_text(encoding="utf-8"))
    if site.broker.device == device.name:
        published = {name: (folder / name).read_text(encoding="utf-8") for name in authority.PUBLISHED}
        yield from desired.broker_resources(content, published)


async def _examine_identities(link: Link, site: Site, device: Device, found: Finding) -> None:
    given = {
        member.fingerprint for member in authority.members(site.path(site.site.authority)) if not member.revoked_utc
    }
    for identity in identities(site, device):
        answer = await link.ask("request", resource=identity.resource, make_key=False)
        if why := _why_enrol(answer, given):
            found.enrol.append(identity)
            found.changes.append(Change(f"enrol {identity.role.value} {identity.name}: {why}"))


def _means_the_same(resource: Resource, answer: Table) -> bool:
    """Whether a list of the revoked differs in its date alone: the authority writes it anew for each member."""
    if not resource.get("path", "").endswith("/crl.pem") or not answer["before"]:
        return False
    try:
        return desired.revoked(answer["before"]) == desired.revoked(resource["text"])
    except ValueError:
        return False


def _why_enrol(answer: Table, given: set[str]) -> str:
    """Why a certificate is needed; empty where the one there is good."""
    if not answer["request"]:
        return "it makes a key of its own"
    if not answer["certificate"]:
        return "it has no certificate"
    try:
        owned = fingerprint(answer["certificate"].encode())
        if owned != fingerprint(answer["request"].encode()):
            return "its certificate is of another key"
        if owned not in given:
            return "its certificate is not of this authority, or was revoked"
        if ends_utc(answer["certificate"].encode()) - datetime.now(timezone.utc) < _RENEW:
            return "its certificate ends soon"
    except (AuthorityError, ValueError):
        return "its certificate is damaged"
    return ""


def _examine_release(site: Site, device: Device, content: Content, found: Finding) -> None:
    keeper = found.facts["keeper"]
    if keeper.get("installed", {}).get(content.version) != content.manifest_sha256:
        found.install = True
        found.changes.append(Change(f"install release {content.version}"))
    wanted, there = desired.deployment(site, device, content), keeper.get("deployment", {})
    if there != wanted:
        found.deploy = wanted
        found.changes.append(_switch(keeper, there, wanted))
    elif keeper.get("on_trial"):
        found.changes.append(Change("wait for the trial that is on"))


def _switch(keeper: Table, there: Table, wanted: Table) -> Change:
    before = keeper.get("release") or "nothing"
    details = [f"release: {before} -> {wanted['release']}"] if before != wanted["release"] else []
    old = {entry["path"]: entry["text"] for entry in there.get("files", [])}
    new = {entry["path"]: entry["text"] for entry in wanted["files"]}
    for path in sorted(old.keys() | new.keys()):
        details += _diff(path, old.get(path), new.get(path))
    details += [
        f"{name}: {there[name]} -> {wanted[name]}"
        for name in ("limits", "broker")
        if there and there[name] != wanted[name]
    ]
    if keeper.get("last", "").startswith("went back"):
        details.append(f"mind: it {keeper['last']}")
    return Change(
        f"switch to release {wanted['release']}, on trial for {wanted['limits']['window_s']} s", tuple(details)
    )


def _change(resource: Resource, answer: dict[str, Any]) -> Change:
    kind = resource["kind"]
    if kind == "command":
        return Change(resource["title"])
    if kind == "package":
        return Change(f"install the packages {', '.join(answer['missing'])}")
    if kind == "directory":
        return Change(f"folder {resource['path']} ({resource['mode']}, {resource['owner']})")
    if kind == "link":
        return Change(f"link {resource['path']} -> {resource['target']}")
    if resource.get("secret"):
        return Change(f"file {resource['path']} (its content is not shown)")
    return Change(f"file {resource['path']}", tuple(_diff(resource["path"], answer["before"], resource["text"])))


def _diff(path: str, before: str | None, after: str | None) -> list[str]:
    if before is None:
        return [f"+ {path}: {len((after or '').splitlines())} lines"]
    lines = difflib.unified_diff(before.splitlines(), (after or "").splitlines(), path, path, lineterm="", n=1)
    return [without_secrets(line) for line in lines]


def without_secrets(text: str) -> str:
    """Take out names and passwords within addresses."""
    return _ADDRESS_PASSWORD.sub("***", text)
