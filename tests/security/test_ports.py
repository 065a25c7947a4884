"""Who can be reached from where."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from brokers import Mosquitto, wait_until

from .conftest import ENDS_S, Watched
from .looking import Socket, sockets


def test_the_daemon_listens_nowhere(watched: Watched) -> None:
    assert [socket for socket in watched.sockets if socket.listens] == []


def test_the_daemon_talks_to_its_broker_alone(watched: Watched) -> None:
    own = {socket.local for socket in watched.sockets}  # paho wakes its thread through a connection with itself
    assert {socket.remote_port for socket in watched.sockets if socket.remote not in own} == {watched.broker_port}


@contextmanager
def listening(*words: str) -> Iterator[set[Socket]]:
    """What a program of ours listens on once it does."""
    with subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL) as process:
        try:
            assert wait_until(lambda: any(socket.listens for socket in sockets(process.pid)), 30)
            yield {socket for socket in sockets(process.pid) if socket.listens}
        finally:
            process.terminate()
            process.wait(ENDS_S)


@pytest.mark.parametrize(
    ("words", "local"),
    [
        (("appliance", "viewer", "--port", "0"), True),
        (("appliance", "viewer", "--port", "0", "--host", "0.0.0.0"), False),
        (("appliance.demo.broker", "--port", "0"), True),
    ],
    ids=["viewer", "viewer that was asked", "the demonstration's broker"],
)
def test_what_serves_serves_this_machine_unless_it_was_asked(
    words: Sequence[str], local: bool, mosquitto: Mosquitto
) -> None:
    broker = ["--set", f"broker.url=mqtt://127.0.0.1:{mosquitto.port}"] if words[0] == "appliance" else []

    with listening(*words, *broker) as found:
        assert {socket.on_loopback for socket in found} == {local}
