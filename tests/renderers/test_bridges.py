"""``appliance bridge``: real processes between a real broker and real sockets."""

import argparse
import asyncio
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import a_state, wait_until
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import ThreadingOSCUDPServer

from appliance.commands import bridge
from appliance.errors import ApplianceError
from appliance.publish.mqtt import AvatarPublisher
from appliance.renderers.bridges import ifacialmocap
from appliance.renderers.bridges.ifacialmocap import HELLO, VERSION_2
from appliance.renderers.bridges.pump import Datagrams
from appliance.settings import Settings
from appliance.values import TrackingState

from .conftest import WAIT_S, Command
from .receivers import a_frame, read_ifacialmocap, read_livelink, read_osc


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(0.05)
        yield made


def address(receiver: socket.socket) -> str:
    return f"127.0.0.1:{receiver.getsockname()[1]}"


def next_packet(device: AvatarPublisher, receiver: socket.socket, sequence: int = 1, **state: object) -> bytes:
    """Publish until a packet comes: the bridge may not have subscribed yet."""
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        device.send(a_state(sequence=sequence, **state))
        try:
            return receiver.recv(65536)
        except TimeoutError:
            sequence += 1
    raise AssertionError("no packet came")


def drain(receiver: socket.socket, seconds: float) -> list[bytes]:
    packets, end_s = [], time.monotonic() + seconds
    while time.monotonic() < end_s:
        try:
            packets.append(receiver.recv(65536))
        except TimeoutError:
            continue
    return packets


def test_vmc_is_heard_by_a_real_osc_server(port: int, device: AvatarPublisher) -> None:
    heard: dict[str, float] = {}
    applied = threading.Event()
    dispatcher = Dispatcher()
    dispatcher.map("/VMC/Ext/Blend/Val", lambda _, name, value: heard.update({name: value}))
    dispatcher.map("/VMC/Ext/Blend/Apply", lambda *_: applied.set())
    server = ThreadingOSCUDPServer(("127.0.0.1", 0), dispatcher)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    running = Command(port, "bridge", "vmc", "--to", f"127.0.0.1:{server.server_address[1]}", "--names", "arkit")
    state = a_state()

    def sent() -> bool:
        device.send(state)
        return applied.wait(0.1) and len(heard) == 52

    assert wait_until(sent, WAIT_S)
    status, out, errors = running.end()
    server.shutdown()
    server.server_close()

    assert (status, errors) == (0, "")
    assert out == "bridging lobby/orin-07/cam0/0\n"
    assert heard["jawOpen"] == pytest.approx(float(state.blendshapes[24]), abs=0.006)


def test_live_link_frames_follow_one_another(port: int, device: AvatarPublisher, receiver: socket.socket) -> None:
    running = Command(port, "bridge", "livelink", "--to", address(receiver), "--subject", "Visitor")

    packet = read_livelink(next_packet(device, receiver))
    drain(receiver, 0.3)
    for n in range(5):
        device.send(a_state(sequence=100 + n))
        time.sleep(0.02)
    packets = drain(receiver, 0.5)
    status, _, errors = running.end(signal.SIGINT)

    assert (status, errors) == (0, "")
    assert packet["subject"] == "Visitor"
    assert len(packets) == 5


def test_frames_are_mixed_to_the_rate_that_is_asked_for(
    port: int, device: AvatarPublisher, receiver: socket.socket
) -> None:
    running = Command(port, "bridge", "livelink", "--to", address(receiver), "--fps", "120")
    next_packet(device, receiver)
    drain(receiver, 0.2)
    for n in range(30):
        device.send(a_state(sequence=100 + n))
        time.sleep(1 / 30)
    packets = drain(receiver, 0.2)
    running.end()

    moments = [read_livelink(packet)["frame"] + read_livelink(packet)["fraction"] for packet in packets]
    assert len(packets) > 30
    assert moments == sorted(moments)
    assert len(set(moments)) > 25  # between frames, too


def test_nothing_is_sent_while_nobody_is_there_where_that_is_asked_for(
    port: int, device: AvatarPublisher, receiver: socket.socket
) -> None:
    running = Command(port, "bridge", "vmc", "--to", address(receiver), "--stop-when-lost")
    next_packet(device, receiver)
    drain(receiver, 0.2)
    for _ in range(40):
        device.send(a_state(state=TrackingState.LOST))
        time.sleep(0.05)
    packets = drain(receiver, 0.2)
    running.end()

    said = [message for packet in packets for message in read_osc(packet)]
    untracked = [values for name, values in said if name == "/VMC/Ext/OK"]
    assert [1, 3, 0, 0] in untracked  # while the face comes to rest
    assert untracked[-1] == [0, 0, 0, 0]  # then that nothing is sent
    assert sum(name == "/VMC/Ext/Blend/Apply" for name, _ in said) < 20


