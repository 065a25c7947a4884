import dataclasses
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from brokers import Mosquitto, Reader, a_state, demo_broker, free_port, publisher, publishing, wait_until

from appliance.publish import wire
from appliance.publish.mqtt import KEPT_EVENTS, UNANSWERED_EVENTS
from appliance.publish.pace import FIRST_WINDOW
from appliance.values import Event, TrackingState

RATE_HZ = 60

VICTIM = """
import sys, time
sys.path.insert(0, sys.argv[1])
from brokers import a_state, publishing
with publishing(int(sys.argv[2])) as made:
    made.send(a_state())
    print("up", flush=True)
    time.sleep(60)
"""


def test_whoever_subscribes_later_learns_what_is(mosquitto: Mosquitto) -> None:
    with publishing(mosquitto.port) as made:
        made.send(a_state())
        made.health({"uptime_s": 1.0})
        early = Reader(mosquitto.port)
        assert wait_until(lambda: early.on("health") != [])
        early.close()

        late = Reader(mosquitto.port)

        assert wait_until(lambda: len(late.messages) == 4)
        late.close()
    assert {(message.topic.removeprefix("avatar/v1/lobby/orin-07/"), message.retain) for message in late.messages} == {
        ("availability", True),
        ("info", True),
        ("health", True),
        ("cam0/0/state", True),
    }


def test_closing_says_offline_and_no_will_follows(mosquitto: Mosquitto) -> None:
    reader = Reader(mosquitto.port)
    with publishing(mosquitto.port):
        assert wait_until(lambda: reader.last("availability") == b"online")

    assert wait_until(lambda: reader.last("availability") == b"offline")
    threading.Event().wait(3.0)  # longer than the will's delay
    reader.close()
    assert [message.payload for message in reader.on("availability")] == [b"online", b"offline"]


def killed_publisher(port: int) -> None:
    """Let a publisher come up in a process of its own, and end it as the kernel would."""
    here = str(Path(__file__).parent)
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, here, str(port)], stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "up\n"
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()


def test_the_broker_says_offline_two_seconds_after_a_kill(mosquitto: Mosquitto) -> None:
    reader = Reader(mosquitto.port)

    killed_publisher(mosquitto.port)
    killed_ns = time.monotonic_ns()

    assert wait_until(lambda: reader.last("availability") == b"offline")
    reader.close()
    will = reader.on("availability")[-1]
    assert (will.received_ns - killed_ns) / 1e9 > 1.0  # 2 s, by a broker whose clock ticks in seconds


def test_a_restart_within_the_delay_is_never_seen_as_offline(mosquitto: Mosquitto) -> None:
    reader = Reader(mosquitto.port)
    killed_publisher(mosquitto.port)

    with publishing(mosquitto.port):
        threading.Event().wait(3.0)
        assert {message.payload for message in reader.on("availability")} == {b"online"}
    reader.close()


def test_an_older_broker_says_offline_as_well() -> None:
    with demo_broker() as port:
        reader = Reader(port, protocol=4)
        killed_publisher(port)
        assert wait_until(lambda: reader.last("availability") == b"offline")
        reader.close()


def test_the_state_topic_speaks_on_change_alone(mosquitto: Mosquitto) -> None:
    reader = Reader(mosquitto.port)
    with publishing(mosquitto.port) as made:
        for number, state in enumerate([TrackingState.TRACKING] * 5 + [TrackingState.LOST] * 5):
            since_ns = 1_000 if state is TrackingState.TRACKING else 2_000
            made.send(a_state(sequence=number, state=state, since_ns=since_ns, confidence=number / 10))
            time.sleep(1 / RATE_HZ)
        assert wait_until(lambda: len(reader.on("cam0/0/state")) == 2)
    reader.close()
    assert [json.loads(message.payload)["state"] for message in reader.on("cam0/0/state")] == ["tracking", "lost"]


def test_faces_of_one_picture_do_not_drop_each_other(mosquitto: Mosquitto) -> None:
    reader = Reader(mosquitto.port)
    with publishing(mosquitto.port) as made:
        for number in range(20):
            sent = [made.send(a_state(sequence=number, slot=slot)) for slot in range(4)]
            assert all(sent)
            time.sleep(1 / RATE_HZ)
        assert wait_until(lambda: len(reader.on("cam0/3/frame")) == 20)
    reader.close()


