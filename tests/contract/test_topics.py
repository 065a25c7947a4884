"""What renderers and fleets rely on, seen from a broker: topics, retain, QoS, expiry, payloads."""

import hashlib
import json
from typing import Any

import jsonschema
import pytest
from brokers import HEALTH, INFO, ROOT, Message, Mosquitto, Reader, a_state, older, publishing, wait_until

from appliance.avatar.channels import BLENDSHAPES, MOODS, VISEMES
from appliance.publish import wire
from appliance.values import Event, TrackingState

# topic below the root: retained, QoS, expiry in seconds with MQTT 5
PROMISES: dict[str, tuple[bool, int, int | None]] = {
    "availability": (True, 1, None),
    "info": (True, 1, None),
    "health": (True, 1, None),
    "event": (False, 1, None),
    "cam0/0/state": (True, 1, None),
    "cam0/0/frame": (False, 0, 1),
    "mic0/0/state": (True, 1, None),
    "mic0/0/frame": (False, 0, 1),
}


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(wire.schema(name))


def value_of(message: Message) -> Any:
    return message.payload.decode() if message.topic.endswith("availability") else json.loads(message.payload)


def hear_everything(port: int, protocol: int) -> dict[str, tuple[Message, bool]]:
    """Publish one of everything; return each topic's message, and whether a late subscriber had it too."""
    live = Reader(port, protocol)
    with publishing(port) as made:
        made.send(a_state())
        made.send(a_state(stream="mic0", state=TrackingState.VOICE, session="", confidence=0.0))
        made.event(Event("face_found", {"stream": "cam0", "slot": 0, "confidence": 0.9}))
        made.health(HEALTH)
        assert wait_until(lambda: len({message.topic for message in live.messages}) == len(PROMISES))
        late = Reader(port, protocol)
        kept = sum(retained for retained, _, _ in PROMISES.values())
        assert wait_until(lambda: len(late.messages) == kept)
        retained = {message.topic for message in late.messages if message.retain}
        late.close()
    live.close()
    return {
        message.topic.removeprefix(f"{ROOT}/"): (message, message.topic in retained)
        for message in reversed(live.messages)
    }


def check(heard: dict[str, tuple[Message, bool]], expiry: bool) -> None:
    assert heard.keys() == PROMISES.keys()
    for topic, (message, retained) in heard.items():
        promised_retained, qos, expiry_s = PROMISES[topic]
        assert (topic, retained, message.qos) == (topic, promised_retained, qos)
        assert message.expiry_s == (expiry_s if expiry else None), topic
        validator(topic.split("/")[-1]).validate(value_of(message))


def test_every_topic_keeps_its_promise_with_mqtt_5(mosquitto: Mosquitto) -> None:
    check(hear_everything(mosquitto.port, protocol=5), expiry=True)


def test_every_topic_keeps_its_promise_with_mqtt_3_1_1(mosquitto: Mosquitto) -> None:
    with older(mosquitto.port) as (port, _):
        check(hear_everything(port, protocol=4), expiry=False)


@pytest.mark.parametrize("name", wire.SCHEMAS)
def test_a_schema_is_sound_and_says_what_it_is(name: str) -> None:
    schema = wire.schema(name)

    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:avatar-appliance:v1:{name}"
    assert schema["description"]


def test_info_names_the_channels_in_order_and_every_schema_by_its_digest() -> None:
    info = json.loads(wire.encode_info(INFO))

    validator("info").validate(info)
    assert info["channels"] == {"blendshapes": list(BLENDSHAPES), "visemes": list(VISEMES), "moods": list(MOODS)}
    for name, entry in info["schemas"].items():
        assert entry["sha256"] == hashlib.sha256(wire.schema_text(name).encode()).hexdigest()


@pytest.mark.parametrize("state", TrackingState)
def test_every_tracking_state_can_be_said(state: TrackingState) -> None:
    validator("frame").validate(json.loads(wire.encode(a_state(state=state), 0)))
    validator("state").validate(json.loads(wire.encode_state(a_state(state=state), 0)))


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def frame_fields() -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(wire.encode(a_state(), 0))
    return fields


@pytest.mark.parametrize("name", list(frame_fields()))
def test_a_frame_without_one_of_its_fields_is_none(name: str) -> None:
    assert not validator("frame").is_valid(without(frame_fields(), name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v", 2),
        ("seq", -1),
        ("state", "asleep"),
        ("confidence", 1.5),
        ("head", {"rotation": [0, 0, 0], "position": [0, 0, 0]}),
        ("blendshapes", {"jawOpen": 0.5}),
        ("mood", {"neutral": 2}),
        ("picture", "no"),
    ],
)
def test_the_frame_schema_is_closed(name: str, value: object) -> None:
    assert not validator("frame").is_valid({**frame_fields(), name: value})


@pytest.mark.parametrize("name", list(HEALTH))
def test_health_without_one_of_its_fields_is_none(name: str) -> None:
    whole = json.loads(wire.encode_health(HEALTH))

    assert validator("health").is_valid(whole)
    assert not validator("health").is_valid(without(whole, name))


def test_what_cannot_be_measured_never_breaks_the_json() -> None:
    payload = wire.encode_health({**HEALTH, "lfb_mb": float("nan"), "first_frame_s": float("inf")})

    health = json.loads(payload)
    validator("health").validate(health)
    assert (health["lfb_mb"], health["first_frame_s"]) == (None, None)


@pytest.mark.parametrize(
    ("command", "is_one"),
    [
        ({}, True),
        ({"transaction": "a7"}, True),
        ({"stream": "cam0", "slot": 1, "transaction": "a7"}, True),
        ({"stream": "../../etc"}, False),
        ({"slot": 8}, False),
        ({"transaction": "x" * 65}, False),
        ({"shell": "reboot"}, False),
        ([], False),
    ],
)
def test_the_command_schema_takes_what_was_agreed_alone(command: object, is_one: bool) -> None:
    assert validator("command").is_valid(command) is is_one


@pytest.mark.parametrize("status", ["done", "failed", "refused"])
def test_an_answer_says_what_became_of_a_command(status: str) -> None:
    answer = {"status": status, "data": {}, "error": None, "transaction": "a7"}

    assert validator("answer").is_valid(answer)
    assert not validator("answer").is_valid({**answer, "status": "perhaps"})
    for name in answer:
        assert not validator("answer").is_valid(without(answer, name))
