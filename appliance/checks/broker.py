"""Whether the broker lets us in, whom else it lets in, and what it lets us write.

Seen from outside, refusals included. A refusal by the broker's ACL is silent at QoS 0, so it is asked for at QoS 1,
which MQTT 5 answers with a reason, and listened for as well.
"""

import os
import secrets
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from appliance import settings as config
from appliance.checks.finding import Finding, Verdict
from appliance.checks.glance import within
from appliance.errors import ACTIONABLE
from appliance.publish.certificate import own
from appliance.publish.connection import Connection, Status
from appliance.publish.wire import Topics

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DAY_S = 86400.0
_SOON_DAYS = 30.0
_ECHO_S = 1.0
_CURE = "see [broker] in the settings, and the broker's own log"
_TAKEN = ("Success", "No matching subscribers")
_ACL_CURE = "give the broker systemd/mosquitto/acl, and the device the user SITE/DEVICE"


@dataclass
class _Visit:
    """What one connection found out."""

    status: Status | None = None
    tls: str = ""
    ends_s: float | None = None  # when the broker's certificate stops to hold, seconds since the Unix epoch
    codes: dict[str, str] = field(default_factory=dict)  # the broker's answer to what was published, by topic
    heard: set[str] = field(default_factory=set)


def broker(settings: config.Settings) -> Iterator[Finding]:
    """Yield what there is to say of the broker; the rest only where it lets us in."""
    device = settings.device
    own = f"{Topics(device.site, device.name).root}/resp/check"
    others = f"{Topics(device.site, f'check-{secrets.token_hex(4)}').root}/event"
    try:
        visit = _visit(settings.broker, own, others)
    except ACTIONABLE as error:
        yield Finding("broker", Verdict.STOP, str(error), "see [broker] in the settings")
        return
    yield reached(settings.broker, visit.status)
    if visit.status is None or not visit.status.connected:
        return
    yield from certificates(settings.broker, visit.ends_s, visit.tls)
    yield from permissions(visit, own, others)
    if settings.broker.host not in _LOOPBACK:
        yield from strangers(settings.broker)


def reached(wanted: config.Broker, status: Status | None) -> Finding:
    """Whether the broker lets us in."""
    if status is None or not status.connected:
        text = (status.problem if status else "") or f"{wanted.url} does not answer"
        return Finding("broker", Verdict.STOP, text, _CURE)
    text = f"{wanted.url} lets us in with MQTT {status.protocol}"
    if not wanted.tls and wanted.host not in _LOOPBACK:
        return Finding("broker", Verdict.WEAK, f"{text}, unencrypted", "use mqtts:// and ca_file")
    return Finding("broker", Verdict.FINE, text)


def certificates(wanted: config.Broker, broker_ends_s: float | None, tls: str) -> Iterator[Finding]:
    """How long the certificates hold, the broker's and ours."""
    if broker_ends_s is not None:
        yield _holding(f"the broker's, {tls},", broker_ends_s, "enrol the broker anew at the site's authority")
    if ours := own(wanted):
        yield _holding("ours", ours.ends_utc_s, "enrol this device anew at the site's authority")


def _holding(whose: str, ends_s: float, cure: str) -> Finding:
    days = (ends_s - time.time()) / _DAY_S
    text = f"{whose} holds until {time.strftime('%Y-%m-%d', time.gmtime(ends_s))}"
    if days < _SOON_DAYS:
        return Finding("certificate", Verdict.WEAK, f"{text}, {days:.0f} days", cure)
    return Finding("certificate", Verdict.FINE, text)


def permissions(visit: _Visit, own: str, others: str) -> Iterator[Finding]:
    """Whether we may write what is ours, and nothing else."""
    if visit.codes.get(own) == "Not authorized":
        yield Finding("access", Verdict.STOP, f"does not let us write {own}", _ACL_CURE)
    # MQTT 3.1.1 says yes to everything: there, only what arrives is a proof.
    told = visit.status is not None and visit.status.protocol == "5"
    if others in visit.heard or (told and visit.codes.get(others) in _TAKEN):
        yield Finding("access", Verdict.WEAK, "lets this device write topics of others", _ACL_CURE)
    elif others in visit.codes:
        how = "refuses" if told else "hands on nothing of"
        yield Finding("access", Verdict.FINE, f"{how} what we write to topics of others")


def strangers(wanted: config.Broker) -> Iterator[Finding]:
    """Whether the broker lets in who says no name."""
    nobody = replace(wanted, username_file="", password_file="", cert_file="", key_file="")
    if nobody == wanted:
        yield Finding("access", Verdict.WEAK, "lets us in without a name", "set allow_anonymous false; name us")
        return
    visit = _visit(nobody, "", "")
    if visit.status is not None and visit.status.connections:
        yield Finding("access", Verdict.WEAK, "lets in anybody without a name", "set allow_anonymous false")
    else:
        yield Finding("access", Verdict.FINE, "lets in nobody without a name")


def _visit(wanted: config.Broker, own: str, others: str) -> _Visit:
    """Connect, publish to our topic and to another's where they are named, and listen."""
    visit = _Visit()
    sent: dict[int, str] = {}

    def acknowledged(_client: Any, _data: Any, mid: int, code: Any, _properties: Any) -> None:
        visit.codes[sent.get(mid, "")] = str(code)

    def up(client: Any) -> None:
        sock = client.socket()
        if wanted.tls and sock is not None:
            visit.tls, visit.ends_s = sock.version() or "", _ends_s(sock.getpeercert())
        client.on_publish = acknowledged
        client.on_message = lambda _client, _data, message: visit.heard.add(message.topic)
        if others:
            client.subscribe(others, 1)
            sent.update({client.publish(topic, b"{}", 1).mid: topic for topic in (own, others)})

    connection = Connection(wanted, f"check-{os.getpid()}-{secrets.token_hex(2)}", up)
    connection.start()
    within(lambda: connection.status().connected or connection.status().problem != "")
    if others and connection.status().connected:
        within(lambda: {own, others} <= visit.codes.keys())
        ends_s = time.monotonic() + _ECHO_S
        within(lambda: others in visit.heard or time.monotonic() > ends_s)
    visit.status = connection.status()
    connection.close()
    return visit


def _ends_s(certificate: Any) -> float | None:
    return float(ssl.cert_time_to_seconds(certificate["notAfter"])) if certificate else None
