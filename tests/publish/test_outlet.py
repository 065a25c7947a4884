"""What the outlet tells of visitors, and how it counts."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from brokers import Mosquitto, Reader, a_state, publisher, wait_until

from appliance.publish.meters import FrameMeters
from appliance.publish.outlet import Outlet
from appliance.publish.wire import decode_json
from appliance.values import Speech, TrackingState, Voice


@pytest.fixture
def reader(mosquitto: Mosquitto) -> Iterator[Reader]:
    reading = Reader(mosquitto.port)
    yield reading
    reading.close()


def test_visitors_come_go_and_change_places_as_events(mosquitto: Mosquitto, reader: Reader) -> None:
    made = publisher(mosquitto.port)
    made.start()
    assert wait_until(lambda: made.status().connected)
    outlet = Outlet(made, FrameMeters(time.monotonic_ns), time.monotonic_ns())
    visits = [
        ("", TrackingState.ABSENT),
        ("one", TrackingState.ACQUIRING),
        ("one", TrackingState.TRACKING),
        ("two", TrackingState.ACQUIRING),  # a stranger in the same place
        ("two", TrackingState.LOST),
        ("two", TrackingState.TRACKING),
        ("", TrackingState.ABSENT),
    ]

    for session, state in visits:
        outlet.send(replace(a_state(), session=session, state=state, captured_ns=time.monotonic_ns()))
    assert wait_until(lambda: len(reader.on("event")) >= 6)
    made.close()

    told = [decode_json(message.payload) for message in reader.on("event")]
    assert [(event["event"], event["session"]) for event in told] == [
        ("face_found", "one"),
        ("face_lost", "one"),
        ("face_found", "two"),
        ("face_lost", "two"),
        ("face_found", "two"),
        ("face_lost", "two"),
    ]


def test_the_first_frame_that_left_is_timed(mosquitto: Mosquitto) -> None:
    made = publisher(mosquitto.port)
    meters = FrameMeters(time.monotonic_ns)
    outlet = Outlet(made, meters, time.monotonic_ns())
    refused = outlet.send(a_state())
    before = outlet.first_frame_s()
    made.start()
    assert wait_until(lambda: made.status().connected)

    sent = outlet.send(replace(a_state(), captured_ns=time.monotonic_ns()))
    first_s = outlet.first_frame_s()
    made.close()

    assert (refused, before, sent) == (False, None, True)
    assert first_s is not None
    assert 0 < first_s < 30
    assert "total" in meters.stages()


def test_a_frame_says_how_long_ago_the_sound_was_heard_that_shapes_its_mouth(
    mosquitto: Mosquitto, reader: Reader
) -> None:
    made = publisher(mosquitto.port)
    made.start()
    assert wait_until(lambda: made.status().connected)
    outlet, now_ns = Outlet(made, FrameMeters(time.monotonic_ns), 0), time.monotonic_ns()
    speech = Speech(now_ns - 70_000_000, now_ns - 50_000_000, np.eye(15, dtype=np.float32), np.zeros(15, np.float32))
    voice = Voice("mic0", now_ns - 10_000_000, speech=speech)

    seen = replace(a_state(), captured_ns=now_ns - 5_000_000, latency_ms={"capture": 1.2})
    outlet.send(seen)
    outlet.send(replace(seen, voice=voice))
    assert wait_until(lambda: len(reader.on("cam0/0/frame")) >= 2)
    made.close()

    camera, spoken = (decode_json(message.payload)["latency_ms"] for message in reader.on("cam0/0/frame"))
    assert "sound" not in camera
    assert spoken["sound"] - spoken["total"] == pytest.approx(65, abs=0.11)  # a tenth is the last digit of both
