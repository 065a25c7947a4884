"""The shipped broker configuration and ACL, in a real mosquitto: who gets in, and what each may do."""

import logging
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from brokers import DEVICE, INFO, ROOT, a_state, is_listening, wait_until
from paho.mqtt.enums import CallbackAPIVersion
from sites import HOST, SHIPPED, Site

from appliance.publish.connection import Connection
from appliance.publish.credentials import read_credentials
from appliance.publish.mqtt import AvatarPublisher
from appliance.settings import Broker
from provisioning import authority
from provisioning.certificates import Role

Members = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Members]]:
    site = Site(tmp_path_factory.mktemp("site"))
    members = {
        "device": site.member(Role.DEVICE, "lobby/orin-07"),
        "other device": site.member(Role.DEVICE, "lobby/orin-08"),
        "renderer": site.member(Role.RENDERER, "screen"),
        "operator": site.member(Role.OPERATOR, "anna"),
        "renderer with a password": site.secret(Role.RENDERER, "unity"),
        "device with a password": site.secret(Role.DEVICE, "lobby/orin-07"),
        "expired": site.member(Role.DEVICE, "lobby/orin-09", days=-0.5),
        "revoked": site.member(Role.DEVICE, "lobby/orin-10"),
    }
    authority.revoke(site.authority, Role.DEVICE, "lobby/orin-10")
    broker = site.start()
    yield site, members
    broker.stop()


class Client:
    """Somebody of the site, connected with MQTT 5."""

    def __init__(self, member: dict[str, str], topics: tuple[str, ...] = ()) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.codes: dict[int, str] = {}
        self._subscribed = threading.Event()
        broker = Broker(**member)
        secrets = read_credentials(broker)
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.username_pw_set(secrets.username, secrets.password)
        self.client.tls_set_context(secrets.tls)
        self.client.on_publish = lambda _c, _d, mid, code, _p: self.codes.update({mid: str(code)})
        self.client.on_message = lambda _c, _d, message: self.heard.append((message.topic, message.payload))
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        assert wait_until(lambda: is_listening(broker.port))  # its doors open one after the other
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        assert wait_until(self.client.is_connected)
        if topics:
            self.client.subscribe([(topic, 1) for topic in topics])
            assert self._subscribed.wait(10)

    def publish(self, topic: str, payload: bytes = b"x") -> str:
        """Publish at QoS 1; return what the broker says to it."""
        sent = self.client.publish(topic, payload, 1)
        assert wait_until(lambda: sent.mid in self.codes)
        return self.codes[sent.mid]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def join(place: tuple[Site, Members]) -> Iterator[Callable[..., Client]]:
    joined: list[Client] = []

    def enter(who: str, *topics: str) -> Client:
        joined.append(Client(place[1][who], topics))
        return joined[-1]

    yield enter
    for client in joined:
        client.close()


OTHER = "avatar/v1/lobby/orin-08"
LEAVES = ("availability", "info", "health", "event", "cam0/0/state", "cam0/0/frame", "cam0/0/frame.bin")


@pytest.mark.parametrize("who", ["device", "device with a password"])
def test_a_device_writes_all_its_own_topics(join: Callable[..., Client], who: str) -> None:
    device, renderer = join(who), join("renderer", "avatar/#")

    for leaf in LEAVES:
        assert device.publish(f"{ROOT}/{leaf}") in ("Success", "No matching subscribers")

    assert wait_until(lambda: {topic for topic, _ in renderer.heard} == {f"{ROOT}/{leaf}" for leaf in LEAVES})


@pytest.mark.parametrize(
    ("who", "topic"),
    [
        *[("device", f"{OTHER}/{leaf}") for leaf in LEAVES],
        ("device", f"{ROOT}/cmd/neutral"),
        ("device", f"{OTHER}/cmd/neutral"),
        ("device", "avatar/v1/lobby/orin-070/info"),
        ("device", "avatar/v1/hall/orin-07/info"),
        ("device", "avatar/v2/lobby/orin-07/info"),
        ("device", "$SYS/broker/uptime"),
        ("device", "elsewhere"),
        *[("renderer", f"{ROOT}/{leaf}") for leaf in (*LEAVES, "cmd/neutral", "resp/neutral")],
        ("renderer", "avatar/v1/renderer/screen/info"),
        ("renderer", "avatar/v1/renderer/screen/cam0/0/frame"),
        ("renderer with a password", f"{ROOT}/info"),
        ("renderer with a password", "avatar/v1/renderer/unity/info"),
        ("operator", f"{ROOT}/info"),
        ("operator", f"{ROOT}/cam0/0/frame"),
        ("operator", f"{ROOT}/resp/neutral"),
        ("operator", "avatar/v1/operator/info"),
    ],
)
def test_what_is_not_theirs_is_refused(join: Callable[..., Client], who: str, topic: str) -> None:
    assert join(who).publish(topic) == "Not authorized"


