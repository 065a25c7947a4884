"""What a device gets: resources (``device/host.py`` says of what kinds) and one deployment. Values in, values out."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from provisioning.site import Device, Site

Resource = dict[str, Any]
Table = dict[str, Any]

SETTINGS_FILE = "/etc/avatar-appliance/appliance.toml"
ETC = "/etc/avatar-appliance"
STATE = "/var/lib/avatar-appliance"
OPT = "/opt/avatar-appliance"
INCOMING = "/var/lib/avatar-provision"
_CRL_END = "-----END X509 CRL-----\n"
KEEPER = "/usr/local/lib/avatar-appliance"
BROKER = "/etc/mosquitto/avatar"
PACKAGES = f"{OPT}/packages"

_KEEPER_SOURCES = Path(__file__).parent / "keeper"
_OPENING = """#!/usr/bin/python3
import sys

sys.path.insert(0, "/usr/local/lib/avatar-appliance/current")
from keeper.__main__ import main

sys.exit(main())
"""
_GUARD = """[Unit]
Description=Avatar appliance: the release that is to run, before it runs
DefaultDependencies=no
RequiresMountsFor=/opt /var/lib
After=local-fs.target
Before=avatar-engines.service avatar-appliance.service
ConditionPathExists=/opt/avatar-appliance/state.json

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/avatar-keeper guard
TimeoutStartSec=60

[Install]
WantedBy=multi-user.target
"""
_WATCH = """[Unit]
Description=Avatar appliance: does the new release prove itself
After=avatar-appliance.service

[Service]
Type=exec
ExecStart=/usr/local/sbin/avatar-keeper watch
Restart=on-failure
RestartSec=2

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class Content:
    """What the laptop knows of a bundle without unpacking it."""

    version: str
    target: Table
    packages: tuple[str, ...]
    manifest_sha256: str
    system: Mapping[str, str] = field(default_factory=dict)  # texts of systemd/, by path in it


