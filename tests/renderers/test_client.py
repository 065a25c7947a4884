"""The client library against a real broker and a real publisher."""

import time

import pytest
from brokers import a_state, free_port, publishing, wait_until

from appliance.errors import BrokerError
from appliance.publish.wire import WireFrame
from appliance.renderers.client import Client
from appliance.settings import Broker
from appliance.values import TrackingState

NAME = "lobby/orin-07/cam0/0"
WAIT_S = 10.0


def ready(client: Client) -> None:
    """The client is connected; its subscription is with the broker before anything sent later."""
    assert wait_until(lambda: client._connection.status().connected)
    time.sleep(0.1)


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "packed"])
def test_frames_come_typed_and_by_name(port: int, binary: bool) -> None:
    heard: list[tuple[str, WireFrame]] = []
    with (
        Client(f"mqtt://127.0.0.1:{port}", binary=binary, heard=lambda *frame: heard.append(frame)) as client,
        publishing(port, frame_bin=True) as made,
    ):
        ready(client)
        for sequence in (1, 2, 3):
            made.send(a_state(sequence=sequence))
        avatar = client.first(timeout_s=WAIT_S)
        assert wait_until(lambda: len(heard) == 3)
        shown = avatar.now()

    assert [(name, frame.sequence) for name, frame in heard] == [(NAME, 1), (NAME, 2), (NAME, 3)]
    assert avatar.name == NAME
    assert shown is not None
    assert not shown.stale
    assert shown.frame.state is TrackingState.TRACKING
    assert shown.frame.head.position_m == pytest.approx((0.01, -0.02, -0.62))


def test_a_device_that_goes_is_said_to_be_offline(port: int) -> None:
    with Client(Broker(url=f"mqtt://127.0.0.1:{port}")) as client:
        ready(client)
        with publishing(port) as made:
            made.send(a_state())
            avatar = client.first(timeout_s=WAIT_S)
            assert wait_until(lambda: avatar.online is True)
        assert wait_until(lambda: avatar.online is False)


def test_one_avatar_of_several_is_asked_for(port: int) -> None:
    with Client(f"mqtt://127.0.0.1:{port}", avatar="lobby/+/cam1/0") as client, publishing(port) as made:
        ready(client)
        for stream in ("cam0", "cam1"):
            made.send(a_state(stream=stream))
        client.first(timeout_s=WAIT_S)

        assert list(client.avatars) == ["lobby/orin-07/cam1/0"]


def test_what_is_no_frame_is_passed_over() -> None:
    client = Client()
    for leaf, payload in (
        (f"{NAME}/frame", b"{}"),
        (f"{NAME}/frame", b"\xff"),
        ("lobby/orin-07/availability", b"\xff"),
    ):
        client._hear(f"avatar/v1/{leaf}", payload)

    assert client.avatars == {}


def test_no_avatar_is_an_error_that_says_why(port: int) -> None:
    with (
        Client(f"mqtt://127.0.0.1:{port}", avatar="nowhere/+/+/+") as client,
        pytest.raises(BrokerError, match="no av"),
    ):
        client.first(timeout_s=0.5)
    url = f"mqtt://127.0.0.1:{free_port()}"
    with Client(url) as client, pytest.raises(BrokerError, match=f"{url} cannot be reached"):
        client.first(timeout_s=1.0)


@pytest.mark.parametrize("name", ["", "lobby", "lobby/orin-07/cam0", "a//b/0", "a/b/c/0/frame"])
def test_an_avatar_has_four_parts(name: str) -> None:
    with pytest.raises(ValueError, match="SITE/DEVICE/STREAM/SLOT"):
        Client(avatar=name)