def test_a_refused_frame_is_silent_and_reaches_nobody(join: Callable[..., Client]) -> None:
    operator, device = join("operator", "avatar/#"), join("device")

    sent = device.client.publish(f"{OTHER}/cam0/0/frame", b"forged", 0)
    sent.wait_for_publish(5)
    device.publish(f"{ROOT}/event", b"after it")

    assert wait_until(lambda: (f"{ROOT}/event", b"after it") in operator.heard)
    assert (f"{OTHER}/cam0/0/frame", b"forged") not in operator.heard


def test_commands_go_from_operators_to_the_device_that_is_meant(join: Callable[..., Client]) -> None:
    device = join("device", f"{ROOT}/cmd/+", f"{OTHER}/cmd/+")
    renderer, operator = join("renderer", "avatar/#"), join("operator", "avatar/v1/+/+/resp/+")

    operator.publish(f"{OTHER}/cmd/neutral")
    assert operator.publish(f"{ROOT}/cmd/neutral") == "Success"
    assert wait_until(lambda: device.heard == [(f"{ROOT}/cmd/neutral", b"x")])
    device.publish(f"{ROOT}/resp/neutral", b"done")

    assert wait_until(lambda: operator.heard == [(f"{ROOT}/resp/neutral", b"done")])
    assert not any("/cmd/" in topic or "/resp/" in topic for topic, _ in renderer.heard)


def said(member: dict[str, Any], pattern: str) -> str:
    """What a connection that is refused says."""
    connection = Connection(Broker(**member), "refused", lambda client: None)
    connection.start()
    found = wait_until(lambda: re.search(pattern, connection.status().problem) is not None)
    problem, connected = connection.status().problem, connection.status().connected
    connection.close()
    assert found, problem
    assert not connected
    return problem


def foreign(folder: Path) -> Path:
    authority.create(folder / "foreign", "lobby")
    return folder / "foreign"


