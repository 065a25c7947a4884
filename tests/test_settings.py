"""The settings file: what is right is taken, what is wrong is named with its key, value and cure."""

from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ConfigError
from appliance.settings import DEFAULT_PATH, from_table, load

CAMERA = {"name": "cam0", "source": "file:clip.mp4"}

CONTRACT_EXAMPLE = """
[device]
site = "lobby"
name = "orin-07"

[[camera]]
name = "cam0"
source = "v4l2:/dev/video0"
width = 1280
height = 720
fps = 60
faces = 1
microphone = "mic0"

[[microphone]]
name = "mic0"
source = "alsa:default"
rate = 16000

[engines]
runner = "auto"
precision = "int8"

[avatar]
smoothing = "one_euro"
idle = "relax"

[memory]
source = "auto"
high_mb = 900
critical_mb = 400

[broker]
url = "mqtts://renderer.local:8883"
username_file = "/etc/avatar-appliance/mqtt.user"
password_file = "/etc/avatar-appliance/mqtt.password"
ca_file = "/etc/avatar-appliance/ca.pem"
cert_file = ""
key_file = ""
"""


def test_the_contracts_example_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "appliance.toml"
    path.write_text(CONTRACT_EXAMPLE)

    settings = load(path)

    assert settings.device.site == "lobby"
    assert settings.camera[0].fps == 60
    assert settings.camera[0].microphone == settings.microphone[0].name
    assert (settings.broker.tls, settings.broker.host, settings.broker.port) == (True, "renderer.local", 8883)
    assert settings.storage.models == Path("/var/lib/avatar-appliance/models")


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"camera": [{**CAMERA, "fps": 0}]}, ["camera[0].fps", "between 1 and 120", "0"]),
        ({"camera": [{**CAMERA, "fps": "30"}]}, ["camera[0].fps", "whole number", "'30'"]),
        ({"camera": [{**CAMERA, "fps": True}]}, ["camera[0].fps", "whole number", "True"]),
        ({"camera": [{**CAMERA, "loop": 1}]}, ["camera[0].loop", "true or false", "1"]),
        ({"camera": [{**CAMERA, "colour": "red"}]}, ["camera[0].colour", "'red'", "allowed here: name, source"]),
        ({"camera": [{"name": "cam0"}]}, ["camera[0].source", "missing", "v4l2:DEVICE"]),
        ({"camera": [{**CAMERA, "source": "usb:0"}]}, ["camera[0].source", "'usb:0'", "rtsp://"]),
        ({"camera": [{**CAMERA, "name": "a/b"}]}, ["camera[0].name", "'a/b'", "letters, digits"]),
        ({"camera": CAMERA}, ["camera", "[[camera]]"]),
        ({"camera": [CAMERA, CAMERA]}, ["names must differ", "'cam0'"]),
        ({"camera": [{**CAMERA, "name": "cmd"}]}, ["'cmd'", "topic"]),
        ({"camera": [{**CAMERA, "microphone": "mic9"}]}, ["microphone", "'mic9'", "none is set"]),
        ({"device": {"site": ""}}, ["device.site", "''"]),
        ({"device": "lobby"}, ["device", "table", "'lobby'"]),
        ({"devise": {}}, ["devise", "allowed here: device, camera"]),
        ({"engines": {"runner": "gpu"}}, ["engines.runner", "one of auto, tensorrt", "'gpu'"]),
        ({"memory": {"high_mb": 300, "critical_mb": 400}}, ["critical_mb", "below", "300", "400"]),
        ({"broker": {"url": "http://h"}}, ["broker.url", "mqtt://HOST", "'http://h'"]),
        ({"broker": {"url": "mqtt://user:secret@h"}}, ["broker.url", "mqtt://HOST"]),
        ({"broker": {"url": "mqtt://h:99999"}}, ["broker.url", "1 to 65535"]),
    ],
)
def test_a_wrong_setting_is_named_with_key_value_and_what_is_allowed(table: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        from_table(table)

    assert error.value.exit_status == 78
    assert "\n" not in str(error.value)
    for words in named:
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("override", "fps"),
    [("camera.fps=15", [15, 15]), ("camera.one.fps=15", [30, 15]), ("camera.fps = 15", [15, 15])],
)
def test_an_override_sets_every_camera_or_the_one_it_names(override: str, fps: list[int]) -> None:
    table = {"camera": [CAMERA, {**CAMERA, "name": "one"}]}

    settings = from_table(table, [override])

    assert [camera.fps for camera in settings.camera] == fps
    assert "fps" not in CAMERA


@pytest.mark.parametrize("override", ["camera.fps", "fps=3", "camera.two.fps=3", "device.a.b=3", "=3"])
def test_an_override_of_another_form_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        from_table({"camera": [CAMERA]}, [override])


def test_text_in_an_override_needs_no_quotes() -> None:
    settings = from_table({"camera": [CAMERA]}, ["camera.source=rtsp://10.0.0.9/a", 'device.name="x"'])

    assert (settings.camera[0].source, settings.device.name) == ("rtsp://10.0.0.9/a", "x")


@pytest.mark.parametrize(
    ("content", "named"), [(b"[camera", "not TOML"), (b"\xff\xfe", "cannot be read"), (None, "no settings at")]
)
def test_a_settings_file_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None, named: str) -> None:
    path = tmp_path / "appliance.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=named):
        load(path)


def test_a_folder_in_the_settings_files_place_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_the_default_path_is_the_contracts() -> None:
    assert Path("/etc/avatar-appliance/appliance.toml") == DEFAULT_PATH