def test_a_device_that_goes_silent_is_told_in_vmc(port: int, device: AvatarPublisher, receiver: socket.socket) -> None:
    running = Command(port, "bridge", "vmc", "--to", address(receiver))
    next_packet(device, receiver)
    drain(receiver, 0.1)

    packets = drain(receiver, 1.4)
    running.end()

    assert read_osc(packets[-1]) == [("/VMC/Ext/OK", [0, 0, 0, 0])]


def test_the_first_avatar_is_kept_to_and_another_taken_when_it_is_silent(
    port: int, device: AvatarPublisher, receiver: socket.socket
) -> None:
    running = Command(port, "bridge", "livelink", "--to", address(receiver))
    next_packet(device, receiver, stream="cam0")
    drain(receiver, 0.2)
    device.send(a_state(stream="cam1"))
    other = drain(receiver, 0.3)
    next_packet(device, receiver, stream="cam1")
    _, out, _ = running.end()

    assert other == []
    assert out.splitlines() == ["bridging lobby/orin-07/cam0/0", "bridging lobby/orin-07/cam1/0"]


def test_ifacialmocap_s_frames_go_to_whoever_greets_in_the_version_asked_for(
    port: int, device: AvatarPublisher, receiver: socket.socket
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        phone = free.getsockname()[1]
    # The host asked for at first is another; the port is the receiver's, as 49983 is on real ones.
    to = f"127.0.0.2:{receiver.getsockname()[1]}"
    running = Command(port, "bridge", "ifacialmocap", "--to", to, "--listen", str(phone))

    def greeted() -> bool:
        receiver.sendto(HELLO + VERSION_2, ("127.0.0.1", phone))
        device.send(a_state())
        return bool(drain(receiver, 0.1))

    assert wait_until(greeted, WAIT_S)
    second = next_packet(device, receiver)
    receiver.sendto(HELLO, ("127.0.0.1", phone))
    drain(receiver, 0.1)
    device.send(a_state())
    first = drain(receiver, 0.3)[-1]
    status, _, errors = running.end()

    assert (status, errors) == (0, "")
    assert b"jawOpen&" in second
    assert b"jawOpen-" in first
    assert read_ifacialmocap(second)[0] == read_ifacialmocap(first)[0]


@pytest.mark.parametrize("unasked", [False, True])
def test_the_pretended_phone_may_wait_to_be_greeted(receiver: socket.socket, unasked: bool) -> None:
    speaker = ifacialmocap.IFacialMocap()
    phone = ifacialmocap.Phone(speaker, Datagrams(speaker, *receiver.getsockname()), 0, unasked)

    asyncio.run(phone.show(a_frame()))
    before = drain(receiver, 0.1)
    receiver.sendto(b"who are you", ("127.0.0.1", phone.port))
    receiver.sendto(HELLO, ("127.0.0.1", phone.port))
    asyncio.run(phone.show(a_frame()))
    after = drain(receiver, 0.1)
    phone.close()

    assert (len(before), len(after)) == (int(unasked), 1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["vmc", "--to", "nowhere.invalid"], "cannot send to nowhere.invalid port 39539"),
        (["vmc", "--to", "host:0"], "--to must be HOST or HOST:PORT"),
        (["vmc", "--avatar", "cam0"], "--avatar must be SITE/DEVICE/STREAM/SLOT"),
        (["vmc", "--fps", "-1"], "--fps must be between 0 and 240"),
        (["vmc", "--subject", "Visitor"], "--subject is an option of livelink, not of vmc"),
        (["livelink", "--token-file", "x"], "--token-file is an option of vtubestudio, not of livelink"),
    ],
)
def test_what_cannot_be_bridged_names_the_cure(words: list[str], says: str) -> None:
    parser = argparse.ArgumentParser()
    bridge.configure(parser)

    with pytest.raises(ApplianceError, match=says):
        bridge.run(parser.parse_args(words), Settings())


def test_a_taken_port_to_listen_on_is_said(receiver: socket.socket, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 0))
        port = taken.getsockname()[1]
        parser = argparse.ArgumentParser()
        bridge.configure(parser)

        with pytest.raises(ApplianceError, match=f"cannot listen on UDP port {port}"):
            bridge.run(parser.parse_args(["ifacialmocap", "--listen", str(port)]), Settings())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", ("host", 5)),
        ("host:70", ("host", 70)),
        ("::1", ("::1", 5)),
        ("[::1]:70", ("::1", 70)),
        ("10.0.0.1:49983", ("10.0.0.1", 49983)),
    ],
)
def test_an_address_may_have_a_port(text: str, expected: tuple[str, int]) -> None:
    assert bridge._address(text, 5) == expected
