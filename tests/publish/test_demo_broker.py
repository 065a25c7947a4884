import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import paho.mqtt.client as paho
from brokers import WAIT_S, Reader, demo_broker, is_listening, wait_until
from paho.mqtt.enums import CallbackAPIVersion

PARENT = """
import subprocess, sys, time
broker = subprocess.Popen([sys.executable, "-m", "appliance.demo.broker"], stdout=subprocess.PIPE, text=True)
print(broker.pid, broker.stdout.readline(), flush=True)
time.sleep(60)
"""


def test_retained_messages_and_frames_arrive() -> None:
    with demo_broker() as port:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", port)
        client.loop_start()
        client.publish("avatar/v1/a/b/availability", b"online", 1, True).wait_for_publish(WAIT_S)

        reader = Reader(port, protocol=4)
        for number in range(120):
            client.publish("avatar/v1/a/b/cam0/0/frame", b"%d" % number + b"x" * 1300)

        assert wait_until(lambda: len(reader.messages) == 121)
        assert {message.topic for message in reader.messages if message.retain} == {"avatar/v1/a/b/availability"}
        assert not any(message.topic.startswith("$SYS") for message in reader.messages)
        reader.close()
        client.disconnect()
        client.loop_stop()


def test_a_newcomer_gets_what_it_asked_for_and_not_what_others_did() -> None:
    with demo_broker() as port:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", port)
        client.loop_start()
        client.publish("avatar/v1/a/b/availability", b"online", 1, True).wait_for_publish(WAIT_S)
        everything = Reader(port, protocol=4)

        newcomer = Reader(port, protocol=4, topics="avatar/v1/+/+/+/+/frame")
        client.publish("avatar/v1/a/b/cam0/0/frame", b"{}").wait_for_publish(WAIT_S)

        assert wait_until(lambda: bool(newcomer.messages) and len(everything.messages) == 2)
        assert [message.topic for message in newcomer.messages] == ["avatar/v1/a/b/cam0/0/frame"]
        for reader in (everything, newcomer):
            reader.close()
        client.disconnect()
        client.loop_stop()


def test_what_is_no_mqtt_is_hung_up_on_and_others_are_served() -> None:
    with demo_broker() as port:
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            stranger.settimeout(WAIT_S)
            assert stranger.recv(100) in (b"", b"\x20\x02\x00\x01")
        Reader(port, protocol=4).close()


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with demo_broker() as port:
        second = subprocess.run(
            [sys.executable, "-m", "appliance.demo.broker", "--port", str(port)],
            capture_output=True, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
    assert second.returncode == 1
    assert second.stderr.strip().splitlines() == [
        f"the demonstration's broker cannot listen on 127.0.0.1:{port}: Address already in use"
    ]


def test_it_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert parent.stdout is not None
    pid, port = map(int, parent.stdout.readline().split())
    assert is_listening(port)

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    assert wait_until(lambda: not is_listening(port))
    assert pid > 0


def test_sigterm_ends_it_though_clients_are_connected() -> None:
    process = subprocess.Popen([sys.executable, "-m", "appliance.demo.broker"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    reader = Reader(int(process.stdout.readline()), protocol=4)

    process.terminate()

    assert process.wait(WAIT_S) == 0
    reader.close()
    process.stdout.close()
