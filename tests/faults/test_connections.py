"""What a broker that comes and goes leaves behind in the daemon."""

import gc
import os
from collections.abc import Iterator

import pytest
from brokers import Mosquitto, publisher, wait_until

from tests.soak.observing import open_kinds

RESTARTS = 5


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Python does not look for circles, as it may not for hours in a daemon that makes few objects."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def sockets() -> int:
    return open_kinds(os.getpid())["socket"]


@pytest.mark.usefixtures("uncollected")
def test_no_socket_stays_open_of_a_connection_that_ended(mosquitto: Mosquitto) -> None:
    made = publisher(mosquitto.port)
    made.start()
    assert wait_until(lambda: made.status().connected)
    before = sockets()

    for number in range(1, RESTARTS + 1):
        mosquitto.stop()
        assert wait_until(lambda: not made.status().connected)
        mosquitto.start()
        assert wait_until(lambda: made.status().connected)
        assert made.status().connections == number + 1

    after = sockets()
    made.close()
    assert after == before
