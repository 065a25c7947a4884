"""Health for Prometheus and Home Assistant: real processes on a real broker, read as those programs read."""

import json
import socket
import urllib.request
from typing import Any

import jinja2
import pytest
from brokers import HEALTH, Reader, a_state, free_port, wait_until
from prometheus_client.parser import text_string_to_metric_families

from appliance.publish.mqtt import AvatarPublisher
from appliance.renderers.exporters.home_assistant import discovery
from appliance.renderers.fleet import Device

from .conftest import WAIT_S, Command


@pytest.fixture
def device(device: AvatarPublisher) -> AvatarPublisher:
    device.send(a_state())
    assert wait_until(lambda: device.health(HEALTH))
    return device


def scrape(url: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by name and the labels beside site and device, in the order of the labels' names."""
    with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        text = answer.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert (labels.pop("site"), labels.pop("device")) == ("lobby", "orin-07")
            found[sample.name, tuple(labels[name] for name in sorted(labels))] = sample.value
    return found


def test_prometheus_reads_every_reading_in_base_units(port: int, device: AvatarPublisher) -> None:
    exporter = Command(port, "exporter", "prometheus", "--port", "0")
    url = exporter.line().split()[1]
    assert wait_until(lambda: ("avatar_uptime_seconds", ()) in scrape(url))
    found = scrape(url)
    status, _, errors = exporter.end()

    assert (status, errors) == (0, "")
    age = found.pop(("avatar_health_age_seconds", ()))
    assert 0 <= age < WAIT_S
    mib = 2**20
    assert found == pytest.approx(
        {
            ("avatar_up", ()): 1,
            ("avatar_alarms", ()): 1,
            ("avatar_memory_level", ()): 1,
            ("avatar_frames_dropped_total", ()): 3,
            ("avatar_tracking_state", ("tracking", "cam0/0")): 1,
            ("avatar_uptime_seconds", ()): 61.2,
            ("avatar_first_frame_seconds", ()): 1.9,
            ("avatar_frames_per_second", ("cam0/0",)): 59.8,
            ("avatar_memory_available_bytes", ()): 3120 * mib,
            ("avatar_memory_total_bytes", ()): 7620 * mib,
            ("avatar_memory_resident_bytes", ()): 402.5 * mib,
            ("avatar_swap_used_bytes", ()): 0,
            ("avatar_memory_some_stalled_ratio", ()): 0.125,
            ("avatar_memory_full_stalled_ratio", ()): 0,
            ("avatar_temperature_celsius", ("cpu",)): 48.2,
            ("avatar_power_watts", ("VDD_IN",)): 5.12,
            ("avatar_clock_hertz", ("gpu",)): 612e6,
            ("avatar_stage_seconds", ("0.5", "total")): 0.0049,
            ("avatar_stage_seconds", ("0.99", "total")): 0.008,
            ("avatar_camera_working", ("cam0",)): 0,
            ("avatar_camera_captured_total", ("cam0",)): 3600,
            ("avatar_camera_dropped_total", ("cam0",)): 2,
            ("avatar_camera_restarts_total", ("cam0",)): 1,
            ("avatar_microphone_working", ("mic0",)): 1,
            ("avatar_microphone_blocks_total", ("mic0",)): 6000,
            ("avatar_microphone_overruns_total", ("mic0",)): 0,
            ("avatar_microphone_restarts_total", ("mic0",)): 0,
        }
    )


def test_a_taken_port_is_said_in_one_line(port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, errors = Command(port, "exporter", "prometheus", "--port", str(taken.getsockname()[1])).wait()

    assert status == 1
    assert errors.endswith("Address already in use; see --host and --port\n")
    assert errors.count("\n") == 1


def value_of(described: dict[str, Any], payloads: dict[str, bytes]) -> str:
    """What Home Assistant shows: the sensor's template on the last payload of its topic."""
    payload = payloads[described["state_topic"]].decode()
    if "value_template" not in described:
        return payload
    return jinja2.Environment().from_string(described["value_template"]).render(value_json=json.loads(payload))


def test_home_assistant_finds_sensors_that_show_what_the_device_says(port: int, device: AvatarPublisher) -> None:
    reader = Reader(port, topics="#")
    exporter = Command(port, "exporter", "homeassistant", "--site", "lobby")
    wanted = "homeassistant/sensor/avatar_lobby_orin-07/temperature_cpu/config"
    assert wait_until(lambda: wanted in {message.topic for message in reader.messages}, WAIT_S)
    status, out, errors = exporter.end()
    reader.close()
    late = Reader(port, topics="#")
    assert wait_until(lambda: wanted in {message.topic for message in late.messages})
    late.close()

    assert (status, errors) == (0, "")
    assert out.endswith("sensors told to Home Assistant\n")
    payloads = {message.topic: message.payload for message in late.messages}
    described = {
        topic.split("/")[3]: json.loads(payload) for topic, payload in payloads.items() if topic.startswith("homeas")
    }
    assert {name: value_of(fields, payloads) for name, fields in described.items()} == {
        "connected": "online",
        "visitor_cam0_0": "ON",
        "latency": "4.9",
        "dropped": "3",
        "memory": "3120",
        "level": "high",
        "fps_cam0_0": "59.8",
        "temperature_cpu": "48.2",
        "power_VDD_IN": "5120",
        "problem_cam0": "ON",
        "problem_mic0": "OFF",
    }
    assert len({fields["unique_id"] for fields in described.values()}) == len(described)
    assert {fields["device"]["identifiers"][0] for fields in described.values()} == {"avatar_lobby_orin-07"}
    assert described["temperature_cpu"]["device"]["sw_version"] == "0.1.0"


def test_home_assistant_s_sensors_are_taken_back(port: int, device: AvatarPublisher) -> None:
    with_sensors = Command(port, "exporter", "homeassistant")
    with_sensors.line()
    with_sensors.end()

    status, out, errors = Command(port, "exporter", "homeassistant", "--remove").wait()
    left = Reader(port, topics="homeassistant/#")
    assert not wait_until(lambda: bool(left.messages), 0.5)
    left.close()

    assert (status, errors) == (0, "")
    assert out == "11 sensors taken back\n"


@pytest.mark.parametrize("name", ["x'] }}{{ 1/0", "{{evil}}", "a'b", "", "x" * 65])
def test_a_name_that_is_none_never_gets_into_a_template(name: str) -> None:
    device = Device(
        "lobby", "orin-07", "online", health={"fps": {name: 3}, "cameras": {name: {}}}, states={name: "idle"}
    )

    described = discovery(device)

    plain = {"connected", "latency", "dropped", "memory", "level"}
    assert {topic.split("/")[3] for topic in described} == plain


def test_no_broker_to_take_sensors_back_from_is_said() -> None:
    port = free_port()

    status, _, errors = Command(port, "exporter", "homeassistant", "--remove", "-q").wait()

    assert status == 1
    assert errors.splitlines()[-1] == f"appliance: broker mqtt://127.0.0.1:{port} cannot be reached: Connection refused"
