"""Commands from end to end: an operator, a real broker, the publisher, what is done."""

import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import daemons
import jsonschema
import paho.mqtt.client as paho
import pytest
from brokers import DEVICE, INFO, ROOT, Mosquitto, Reader, older, wait_until
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from test_operators_commands import fuzzed, is_valid

from appliance.avatar.orders import Orders
from appliance.demo.clip import SPEECH_WAV
from appliance.errors import ConfigError
from appliance.latest import Latest
from appliance.obeying import SETTLING_S, obey
from appliance.publish import wire
from appliance.publish.commands import ANSWERED_PER_S, NAMES
from appliance.publish.mqtt import AvatarPublisher
from appliance.settings import Broker, Settings, from_table
from appliance.values import Event

ANSWER = jsonschema.Draft202012Validator(wire.schema("answer"))
TABLE: dict[str, Any] = {
    "device": {"site": DEVICE.site, "name": DEVICE.name},
    "camera": [{"name": "cam0", "source": "file:none"}],
    "broker": {"commands": True},
}


class Operator:
    """Gives commands and keeps the answers."""

    def __init__(self, port: int, protocol: int = paho.MQTTv5) -> None:
        self.answers: list[tuple[str, dict[str, Any], bytes | None]] = []
        self._subscribed = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self.client.on_message = self._hear
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe(f"{ROOT}/resp/#", 1)
        assert self._subscribed.wait(10)

    def _hear(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        fields = json.loads(message.payload)
        ANSWER.validate(fields)
        correlation = getattr(message.properties, "CorrelationData", None)
        self.answers.append((message.topic.removeprefix(f"{ROOT}/"), fields, correlation))

    def say(self, name: str, payload: bytes = b"", retain: bool = False, **properties: object) -> None:
        asked = Properties(PacketTypes.PUBLISH) if properties else None
        for key, value in properties.items():
            setattr(asked, key, value)
        self.client.publish(f"{ROOT}/cmd/{name}", payload, 1, retain, asked)

    def ask(self, name: str, payload: bytes = b"", **properties: object) -> tuple[str, dict[str, Any], bytes | None]:
        before = len(self.answers)
        self.say(name, payload, **properties)
        assert wait_until(lambda: len(self.answers) > before)
        return self.answers[-1]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@dataclass
class Running:
    """A publisher that obeys, without cameras behind it."""

    publisher: AvatarPublisher
    orders: Orders
    stopped: threading.Event
    wrong: list[str]


def settle(made: AvatarPublisher, port: int) -> None:
    """Wait until the broker has read what a new connection began with, its subscription: an event follows it."""
    assert wait_until(lambda: made.status().connected)
    reader = Reader(port)
    made.event(Event("settled"))
    assert wait_until(lambda: reader.on("event") != [])
    reader.close()


def start(
    port: int, table: dict[str, Any] | None = None, age_s: float = 2 * SETTLING_S, direct: int | None = None
) -> Running:
    settings: Settings = from_table(table or TABLE)
    made = AvatarPublisher(Broker(url=f"mqtt://127.0.0.1:{port}"), DEVICE, INFO)
    running = Running(made, Latest(()), threading.Event(), [])

    def reread() -> None:
        if running.wrong:
            raise ConfigError(running.wrong[0])

    begun_ns = time.monotonic_ns() - round(age_s * 1e9)
    made.obey(obey(settings, running.orders, made.event, running.stopped.set, reread, begun_ns))
    made.start()
    settle(made, direct or port)
    return running


@pytest.fixture
def running(mosquitto: Mosquitto) -> Iterator[Running]:
    begun = start(mosquitto.port)
    yield begun
    begun.publisher.close()


@pytest.fixture
def operator(mosquitto: Mosquitto) -> Iterator[Operator]:
    made = Operator(mosquitto.port)
    yield made
    made.close()


def test_an_order_lies_on_the_shelf_when_the_answer_comes(running: Running, operator: Operator) -> None:
    topic, answer, _ = operator.ask("neutral", b'{"transaction": "t-1", "stream": "cam0"}')

    assert (topic, answer["status"], answer["transaction"]) == ("resp/neutral", "done", "t-1")
    assert [(order.name, order.stream) for order in running.orders.get()] == [("neutral", "cam0")]


def test_the_answer_goes_where_mqtt_5_asks_for_it(running: Running, operator: Operator) -> None:
    where = {"ResponseTopic": f"{ROOT}/resp/anna/1", "CorrelationData": b"\x00\xff7"}

    topic, answer, correlation = operator.ask("identify", **where)

    assert (topic, correlation) == ("resp/anna/1", b"\x00\xff7")
    assert answer["data"]["device"] == "orin-07"


@pytest.mark.parametrize(
    "where",
    [
        {"ResponseTopic": f"{ROOT}/availability"},
        {"ResponseTopic": "avatar/v1/lobby/orin-08/info"},
        {"ResponseTopic": f"{ROOT}/resp/"},
        {"ResponseTopic": f"{ROOT}/resp/{'x' * 300}"},
        {"CorrelationData": b"x" * 300},
    ],
)
def test_an_answer_that_would_go_elsewhere_is_refused_in_its_usual_place(
    running: Running, operator: Operator, where: dict[str, object]
) -> None:
    topic, answer, _ = operator.ask("neutral", **where)

    assert (topic, answer["status"]) == ("resp/neutral", "refused")
    assert running.orders.get() == ()


def test_a_retained_command_is_not_carried_out(mosquitto: Mosquitto, operator: Operator) -> None:
    operator.say("neutral", b"{}", retain=True)

    begun = start(mosquitto.port)
    operator.ask("identify")

    assert begun.orders.get() == ()
    begun.publisher.close()


def test_with_mqtt_3_1_1_a_command_is_done_and_a_retained_one_refused(mosquitto: Mosquitto) -> None:
    with older(mosquitto.port) as (port, _):
        operator = Operator(mosquitto.port, protocol=paho.MQTTv311)
        operator.say("recalibrate", b"{}", retain=True)
        begun = start(port, direct=mosquitto.port)
        assert wait_until(lambda: [answer["status"] for _, answer, _ in operator.answers] == ["refused"])

        assert operator.ask("neutral", b'{"transaction": "t-1"}')[1]["status"] == "done"

        assert [order.name for order in begun.orders.get()] == ["neutral"]
        begun.publisher.close()
        operator.close()


def test_reload_answers_then_ends(running: Running, operator: Operator) -> None:
    assert operator.ask("reload")[1]["status"] == "done"
    assert running.stopped.wait(5)


def test_reload_with_wrong_settings_says_so_and_runs_on(running: Running, operator: Operator) -> None:
    running.wrong.append("camera.fps must be between 1 and 120, got 0")

    answer = operator.ask("reload")[1]

    assert (answer["status"], answer["error"]) == ("failed", running.wrong[0])
    assert not running.stopped.is_set()


def test_reload_right_after_a_start_waits(mosquitto: Mosquitto, operator: Operator) -> None:
    begun = start(mosquitto.port, age_s=1.0)

    assert "reload when 30 s have passed" in operator.ask("reload")[1]["error"]
    assert not begun.stopped.is_set()
    begun.publisher.close()


def test_commands_are_off_unless_the_settings_allow_them(mosquitto: Mosquitto, operator: Operator) -> None:
    begun = start(mosquitto.port, {**TABLE, "broker": {}})

    for name in NAMES:
        assert operator.ask(name)[1]["status"] == "refused"

    assert begun.orders.get() == ()
    assert not begun.stopped.is_set()
    begun.publisher.close()


def test_commands_are_heard_again_after_the_broker_was_away(mosquitto: Mosquitto, running: Running) -> None:
    mosquitto.stop()
    assert wait_until(lambda: not running.publisher.status().connected)
    mosquitto.start()
    settle(running.publisher, mosquitto.port)

    operator = Operator(mosquitto.port)

    assert operator.ask("neutral")[1]["status"] == "done"
    operator.close()


def test_a_thousand_fuzzed_commands_over_a_broker_crash_nothing_and_none_acts(
    running: Running, operator: Operator
) -> None:
    rng = random.Random(9)
    payloads = [payload for payload in (fuzzed(rng) for _ in range(1500)) if not is_valid(payload)][:1000]
    assert len(payloads) == 1000

    for payload in payloads:
        operator.say(rng.choice(NAMES), payload)

    assert wait_until(lambda: not operator.client._out_messages, 30)  # the broker has taken all
    running.publisher.event(Event("after_them"))
    time.sleep(2 / ANSWERED_PER_S)  # until it may answer again
    assert operator.ask("identify", b"{}")[1]["status"] == "done"
    assert {answer["status"] for _, answer, _ in operator.answers[:-1]} == {"refused"}
    assert running.orders.get() == ()
    assert not running.stopped.is_set()
    assert running.publisher.status().connections == 1


def test_the_daemon_obeys_and_an_orderly_end_follows_reload(mosquitto: Mosquitto, tmp_path: Path) -> None:
    settings = tmp_path / "appliance.toml"
    settings.write_text(
        f'[device]\nsite = "{DEVICE.site}"\nname = "{DEVICE.name}"\n'
        f'[[microphone]]\nname = "ear"\nsource = "file:{SPEECH_WAV}"\nloop = true\n'
        f'[broker]\nurl = "mqtt://127.0.0.1:{mosquitto.port}"\ncommands = true\n'
    )
    operator = Operator(mosquitto.port)
    with daemons.running(settings) as daemon:
        assert wait_until(lambda: is_heard(operator), 20)
        assert operator.ask("recalibrate", b'{"stream": "ear"}')[1]["status"] == "done"
        too_early = operator.ask("reload")[1]
        settings.write_text("[device]\nsite = 7\n")
        assert too_early["status"] == "failed"
        assert daemon.poll() is None
    operator.close()
    assert daemon.returncode == 0


def is_heard(operator: Operator) -> bool:
    operator.say("identify")
    time.sleep(0.5)
    return bool(operator.answers)


def test_no_command_line_is_needed_to_try_one(mosquitto: Mosquitto, running: Running) -> None:
    """The line of the documentation, as an operator types it."""
    asked = ("mosquitto_rr", "-V", "mqttv5", "-p", str(mosquitto.port), "-W", "5")
    topics = ("-t", f"{ROOT}/cmd/identify", "-e", f"{ROOT}/resp/me", "-m", "{}")

    said = subprocess.run([*asked, *topics], capture_output=True, text=True, check=True).stdout

    assert json.loads(said)["status"] == "done"
