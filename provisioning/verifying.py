"""Prove from outside that a device is live: its state, its first frame, who is let in and who is not."""

import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from provisioning import authority
from provisioning.certificates import Role, ends_utc
from provisioning.desired import Table
from provisioning.keeper.listener import PUBLISH, Listener, packed, worded
from provisioning.site import Device, Site

_FRAME_S = 20.0
_SILENCE_S = 2.0
_MARK = b'{"event": "provision_check"}'


@dataclass(frozen=True, slots=True)
class Proof:
    """One thing that was looked at."""

    subject: str
    good: bool
    text: str


def prove(site: Site, device: Device, status: Table, active: str, calibration: str) -> Iterator[Proof]:
    """Every proof of one device; ``status`` is its keeper's, ``active`` its service's state.

    ``calibration`` is told and fails nothing: a board that lost it is live, with the ranges that ship.
    """
    yield _release(status)
    yield Proof("service", active == "active", f"avatar-appliance.service is {active or 'not there'}")
    if calibration:
        yield Proof("calibration", True, f"mind: {calibration}")
    root = f"avatar/v1/{site.site.name}/{device.name}"
    operator = _identity(site, Role.OPERATOR, "laptop")
    began_s = time.monotonic()
    frame = _heard(operator, f"{root}/+/+/frame", _FRAME_S)
    took_s = time.monotonic() - began_s
    yield Proof("frame", frame is not None, f"after {took_s:.1f} s" if frame else f"none within {_FRAME_S:.0f} s")
    health = _heard(operator, f"{root}/health", _FRAME_S)
    yield _health(health)
    yield _plain(operator)
    yield _nameless(operator)
    yield _mute(_identity(site, Role.RENDERER, "provision-check"), operator, root)


def fallbacks(listed: str) -> str:
    """What a board's ``engines list --json`` says of engines that are not as asked; empty where all are."""
    try:
        rows = json.loads(listed)
    except ValueError:
        return ""
    return "; ".join(f"{row['name']}: {row['fallback']}" for row in rows if row.get("fallback"))


def _release(status: Table) -> Proof:
    if not status or not status["active"]:
        return Proof("release", False, "none was ever installed; apply the site file")
    proved = not status["on_trial"] and status["settled"] and "proved itself" in status["last"]
    return Proof("release", proved, f"{status['release']}: {status['last']}")


def _health(payload: bytes | None) -> Proof:
    if payload is None:
        return Proof("health", False, "none was heard")
    health = json.loads(payload)
    sources = {**(health.get("cameras") or {}), **(health.get("microphones") or {})}
    broken = [f"{name}: {source['error']}" for name, source in sources.items() if source.get("error")]
    latency_ms = (health.get("stages") or {}).get("total", {}).get("p99_ms", 0.0)
    text = f"{health.get('fps')} frames a second, p99 {latency_ms} ms, {health.get('rss_mb')} MB"
    return Proof("health", not broken, "; ".join([text, *broken]))


def _heard(broker: Table, topic: str, limit_s: float) -> bytes | None:
    try:
        return Listener(broker).wait(topic, limit_s)
    except (OSError, ValueError):
        return None


def _plain(broker: Table) -> Proof:
    """Without TLS nobody may be let in."""
    unencrypted = {key: broker[key] for key in ("host", "port", "topic")}
    let_in = _let_in(unencrypted)
    return Proof("TLS", not let_in, "the broker takes unencrypted connections" if let_in else "plain MQTT is refused")


def _nameless(broker: Table) -> Proof:
    let_in = _let_in({key: broker[key] for key in ("host", "port", "topic", "ca_file")})
    return Proof("certificate", not let_in, "the broker asks for none" if let_in else "who has none is refused")


def _let_in(broker: Table) -> bool:
    listener = Listener(broker)
    try:
        listener.connect(_SILENCE_S)
    except (OSError, ValueError):
        return False
    finally:
        listener.close()
    return True


def _mute(renderer: Table, operator: Table, root: str) -> Proof:
    """A renderer that writes must not be heard; a refusal is silent at QoS 0, so others listen."""
    writer, ear = Listener(renderer), Listener({**operator, "topic": f"{root}/event"})
    with contextlib.closing(writer), contextlib.closing(ear):
        try:
            ear.connect(_SILENCE_S)
            link = writer.connect(_SILENCE_S)
            link.sendall(packed(PUBLISH, worded(f"{root}/event") + _MARK))
            heard = ear.hears(_MARK, _SILENCE_S)
        except (OSError, ValueError) as error:
            return Proof("ACL", False, f"a renderer cannot log in: {error}")
    return Proof("ACL", not heard, "a renderer can write" if heard else "what a renderer writes is refused")


def _identity(site: Site, role: Role, name: str) -> Table:
    """A certificate of this laptop's own, beside the authority; made where there is none or it has ended."""
    folder = site.path(site.site.authority)
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    broker: dict[str, Any] = {"host": site.broker.host, "port": site.broker.port, "topic": ""}
    files = {"ca_file": str(folder / "ca.pem"), "cert_file": str(certificate), "key_file": str(key)}
    if not _is_good(certificate, key):
        request = authority.make_request(key, role, name)
        certificate.write_bytes(authority.enrol(folder, request, role, name))
    return {**broker, **files}


def _is_good(certificate: Path, key: Path) -> bool:
    try:
        ssl.create_default_context().load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError):
        return False
    return ends_utc(certificate.read_bytes()) > datetime.now(timezone.utc) + timedelta(days=1)
