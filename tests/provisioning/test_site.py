"""The site file: what is read, and that every mistake is told at once."""

import json
import os
from pathlib import Path

import pytest

from provisioning import authority
from provisioning.__main__ import give_passwords, main
from provisioning.certificates import Role
from provisioning.desired import settings_text
from provisioning.fleet import waves
from provisioning.site import SiteError, load
from provisioning.verifying import fallbacks

GOOD = """
[site]
name = "lobby"

[release]
bundle = "b.bundle"
signer = "release.pub"

[broker]
host = "broker.lobby"
device = "hub"

[settings.engines]
precision = "fp16"

[[renderer]]
name = "wall"

[[device]]
name = "orin-07"
host = "10.0.0.7"
wave = 2

[[device.camera]]
name = "cam0"
source = "v4l2:/dev/video0"
microphone = "mic0"

[[device.microphone]]
name = "mic0"
source = "alsa:default"

[[device]]
name = "hub"
host = "10.0.0.8"

[[device.camera]]
name = "cam0"
source = "rtsp://guard:s\\u00e9cret@door/1"
"""


def written(folder: Path, text: str) -> Path:
    (folder / "b.bundle").write_bytes(b"")
    (folder / "release.pub").write_text("ssh-ed25519 AAAA")
    path = folder / "lobby.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(SiteError) as told:
        load(written(folder, text))
    return str(told.value).splitlines()


def test_a_site_is_read_with_its_defaults(tmp_path: Path) -> None:
    site = load(written(tmp_path, GOOD))

    assert [device.name for device in site.device] == ["orin-07", "hub"]
    assert site.device[0].camera[0].fps == 30
    assert (site.broker.port, site.ssh.user, site.release.window_s) == (8884, "root", 120)


def test_the_broker_comes_first_and_then_wave_after_wave(tmp_path: Path) -> None:
    more = '[[device]]\nname = "first"\nhost = "10.0.0.9"\n[[device.camera]]\nname = "c"\nsource = "file:/x"\n'

    groups = list(waves(load(written(tmp_path, GOOD + more))))

    assert [[device.name for device in group] for group in groups] == [["hub"], ["first"], ["orin-07"]]


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace('name = "hub"', 'name = "orin-07"').replace("wave = 2", 'wave = "two"\ncolour = "red"')
    text = text.replace('host = "broker.lobby"', "").replace("[settings.engines]", "[settings.motors]")

    told = mistakes(tmp_path, text)

    assert "broker.host is missing; it must be a host name or address" in told
    assert "device[orin-07].wave must be a whole number, got 'two'" in told
    assert any(line.startswith("device[orin-07].colour is not known; allowed here: name, host") for line in told)
    assert any(line.startswith("settings.motors is not known") for line in told)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('name = "hub"', 'name = "orin-07"', "device 'orin-07' is there 2 times; names must differ"),
        ('host = "10.0.0.8"', 'host = "10.0.0.7"', "device host '10.0.0.7:22' is there 2 times; names must differ"),
        ('device = "hub"', 'device = "spoke"', "broker.device must be one of: orin-07, hub; got 'spoke'"),
        ('name = "wall"', 'name = "hub"', "'hub' names both a device and a renderer"),
        ('bundle = "b.bundle"', 'bundle = "none.bundle"', "release.bundle: there is no file "),
        (
            'signer = "release.pub"',
            'signer = "release.pub"\nwindow_s = 1',
            "release.window_s must be between 5 and 86400",
        ),
        ('microphone = "mic0"', 'microphone = "mic1"', "device[orin-07].camera[cam0].microphone must be one of: mic0;"),
        ('source = "v4l2:/dev/video0"', 'source = "usb:0"', "device[orin-07].camera[cam0].source must be v4l2:DEVICE"),
        ('host = "10.0.0.7"', 'host = "-oProxyCommand=x"', "device[orin-07].host must be a host name or address"),
        ("wave = 2", "wave = true", "device[orin-07].wave must be a whole number, got True"),
    ],
)
def test_a_mistake_names_the_key_and_what_is_allowed(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD

    assert any(line.startswith(told) for line in mistakes(tmp_path, GOOD.replace(old, new)))


def test_a_site_without_devices_and_one_that_is_no_toml_are_refused(tmp_path: Path) -> None:
    assert "no [[device]] is named" in mistakes(
        tmp_path, GOOD[: GOOD.index("[[device]]")].replace('device = "hub"', "")
    )
    assert "is not TOML" in mistakes(tmp_path, "[site")[0]


def test_the_command_ends_with_78_and_touches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD.replace("[[renderer]]", "[[painter]]"))

    status = main(["apply", str(path)])

    assert status == 78
    assert "appliance-provision: painter is not known" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["b.bundle", "lobby.toml", "release.pub"]


def test_a_bundle_that_is_none_is_told_before_anybody_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["apply", str(written(tmp_path, GOOD))])

    assert status == 78
    assert "is not a whole bundle" in capsys.readouterr().err


def test_the_appliance_takes_the_settings_that_are_written(tmp_path: Path) -> None:
    from appliance.settings import load as appliance_load

    site = load(written(tmp_path, GOOD))
    for device in site.device:
        (tmp_path / "appliance.toml").write_text(settings_text(site, device), encoding="utf-8")
        settings = appliance_load(tmp_path / "appliance.toml")
        assert (settings.device.site, settings.device.name) == ("lobby", device.name)
        assert [camera.source for camera in settings.camera] == [camera.source for camera in device.camera]
        assert (settings.engines.precision, settings.broker.host, settings.broker.port) == (
            "fp16",
            "broker.lobby",
            8884,
        )


def test_a_renderer_that_asks_for_a_password_gets_one_and_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD.replace('name = "wall"\n', 'name = "wall"\npassword = true\n\n[[renderer]]\nname = "web"\n')
    site = load(written(tmp_path, text))
    authority.create(tmp_path / "authority", "lobby")

    give_passwords(site)
    secret = (tmp_path / "lobby-wall.password").read_text().strip()
    hashed = (tmp_path / "authority/passwords").read_text()
    give_passwords(site)

    assert [path.name for path in tmp_path.glob("*.password")] == ["lobby-wall.password"]
    assert (tmp_path / "lobby-wall.password").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "authority/passwords").read_text() == hashed
    assert [line.split(":")[0] for line in hashed.splitlines()] == ["renderer/wall"]
    assert len(secret) >= 32
    assert secret not in hashed + "".join(capsys.readouterr())


def test_a_password_that_was_revoked_is_made_anew(tmp_path: Path) -> None:
    site = load(written(tmp_path, GOOD.replace('name = "wall"\n', 'name = "wall"\npassword = true\n')))
    authority.create(tmp_path / "authority", "lobby")
    give_passwords(site)
    before = (tmp_path / "lobby-wall.password").read_text()
    authority.revoke(tmp_path / "authority", Role.RENDERER, "wall")

    give_passwords(site)

    assert (tmp_path / "lobby-wall.password").read_text() != before


def test_engines_that_are_not_as_asked_are_told() -> None:
    row = {"name": "viseme", "fallback": "ranges of this site are gone"}

    assert fallbacks(json.dumps([{"name": "expression", "fallback": ""}, row])) == f"viseme: {row['fallback']}"
    assert fallbacks("appliance: TensorRT cannot be imported") == ""
