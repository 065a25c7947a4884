"""``appliance bridge vtubestudio`` against a server that answers as VTube Studio's API text says."""

import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import a_state, free_port, wait_until

from appliance.avatar.channels import BLENDSHAPES
from appliance.errors import ApplianceError
from appliance.publish.mqtt import AvatarPublisher
from appliance.renderers.bridges.vtubestudio import read_token, write_token
from appliance.values import TrackingState

from .conftest import WAIT_S, Command
from .studio import Studio


@pytest.fixture
def studio() -> Iterator[Studio]:
    made = Studio()
    yield made
    made.close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "vtubestudio.token"


def bridge(port: int, studio_port: int, token: Path) -> Command:
    to = f"127.0.0.1:{studio_port}"
    return Command(port, "bridge", "vtubestudio", "--to", to, "--token-file", str(token))


def until(device: AvatarPublisher, holds: Callable[[], bool], **state: Any) -> bool:
    """Publish frames until something holds."""

    def step() -> bool:
        device.send(a_state(**state))
        time.sleep(0.02)
        return holds()

    return wait_until(step, WAIT_S)


def test_a_token_is_asked_for_once_and_kept_where_only_its_owner_reads(
    port: int, device: AvatarPublisher, studio: Studio, token: Path
) -> None:
    first = bridge(port, studio.port, token)
    assert until(device, lambda: len(studio.injected) > 3)
    status, out, errors = first.end()
    second = bridge(port, studio.port, token)
    before = len(studio.injected)
    assert until(device, lambda: len(studio.injected) > before)
    second.end()

    assert (status, errors) == (0, "")
    assert "click Allow" in out
    assert studio.asked == ["token", "in", "in"]
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert studio.token not in out
    assert studio.errors == []


def test_frames_are_injected_with_every_shape_and_whether_a_face_is_there(
    port: int, device: AvatarPublisher, studio: Studio, token: Path
) -> None:
    running = bridge(port, studio.port, token)
    state = a_state()
    assert until(device, lambda: bool(studio.injected), blendshapes=state.blendshapes)
    found = studio.injected[-1][1]
    assert until(device, lambda: not studio.injected[-1][1]["faceFound"], state=TrackingState.LOST), (
        "a lost face is not said"
    )
    running.end()

    values = {value["id"]: value["value"] for value in found["parameterValues"]}
    assert found["faceFound"] is True
    assert values["ArkitJawOpen"] == pytest.approx(float(state.blendshapes[BLENDSHAPES.index("jawOpen")]), abs=0.006)
    assert len(studio.created) == 52
    assert {data["min"] for data in studio.created.values()} == {0}


def test_it_comes_back_after_vtube_studio_was_closed(
    port: int, device: AvatarPublisher, studio: Studio, token: Path
) -> None:
    running = bridge(port, studio.port, token)
    assert until(device, lambda: bool(studio.injected))
    studio.hang_up()
    before = len(studio.injected)
    assert until(device, lambda: len(studio.injected) > before + 3)
    status, _, errors = running.end()

    assert status == 0
    assert "VTube Studio closed the connection" in errors
    assert studio.asked == ["token", "in", "in"]


def test_a_permission_that_was_taken_back_is_asked_for_again(
    port: int, device: AvatarPublisher, studio: Studio, token: Path
) -> None:
    running = bridge(port, studio.port, token)
    assert until(device, lambda: bool(studio.injected))
    studio.revoke()
    before = len(studio.injected)
    assert until(device, lambda: len(studio.injected) > before)
    running.end()

    assert studio.asked == ["token", "in", "out", "token", "in"]
    assert read_token(token) == studio.token


def test_a_user_who_says_no_ends_it_with_one_line(port: int, studio: Studio, token: Path) -> None:
    studio.allows = False

    running = bridge(port, studio.port, token)
    status, _, errors = running.wait()

    assert status == 1
    assert errors == "appliance: VTube Studio's user denied access; start the bridge again, click Allow\n"
    assert not token.exists()


def test_it_waits_for_a_vtube_studio_that_starts_later(port: int, device: AvatarPublisher, token: Path) -> None:
    later = free_port()
    running = bridge(port, later, token)
    assert running.process.stderr is not None
    said = running.process.stderr.readline()
    studio = Studio(port=later)
    assert until(device, lambda: bool(studio.injected))
    running.end()
    studio.close()

    assert f"ws://127.0.0.1:{later} cannot be reached" in said
    assert "is its API switched on?" in said


def test_a_token_is_never_readable_by_others_even_where_an_older_file_was(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)

    write_token(path, "new")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_token(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_token_file_that_others_may_read_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "token"
    path.write_text("abc")
    path.chmod(0o644)

    assert read_token(path) == "abc"
    assert f"chmod 600 {path}" in caplog.text


def test_a_token_that_cannot_be_read_or_kept_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff")
    with pytest.raises(ApplianceError, match="see --token-file"):
        read_token(tmp_path / "token")
    with pytest.raises(ApplianceError, match="see --token-file"):
        write_token(tmp_path / "token" / "below", "abc")