def keeper_resources(signer: str) -> Iterator[Resource]:
    """What a device needs before it can take a release: the keeper, and whose bundles it may trust."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in sorted(_KEEPER_SOURCES.glob("*.py"))}
    version = hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:12]
    yield directory(OPT, "0755")
    yield directory(f"{OPT}/releases", "0755")
    yield directory(INCOMING, "0700")
    yield file(f"{ETC}/bundle.signers", f'release namespaces="avatar-bundle" {signer.strip()}\n')
    for name, text in sources.items():
        yield file(f"{KEEPER}/{version}/keeper/{name}", text)
    yield link(f"{KEEPER}/current", version)  # all of it changes in this step
    yield file("/usr/local/sbin/avatar-keeper", _OPENING, "0755")
    yield file("/etc/systemd/system/appliance-keeper-guard.service", _GUARD)
    yield file("/etc/systemd/system/appliance-keeper.service", _WATCH)
    for unit in ("appliance-keeper-guard.service", "appliance-keeper.service"):
        yield wanted(unit)
    yield once("reload units", [_GUARD, _WATCH], ["systemctl", "daemon-reload"])


def system_resources(site: Site, device: Device, content: Content, facts: Table) -> Iterator[Resource]:
    """The host around a release: packages, users, folders, names of devices, journal, time, power, boot."""
    is_broker = site.broker.device == device.name
    packages = sorted({*content.packages, *(["mosquitto"] if is_broker else [])})
    if packages:
        yield {"kind": "package", "names": packages, "folder": PACKAGES}
    places = {
        "sysusers.d": "/etc/sysusers.d",
        "tmpfiles.d": "/etc/tmpfiles.d",
        "udev": "/etc/udev",
        "journald.conf.d": "/etc/systemd/journald.conf.d",
        "timesyncd.conf.d": "/etc/systemd/timesyncd.conf.d",
    }
    texts: dict[str, list[str]] = {folder: [] for folder in places}
    for name, text in content.system.items():
        folder, _, rest = name.partition("/")
        if folder in places:
            texts[folder].append(text)
            yield file(f"{places[folder]}/{rest}", text)
    yield once("make users", texts["sysusers.d"], ["systemd-sysusers"])
    yield once("make folders", texts["tmpfiles.d"], ["systemd-tmpfiles", "--create", "avatar-appliance.conf"])
    yield once(
        "load udev rules",
        texts["udev"],
        ["sh", "-c", "udevadm control --reload || ! systemctl -q is-active systemd-udevd"],
    )
    restart = ["systemctl", "try-restart", "systemd-journald.service", "systemd-timesyncd.service"]
    yield once("limit the journal", [*texts["journald.conf.d"], *texts["timesyncd.conf.d"]], restart)
    yield link(f"{STATE}/models", f"{OPT}/current/models")
    yield link("/usr/local/bin/appliance", f"{OPT}/current/bin/appliance")  # for whoever logs in
    yield from _boot(device)
    yield from _power(device, facts)


def _boot(device: Device) -> Iterator[Resource]:
    yield wanted("avatar-engines.service")
    yield wanted("avatar-appliance.service")
    enabled = ["systemctl", "-q", "is-enabled", "systemd-timesyncd.service"]
    yield {
        "kind": "command",
        "title": "keep the time",
        "check": enabled,
        "do": ["systemctl", "enable", "--now", "systemd-timesyncd.service"],
    }
    if device.kiosk:
        for unit in ("avatar-viewer.service", "kiosk-screen.service"):
            yield wanted(unit, "avatar-appliance.target")
        is_default = ["sh", "-c", 'test "$(systemctl get-default)" = avatar-appliance.target']
        do = ["systemctl", "set-default", "avatar-appliance.target"]
        yield {"kind": "command", "title": "boot into the booth", "check": is_default, "do": do}


def _power(device: Device, facts: Table) -> Iterator[Resource]:
    """The power mode that was asked for, where the board has any; nvpmodel keeps it across boots."""
    if device.power_mode and "nvpmodel" in facts["tools"]:
        words = 'nvpmodel -q | grep -qxF -e "$1" -e "NV Power Mode: $1"'
        check, do = ["sh", "-c", words, "sh", device.power_mode], ["nvpmodel", "-m", device.power_mode]
        yield {"kind": "command", "title": "set the power mode", "check": check, "do": do}


def guard_resources(site: Site, device: Device, facts: Table, by_key: bool) -> Iterator[Resource]:
    """Doors that are shut: each is opened again by itself unless a new login confirms it."""
    if site.ssh.harden and by_key:
        text = "PasswordAuthentication no\nKbdInteractiveAuthentication no\nX11Forwarding no\nMaxAuthTries 4\n"
        path = "/etc/ssh/sshd_config.d/20-avatar.conf"
        yield file(f"{path}.off", text)
        shut = f"cp {path}.off {path} && sshd -t && systemctl reload ssh.service || {{ rm -f {path}; false; }}"
        yield door("let nobody in by password", text, shut, f"rm -f {path}; systemctl reload ssh.service")
    if site.ssh.firewall and "nft" in facts["tools"]:
        text = _firewall(device.port or site.ssh.port, site.broker.device == device.name)
        path = "/etc/avatar-firewall.nft"
        yield file(path, text)
        unit = _FIREWALL_UNIT.format(path=path)
        yield file("/etc/systemd/system/appliance-firewall.service", unit)
        name = "appliance-firewall.service"
        shut = f"systemctl daemon-reload && systemctl restart {name} && systemctl -q enable {name}"
        yield door(
            "let in what is needed alone", text + unit, shut, "systemctl disable --now appliance-firewall.service"
        )


_FIREWALL_UNIT = """[Unit]
Description=Avatar appliance: lets in what is needed alone
DefaultDependencies=no
Before=network-pre.target
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=nft -f {path}
ExecStop=nft delete table inet avatar

[Install]
WantedBy=multi-user.target
"""


def _firewall(ssh_port: int, is_broker: bool) -> str:
    ports = ", ".join(str(port) for port in (ssh_port, *((8883, 8884, 9001) if is_broker else ())))
    return f"""table inet avatar