def test_a_wrong_password_is_refused_and_said(place: tuple[Site, Members], tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("open sesame\n")
    member = {**place[1]["renderer with a password"], "password_file": str(tmp_path / "wrong")}

    assert "broker.password_file" in said(member, "refused us: Not authorized")


def test_nobody_gets_in_without_a_name(place: tuple[Site, Members]) -> None:
    site, members = place
    door = {"ca_file": members["device"]["ca_file"]}

    said({**door, "url": f"mqtts://{HOST}:{site.passwords}"}, "refused us: Not authorized")
    said({**door, "url": f"mqtts://{HOST}:{site.certificates}"}, "certificate")


@pytest.mark.parametrize("who", ["expired", "revoked"])
def test_a_certificate_that_holds_no_more_is_refused_and_said(place: tuple[Site, Members], who: str) -> None:
    assert f"certificate {who}" in said(place[1][who], "broker.cert_file")


def test_a_foreign_certificate_is_refused_and_said(place: tuple[Site, Members], tmp_path: Path) -> None:
    stranger = foreign(tmp_path)
    request = authority.make_request(tmp_path / "device.key", Role.DEVICE, "lobby/orin-07")
    (tmp_path / "device.pem").write_bytes(authority.enrol(stranger, request, Role.DEVICE, "lobby/orin-07"))
    files = {"cert_file": str(tmp_path / "device.pem"), "key_file": str(tmp_path / "device.key")}

    assert "unknown ca" in said({**place[1]["device"], **files}, "broker.cert_file")


def test_a_foreign_broker_is_refused_and_said(place: tuple[Site, Members], tmp_path: Path) -> None:
    member = {**place[1]["device"], "ca_file": str(foreign(tmp_path) / "ca.pem")}

    assert "broker.ca_file" in said(member, "not trusted")


def test_a_broker_under_another_name_is_refused_and_said(place: tuple[Site, Members]) -> None:
    member = {**place[1]["device"], "url": f"mqtts://localhost:{place[0].certificates}"}

    assert "the name in url" in said(member, "not trusted")


@pytest.mark.parametrize("port", ["passwords", "certificates"])
def test_the_doors_are_shut_to_who_does_not_encrypt(place: tuple[Site, Members], port: str) -> None:
    with socket.create_connection((HOST, getattr(place[0], port)), 5) as plain:
        plain.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x05\x00\x00")
        try:
            answer = plain.recv(16)
        except ConnectionResetError:
            answer = b""
    assert not answer.startswith(b"\x20")


def test_the_doors_are_shut_to_tls_that_is_too_old(place: tuple[Site, Members]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(place[1]["device"]["ca_file"])
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection((HOST, place[0].passwords), 5) as plain, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(plain, server_hostname=HOST)


def test_a_publisher_whose_topics_are_another_s_says_so(
    place: tuple[Site, Members], caplog: pytest.LogCaptureFixture
) -> None:
    made = AvatarPublisher(Broker(**place[1]["other device"]), DEVICE, INFO)
    with caplog.at_level(logging.ERROR):
        made.start()
        assert wait_until(lambda: "see its ACL" in made.status().problem)
        made.send(a_state())
        made.close()
    assert caplog.text.count("see its ACL") == 1


def test_who_is_revoked_is_out_after_a_restart_and_the_others_come_back(tmp_path: Path) -> None:
    site = Site(tmp_path)
    gone, stays = site.member(Role.RENDERER, "gone"), site.member(Role.RENDERER, "stays")
    broker = site.start()
    Client(gone).close()
    authority.revoke(site.authority, Role.RENDERER, "gone")
    authority.export(site.authority, site.installed)

    broker.stop()
    broker.start()

    assert "certificate revoked" in said(gone, "broker.cert_file")
    Client(stays).close()
    broker.stop()


def test_members_of_the_old_and_the_new_authority_meet_while_it_is_rotated(tmp_path: Path) -> None:
    site = Site(tmp_path)
    old = site.member(Role.DEVICE, "lobby/orin-07")
    authority.rotate(site.authority)
    new = site.member(Role.RENDERER, "screen")
    broker = site.start()
    renderer, device = Client(new, ("avatar/#",)), Client(old)

    device.publish(f"{ROOT}/info", b"hello")

    assert wait_until(lambda: renderer.heard == [(f"{ROOT}/info", b"hello")])
    for client in (renderer, device):
        client.close()
    broker.stop()


def test_the_configuration_goes_beside_the_distribution_s_own(tmp_path: Path) -> None:
    """What Debian and Ubuntu ship sets persistence and its own log before it includes ours."""
    site = Site(tmp_path)
    member = site.member(Role.RENDERER, "screen")
    theirs = (
        "user root",
        "persistence true",
        f"persistence_location {tmp_path}/",
        f"log_dest file {tmp_path}/their.log",
    )
    authority.export(site.authority, site.installed)
    ours = tmp_path / "conf.d"
    ours.mkdir()
    (ours / "avatar.conf").write_text("\n".join(site.lines()))
    main = tmp_path / "mosquitto.conf"
    main.write_text("\n".join((*theirs, f"include_dir {ours}")) + "\n")

    with (tmp_path / "complaint").open("wb") as complaint:
        process = subprocess.Popen(["mosquitto", "-c", str(main)], stderr=complaint)
    try:
        Client(member).close()
    finally:
        process.terminate()
        process.wait(10)
    assert "Error" not in (tmp_path / "complaint").read_text()
    assert not (tmp_path / "mosquitto.db").exists()  # nothing is kept across a restart


def test_the_websocket_door_is_like_the_door_for_passwords() -> None:
    """Not every mosquitto has WebSocket; the settings are those of a door that is tested above."""
    doors = {
        name: [line for line in (SHIPPED / name).read_text().splitlines() if line and not line.startswith("#")]
        for name in ("avatar.conf", "avatar-websockets.conf")
    }
    start = doors["avatar.conf"].index("listener 8883")
    shared = {line for line in doors["avatar.conf"][start:][:6] if line.startswith(("tls", "cert", "key"))}

    assert shared == {line for line in doors["avatar-websockets.conf"] if line.startswith(("tls", "cert", "key"))}
    assert "protocol websockets" in doors["avatar-websockets.conf"]
    assert not any("anonymous" in line for line in doors["avatar-websockets.conf"])
