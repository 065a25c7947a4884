"""Bad brokers, networks and neighbours, in short; ``stress.py`` is the long run."""

import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from brokers import ROOT, Mosquitto, Reader, a_state, free_port, publisher, publishing, wait_until
from storms import GROWTH_MB, LATE_S, RECOVERY_S, Found, cuts, restarts

from appliance.publish import wire
from appliance.publish.credentials import read_credentials
from appliance.publish.mqtt import AvatarPublisher
from appliance.settings import Broker

RATE_HZ = 60
BUSY_SEND_MS = 50.0  # of one send in a hundred; a blocked one would take seconds. Other tests may have the processor


def check(found: Found, times: int) -> None:
    assert len(found.recoveries_s) == times
    assert found.problems() == []
    assert found.frames > times


def test_a_broker_that_is_killed_and_comes_back_is_served_again(tmp_path: Path) -> None:
    check(restarts(tmp_path, 2), 2)


def test_a_network_that_was_silent_carries_new_frames_alone(tmp_path: Path) -> None:
    check(cuts(tmp_path, 2), 2)


def test_what_is_found_wrong_is_said() -> None:
    found = Found([RECOVERY_S + 1], GROWTH_MB + 1, late=1, disordered=1)

    assert len(found.problems()) == 4


def stream(made: AvatarPublisher, seconds: float) -> list[float]:
    """Send 60 states a second; return how long each took, in milliseconds."""
    took_ms, end_s, number = [], time.monotonic() + seconds, 0
    while time.monotonic() < end_s:
        number += 1
        before_s = time.perf_counter()
        made.send(a_state(sequence=number))
        took_ms.append((time.perf_counter() - before_s) * 1e3)
        time.sleep(1 / RATE_HZ)
    return took_ms


def late_and_disordered(reader: Reader) -> tuple[int, int]:
    frames = [(message.received_ns, wire.decode(message.payload).captured_ns) for message in reader.on("cam0/0/frame")]
    captured = [captured_ns for _, captured_ns in frames]
    late = sum(received_ns - captured_ns > LATE_S * 1e9 for received_ns, captured_ns in frames)
    return late, sum(after <= before for before, after in pairwise(captured))