def test_a_broker_that_comes_back_learns_everything_again(mosquitto: Mosquitto) -> None:
    with publishing(mosquitto.port) as made:
        for slot in (0, 1):
            made.send(a_state(slot=slot))
        mosquitto.stop()
        assert wait_until(lambda: not made.status().connected)
        changed = a_state(state=TrackingState.LOST, since_ns=5_000)
        assert not made.send(changed)
        assert not made.health({"uptime_s": 1.0})
        mosquitto.start()
        assert wait_until(lambda: made.status().connections == 2)

        reader = Reader(mosquitto.port)  # nothing is retained across the restart: all of it was published anew

        assert wait_until(lambda: len(reader.messages) == 4)
        assert reader.last("availability") == b"online"
        assert reader.on("info") != []
        assert json.loads(reader.last("cam0/0/state") or b"{}")["state"] == "lost"
        assert json.loads(reader.last("cam0/1/state") or b"{}")["state"] == "tracking"
        assert reader.on("cam0/0/frame") == []
        reader.close()


def test_the_newest_events_wait_for_a_broker(tmp_path: Path) -> None:
    port = free_port()
    made = publisher(port)
    made.start()
    for number in range(3 * KEPT_EVENTS):
        made.event(Event("face_found", {"number": number}))

    broker = Mosquitto(tmp_path, port=port)
    reader = Reader(port)

    def numbers() -> list[int]:
        made.health({})
        return [json.loads(message.payload)["number"] for message in reader.on("event")]

    assert wait_until(lambda: len(numbers()) == KEPT_EVENTS)
    assert numbers() == list(range(2 * KEPT_EVENTS, 3 * KEPT_EVENTS))
    reader.close()
    made.close()
    broker.stop()


def test_a_broker_that_stops_reading_costs_frames_and_neither_memory_nor_the_loop(mosquitto: Mosquitto) -> None:
    reader = Reader(mosquitto.port)
    with publishing(mosquitto.port) as made:
        stream(made, 0.5)

        mosquitto.pause()
        stream(made, 1.0)
        started = time.monotonic()
        for number in range(300):
            assert not made.send(a_state(sequence=number))
            made.event(Event("face_found", {"number": number}))
            made.health({"uptime_s": float(number)})
        stalled_s = time.monotonic() - started
        stream(made, 1.5)
        mosquitto.resume()
        resumed_ns = time.monotonic_ns()
        assert wait_until(lambda: made.send(a_state()), 3.0)
        stream(made, 1.0)

        assert stalled_s < 1.0
        assert wait_until(lambda: len(reader.on("event")) > 0)
    reader.close()
    frames = [(message.received_ns, wire.decode(message.payload).captured_ns) for message in reader.on("cam0/0/frame")]
    late = [received for received, captured in frames if received - captured > 1e9]
    # What a broker had taken in when it froze cannot be called back: less than a window, gone at once.
    assert len(late) <= FIRST_WINDOW
    assert all(received < resumed_ns + 1e9 for received in late)
    assert len(reader.on("health")) < 10
    assert len(reader.on("event")) <= 2 * KEPT_EVENTS + UNANSWERED_EVENTS


def test_a_burst_to_a_broker_that_stopped_reading_does_not_pile_up(mosquitto: Mosquitto) -> None:
    with publishing(mosquitto.port) as made:
        mosquitto.pause()
        state = a_state()

        accepted = sum([made.send(state) for _ in range(2000)])

        assert accepted <= FIRST_WINDOW
        mosquitto.resume()


def stream(made: object, seconds: float) -> None:
    send = made.send
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        send(a_state())
        time.sleep(1 / RATE_HZ)


def test_closing_does_not_wait_for_a_broker_that_stopped_reading(mosquitto: Mosquitto) -> None:
    made = publisher(mosquitto.port)
    made.start()
    assert wait_until(lambda: made.status().connected)
    mosquitto.pause()

    started = time.monotonic()
    made.close()

    assert time.monotonic() - started < 5.0
    assert not any(thread.name == "mqtt-connection" for thread in threading.enumerate())


def test_a_frame_with_a_number_that_is_none_is_mended_counted_and_said_once(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    state = a_state()
    broken = dataclasses.replace(state, blendshapes=np.full(52, np.nan, np.float32))
    with publishing(mosquitto.port) as made:
        for number in range(3):
            assert wait_until(lambda number=number: made.send(dataclasses.replace(broken, sequence=number)))

        assert made.status().mended == 3
    assert caplog.text.count("not finite") == 1


def test_a_refused_topic_is_said(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic read avatar/#\n")
    rules.chmod(0o600)
    broker = Mosquitto(tmp_path, ("allow_anonymous true", f"acl_file {rules}"))

    with publishing(broker.port) as made:
        assert wait_until(lambda: "see its ACL" in made.status().problem)
    broker.stop()