delete table inet avatar
table inet avatar {{
    chain input {{
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iif lo accept
        meta l4proto {{ icmp, ipv6-icmp }} accept
        udp dport {{ 68, 546, 5353 }} accept
        tcp dport {{ {ports} }} accept
    }}
}}
"""


def broker_resources(content: Content, published: Mapping[str, str]) -> Iterator[Resource]:
    """The broker on this device; ``published`` are the authority's files for it, by name."""
    yield {"kind": "directory", "path": BROKER, "mode": "0700", "owner": "mosquitto", "group": "mosquitto"}
    acl = content.system["mosquitto/acl"]
    for name, text in {**published, "acl": acl}.items():
        owned = {"mode": "0600", "owner": "mosquitto", "group": "mosquitto", "secret": name == "passwords"}
        yield {"kind": "file", "path": f"{BROKER}/{name}", "text": text, **owned}
    conf = content.system["mosquitto/avatar.conf"]
    yield file("/etc/mosquitto/conf.d/avatar.conf", conf)
    # a list of the revoked is made anew with each enrolment; only another one is worth a restart
    texts = [conf, acl, published["ca.pem"], published["passwords"], *sorted(revoked(published["crl.pem"]))]
    yield once("restart the broker", texts, ["systemctl", "restart", "mosquitto.service"])


def revoked(lists: str) -> set[str]:
    """Who may not come in any more: each authority, and the serial numbers that it took back."""
    parts = [part + _CRL_END for part in lists.split(_CRL_END)[:-1]]
    read = [x509.load_pem_x509_crl(part.encode()) for part in parts]
    return {f"{one.issuer.rfc4514_string()} {entry.serial_number:x}" for one in read for entry in one} | {
        one.issuer.rfc4514_string() for one in read
    }


def deployment(site: Site, device: Device, content: Content) -> Table:
    """A release, the files in /etc that go with it, and what it must keep to stay."""
    release = site.release
    files = [{**file(SETTINGS_FILE, settings_text(site, device), "0640"), "group": "avatar"}]
    for name, text in sorted(content.system.items()):
        folder, _, rest = name.partition("/")
        if folder == "system":
            files.append(file(f"/etc/systemd/system/{rest}", text))
    limits = {
        "window_s": release.window_s,
        "start_s": release.start_s,
        "latency_ms": release.latency_ms,
        "memory_mb": release.memory_mb,
    }
    broker = {
        "host": site.broker.host,
        "port": site.broker.port,
        "ca_file": f"{ETC}/ca.pem",
        "cert_file": f"{ETC}/client.pem",
        "key_file": f"{ETC}/client.key",
        "topic": f"avatar/v1/{site.site.name}/{device.name}/health",
    }
    return {"release": content.version, "files": files, "limits": limits, "broker": broker}


def settings_text(site: Site, device: Device) -> str:
    """A device's settings file."""
    lines = ["# Written by appliance-provision from the site file; change it there."]
    lines += _section("[device]", {"site": site.site.name, "name": device.name})
    for kind, entries in (("camera", device.camera), ("microphone", device.microphone)):
        for entry in entries:
            lines += _section(f"[[{kind}]]", asdict(entry))
    for name, values in site.settings.items():
        lines += _section(f"[{name}]", values)
    broker = {
        "url": f"mqtts://{site.broker.host}:{site.broker.port}",
        "ca_file": f"{ETC}/ca.pem",
        "cert_file": f"{ETC}/client.pem",
        "key_file": f"{ETC}/client.key",
    }
    return "\n".join([*lines, *_section("[broker]", broker)]) + "\n"


def _section(head: str, values: Mapping[str, Any]) -> list[str]:
    # JSON's texts, numbers, true and false are TOML's, too
    return ["", head, *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())]


def file(path: str, text: str, mode: str = "0644") -> Resource:
    """A file of root."""
    return {"kind": "file", "path": path, "text": text, "mode": mode, "owner": "root", "group": "root"}


def directory(path: str, mode: str) -> Resource:
    """A folder of root."""
    return {"kind": "directory", "path": path, "mode": mode, "owner": "root", "group": "root"}


def link(path: str, target: str) -> Resource:
    """A symbolic link."""
    return {"kind": "link", "path": path, "target": target}


def wanted(unit: str, target: str = "multi-user.target") -> Resource:
    """A unit that starts with a target."""
    return link(f"/etc/systemd/system/{target}.wants/{unit}", f"../{unit}")


def once(title: str, texts: list[str], do: list[str]) -> Resource:
    """A command that is run again when one of the texts has changed."""
    return {"kind": "command", "title": title, "stamp": _digest(texts), "do": do}


def door(title: str, text: str, shut: str, opened: str) -> Resource:
    """A command that could lock us out, and how it is undone."""
    return {**once(title, [text], ["sh", "-c", shut]), "undo": ["sh", "-c", opened]}


def _digest(texts: list[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
