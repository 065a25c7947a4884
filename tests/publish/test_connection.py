import logging
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Mosquitto, Reader, a_state, demo_broker, free_port, older, publisher, publishing, wait_until

from appliance.errors import ConfigError


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that wants ``avatar`` with the password ``open sesame``."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "avatar", "open sesame"], check=True, capture_output=True)
    broker = Mosquitto(tmp_path, ("allow_anonymous false", f"password_file {passwords}"))
    yield broker
    broker.stop()


def secrets(folder: Path, password: str) -> dict[str, str]:
    username_file, password_file = folder / "mqtt.user", folder / "mqtt.password"
    username_file.write_text("avatar\n")
    password_file.write_text(password + "\n")
    password_file.chmod(0o600)
    return {"username_file": str(username_file), "password_file": str(password_file)}


def test_name_and_password_come_from_files(guarded: Mosquitto, tmp_path: Path) -> None:
    with publishing(guarded.port, **secrets(tmp_path, "open sesame")) as made:
        assert made.status().protocol == "5"


def test_a_wrong_password_is_said_once_and_retried(
    guarded: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = publisher(guarded.port, **secrets(tmp_path, "shut"))
    made.start()

    assert wait_until(lambda: "Not authorized" in made.status().problem)
    threading.Event().wait(1.2)  # time for a second attempt
    made.close()

    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.levelname for record in lines] == ["ERROR"]
    assert "broker.password_file" in lines[0].getMessage()
    assert "shut" not in caplog.text
    assert not made.send(a_state())


@pytest.mark.parametrize(
    ("setting", "content", "rule"),
    [
        ("username_file", None, "broker.username_file must name a readable text file"),
        ("username_file", b"\n", "broker.username_file must not be empty"),
        ("username_file", b"\xff\xfe", "not UTF-8"),
        ("password_file", b"secret", "needs broker.username_file"),
    ],
)
def test_a_secret_that_cannot_be_used_is_a_wrong_setting(
    tmp_path: Path, setting: str, content: bytes | None, rule: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=rule):
        publisher(1883, **{setting: str(path)})


def test_a_password_that_everybody_can_read_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = secrets(tmp_path, "open sesame")
    Path(files["password_file"]).chmod(0o644)

    publisher(1883, **files)

    assert "can be read by everybody" in caplog.text


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def authority(folder: Path, name: str) -> Path:
    """Make a throwaway certificate authority and a certificate of 127.0.0.1 from it, ``name.pem``."""
    ca, key, request = folder / f"{name}-ca.pem", folder / f"{name}-ca.key", folder / f"{name}.csr"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    # Python 3.13 asks a certificate authority to say what it is for.
    usage = ("-days", "2", "-subj", f"/CN={name} authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl("req", "-x509", *curve, "-keyout", str(key), "-out", str(ca), *usage)
    openssl("req", *curve, "-keyout", str(folder / f"{name}.key"), "-out", str(request), "-subj", f"/CN={name}")
    extensions = folder / f"{name}.ext"
    extensions.write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\nkeyUsage=digitalSignature\n")
    signing = ("-CA", str(ca), "-CAkey", str(key), "-CAcreateserial", "-days", "2", "-extfile", str(extensions))
    openssl("x509", "-req", "-in", str(request), "-out", str(folder / f"{name}.pem"), *signing)
    return ca


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker with a certificate of its own authority, that wants one of the same from its clients."""
    ca = authority(tmp_path, "broker")
    files = (f"cafile {ca}", f"certfile {tmp_path}/broker.pem", f"keyfile {tmp_path}/broker.key")
    broker = Mosquitto(tmp_path, ("allow_anonymous true", "require_certificate true", *files))
    yield broker
    broker.stop()


def test_tls_with_a_client_certificate(encrypted: Mosquitto, tmp_path: Path) -> None:
    own = {"cert_file": str(tmp_path / "broker.pem"), "key_file": str(tmp_path / "broker.key")}
    url = f"mqtts://127.0.0.1:{encrypted.port}"

    with publishing(encrypted.port, url=url, ca_file=str(tmp_path / "broker-ca.pem"), **own) as made:
        assert made.send(a_state())


def test_a_broker_of_a_stranger_is_not_trusted(encrypted: Mosquitto, tmp_path: Path) -> None:
    made = publisher(0, url=f"mqtts://127.0.0.1:{encrypted.port}", ca_file=str(authority(tmp_path, "other")))
    made.start()

    assert wait_until(lambda: "not trusted" in made.status().problem)
    assert "broker.ca_file" in made.status().problem
    made.close()


def test_certificates_that_cannot_be_read_are_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ca_file must name PEM certificates"):
        publisher(0, url="mqtts://127.0.0.1:8883", ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match="must be given together"):
        publisher(0, url="mqtts://127.0.0.1:8883", cert_file="one.pem")
    with pytest.raises(ConfigError, match="PEM certificate and its key"):
        publisher(0, url="mqtts://127.0.0.1:8883", cert_file="one.pem", key_file="two.pem")


def test_an_older_broker_is_spoken_to_in_its_version(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with demo_broker() as port, publishing(port) as made:
        reader = Reader(port, protocol=4)
        assert made.status().protocol == "3.1.1"
        assert made.send(a_state())
        assert wait_until(lambda: reader.on("cam0/0/frame") != [])
        reader.close()
    assert "refused this version of MQTT" in caplog.text


def test_a_broker_that_hangs_up_on_mqtt_5_is_tried_with_3_1_1_and_that_is_remembered(mosquitto: Mosquitto) -> None:
    with older(mosquitto.port) as (port, levels), publishing(port) as made:
        assert made.status().protocol == "3.1.1"
        mosquitto.stop()
        assert wait_until(lambda: not made.status().connected)
        mosquitto.start()
        assert wait_until(lambda: made.status().connections == 2)
    assert levels[:2] == [b"\x05", b"\x04"]
    assert b"\x05" not in levels[2:]


def test_a_broker_that_is_not_there_costs_frames_and_is_found_later(tmp_path: Path) -> None:
    port = free_port()
    made = publisher(port)
    made.start()
    assert wait_until(lambda: "Connection refused" in made.status().problem)
    assert not made.send(a_state())

    broker = Mosquitto(tmp_path, port=port)

    assert wait_until(lambda: made.status().connected)
    assert made.send(a_state())
    assert made.status().dropped == 1
    assert made.status().problem == ""
    made.close()
    broker.stop()


def test_a_broker_that_fell_silent_is_spoken_to_in_mqtt_5_when_it_wakes(mosquitto: Mosquitto) -> None:
    with publishing(mosquitto.port) as made:
        mosquitto.stop()
        with socket.create_server(("127.0.0.1", mosquitto.port)):  # accepts, and never says a word
            assert wait_until(lambda: "does not answer" in made.status().problem)
        mosquitto.start()

        assert wait_until(lambda: made.status().connected)
        assert made.status().protocol == "5"