@contextmanager
def narrow(target: int, bytes_per_s: int) -> Iterator[int]:
    """A way to a broker that lets through so much a second towards it; yields its port."""
    server = socket.create_server(("127.0.0.1", 0))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def trickle(source: socket.socket, sink: socket.socket) -> None:
        step = bytes_per_s // 50
        with suppress(OSError):
            while data := source.recv(step):
                sink.sendall(data)
                time.sleep(len(data) / bytes_per_s)
        for end in (source, sink):
            with suppress(OSError):
                end.close()

    def back(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def serve() -> None:
        with suppress(OSError):
            while True:
                inward, _ = server.accept()
                outward = socket.create_connection(("127.0.0.1", target))
                threading.Thread(target=trickle, args=(inward, outward), daemon=True).start()
                threading.Thread(target=back, args=(outward, inward), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield int(server.getsockname()[1])
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def test_a_slow_way_to_the_broker_costs_frames_and_delays_none_by_a_second(mosquitto: Mosquitto) -> None:
    reader = Reader(mosquitto.port)
    with narrow(mosquitto.port, 40_000) as port, publishing(port) as made:
        took_ms = stream(made, 4.0)
        assert made.status().dropped > 0
    arrived = len(reader.on("cam0/0/frame"))
    reader.close()

    assert arrived > 20  # of 240; the way lets through about 90
    assert late_and_disordered(reader) == (0, 0)
    assert sorted(took_ms)[-len(took_ms) // 100] < BUSY_SEND_MS


def test_a_flapping_broker_costs_frames_and_no_order(mosquitto: Mosquitto) -> None:
    rng, reader = random.Random(3), Reader(mosquitto.port)
    made = publisher(mosquitto.port)
    made.start()
    for _ in range(4):
        mosquitto.kill()
        stream(made, 0.05)
        mosquitto.start()
        stream(made, rng.uniform(0.1, 0.6))
    assert wait_until(lambda: made.status().connected, RECOVERY_S)
    assert wait_until(lambda: made.send(a_state()), RECOVERY_S)
    made.close()
    reader.close()

    assert late_and_disordered(reader) == (0, 0)


def test_a_full_broker_is_said_and_served_when_there_is_room(tmp_path: Path) -> None:
    port = free_port()
    limits = (f"listener {port} 127.0.0.1", "max_connections 3", "user root", "allow_anonymous true")
    broker = Mosquitto(tmp_path, (), port, own=limits)
    occupants = [seated(port, number) for number in range(8)]  # more than there is room for
    made = publisher(port)
    made.start()
    assert wait_until(lambda: "hung up" in made.status().problem or "reset" in made.status().problem)
    assert not made.send(a_state())

    for occupant in occupants:
        occupant.close()

    assert wait_until(lambda: made.status().connected, 2 * RECOVERY_S)
    made.close()
    broker.stop()


def seated(port: int, number: int, topic: bytes = b"") -> socket.socket:
    """Somebody who connects, subscribes where a topic is named, and says and reads no more."""
    taken = socket.create_connection(("127.0.0.1", port))
    with suppress(ConnectionError):
        taken.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04" + b"s%03d" % number)
        if topic:
            filters = b"\x00" + bytes((len(topic),)) + topic + b"\x00"
            taken.sendall(b"\x82" + bytes((len(filters) + 2,)) + b"\x00\x01" + filters)
    return taken


def test_a_renderer_that_never_reads_costs_neither_the_broker_nor_the_others(mosquitto: Mosquitto) -> None:
    asleep = seated(mosquitto.port, 0, b"avatar/#")
    asleep.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader = Reader(mosquitto.port)
    with publishing(mosquitto.port) as made:
        before_mb = resident_mb(mosquitto)
        stream(made, 2.0)
        assert len(reader.on("cam0/0/frame")) > 0.8 * made.status().sent
    reader.close()
    sent_mb = flood(mosquitto.port)

    assert late_and_disordered(reader) == (0, 0)
    assert resident_mb(mosquitto) - before_mb < sent_mb / 3
    asleep.close()


def flood(port: int) -> float:
    """Publish as fast as the broker reads, half a minute of eight faces; return how much that was."""
    writer, topic = seated(port, 1), f"{ROOT}/cam1/0/frame".encode()
    body = bytes((0, len(topic))) + topic + bytes(1700)
    packet = b"\x30" + bytes((len(body) & 127 | 128, len(body) >> 7)) + body
    for _ in range(8000):
        writer.sendall(packet)
    writer.sendall(b"\xc0\x00")
    while writer.recv(4096)[-2:] != b"\xd0\x00":  # its answer to a ping: it has read everything
        continue
    writer.close()
    return 8000 * len(packet) / 2**20


def resident_mb(broker: Mosquitto) -> float:
    return int(Path(f"/proc/{broker.process.pid}/statm").read_text().split()[1]) * 4096 / 2**20


@pytest.mark.parametrize("step_s", [315_360_000, -315_360_000])
def test_a_wall_clock_that_steps_by_ten_years_is_in_the_next_frame_and_state(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    reader = Reader(mosquitto.port)
    true_ns = time.time_ns
    with publishing(mosquitto.port) as made:
        made.send(a_state(sequence=1))
        monkeypatch.setattr(time, "time_ns", lambda: true_ns() + step_s * 10**9)
        assert wait_until(lambda: made.send(a_state(sequence=2)) and len(reader.on("cam0/0/state")) == 2)
        assert made.status().connections == 1
        assert wait_until(lambda: len(reader.on("cam0/0/frame")) == made.status().sent)
    reader.close()
    frames = [wire.decode(message.payload) for message in reader.on("cam0/0/frame")]
    states = [json.loads(message.payload)["since_utc_ns"] for message in reader.on("cam0/0/state")]
    assert frames[-1].captured_utc_ns - frames[0].captured_utc_ns == pytest.approx(step_s * 1e9, abs=60e9)
    assert states[1] - states[0] == pytest.approx(step_s * 1e9, abs=60e9)
    assert frames[-1].captured_ns > frames[0].captured_ns


def test_a_hundred_renderers_hear_every_frame(mosquitto: Mosquitto) -> None:
    streams = [bytearray() for _ in range(100)]
    topic = f"{ROOT}/cam0/0/frame".encode()
    renderers = [seated(mosquitto.port, number, topic) for number in range(100)]
    time.sleep(0.5)
    with publishing(mosquitto.port) as made:
        for number in range(60):
            assert wait_until(lambda number=number: made.send(a_state(sequence=number)))
            time.sleep(1 / 30)

    def all_heard() -> bool:
        for number, renderer in enumerate(renderers):
            with suppress(BlockingIOError):
                renderer.setblocking(False)
                while data := renderer.recv(1 << 20):
                    streams[number] += data
        return all(stream.count(b'{"v":1,"seq":') == 60 for stream in streams)

    assert wait_until(all_heard)
    for renderer in renderers:
        renderer.close()


def test_encryption_is_never_less_than_the_settings_say(tmp_path: Path) -> None:
    made = read_credentials(Broker(url="mqtts://127.0.0.1:8883")).tls
    assert made is not None
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.check_hostname
