"""The guide for renderer authors: its programs are run as printed, its names and numbers held against the code."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from brokers import Mosquitto, a_state, free_port, publishing

from appliance.__main__ import main
from appliance.avatar.channels import BLENDSHAPES
from appliance.commands.bridge import PROTOCOLS
from appliance.publish import packed, wire
from appliance.publish.mqtt import AvatarPublisher

from .chromium import Browser
from .receivers import X, Y, Z, matrix, turn

GUIDE = (Path(wire.__file__).parent.parent / "renderers" / "README.md").read_text(encoding="utf-8")
FRAME_TOPIC = "avatar/v1/+/+/+/+/frame"
WAIT_S = 15.0


def program(name: str) -> str:
    """The code block behind the mark ``<!-- check: NAME -->``."""
    found = re.search(rf"<!-- check: {name} -->\n```\w+\n(.*?)\n```\n", GUIDE, re.DOTALL)
    assert found, f"the guide has no program {name}"
    return found[1]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """A broker as the guide sets it up: TCP, and WebSocket for browsers."""
    web = free_port()
    lines = ("allow_anonymous true", f"listener {web} 127.0.0.1", "protocol websockets")
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"), lines)
    yield broker.port, web
    broker.stop()


@contextmanager
def playing(port: int) -> Iterator[AvatarPublisher]:
    """A device that sends frames, 50 a second."""
    ended = threading.Event()
    with publishing(port) as made:

        def play() -> None:
            sequence = 0
            while not ended.wait(0.02):
                sequence += 1
                made.send(a_state(sequence=sequence))

        thread = threading.Thread(target=play)
        thread.start()
        try:
            yield made
        finally:
            ended.set()
            thread.join()


def jaw_open() -> float:
    return float(a_state().blendshapes[BLENDSHAPES.index("jawOpen")])


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("python-client", rf"lobby/orin-07/cam0/0 tracking\s+jawOpen {jaw_open():.2f}  turn \+0.13"),
        ("python-paho", rf"tracking {round(jaw_open(), 2)} \[0, 0.13\d?, 0, 0.991\]"),
    ],
)
def test_a_python_subscriber_runs_as_it_is_printed(
    ports: tuple[int, int], tmp_path: Path, name: str, line: str
) -> None:
    path = tmp_path / "subscriber.py"
    path.write_text(program(name))
    with playing(ports[0]):
        process = subprocess.Popen(
            [sys.executable, str(path), f"mqtt://127.0.0.1:{ports[0]}"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(30)]
        process.kill()
        process.communicate()

    assert all(re.fullmatch(line, each) for each in said), said


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    page = Browser(tmp_path_factory.mktemp("chromium"))
    yield page
    page.close()


def test_the_page_runs_in_a_browser_as_it_is_printed(ports: tuple[int, int], tmp_path: Path, browser: Browser) -> None:
    path = tmp_path / "avatar.html"
    path.write_text(program("browser"))
    with playing(ports[0]):
        browser.call("Page.navigate", url=f"{path.as_uri()}?broker=ws://127.0.0.1:{ports[1]}")
        browser.wait("document.getElementById('out')?.textContent.includes('jawOpen')")
        shown = browser.evaluate("document.getElementById('out').textContent")
        browser.evaluate("window.before = newest.frame.seq")
        browser.wait("newest.frame.seq > before + 20")
    browser.wait("document.getElementById('out').textContent.includes('stale')")

    assert shown.startswith(
        f"avatar/v1/lobby/orin-07/cam0/0/frame\ntracking\njawOpen {round(jaw_open(), 2)}\nhead 0,0.13"
    )
    assert browser.complaints == []


def test_the_page_reconnects_by_itself(tmp_path: Path, browser: Browser) -> None:
    web = free_port()
    lines = ("allow_anonymous true", f"listener {web} 127.0.0.1", "protocol websockets")
    broker = Mosquitto(tmp_path, lines)
    path = tmp_path / "avatar.html"
    path.write_text(program("browser"))
    try:
        with playing(broker.port):
            browser.call("Page.navigate", url=f"{path.as_uri()}?broker=ws://127.0.0.1:{web}")
            browser.wait("typeof newest !== 'undefined' && newest !== null")  # the page before may still be there
            broker.stop()
            browser.evaluate("newest = null")
            broker.start()
            browser.wait("newest !== null")
    finally:
        broker.stop()


def test_a_packed_frame_is_unpacked_in_a_browser_as_it_is_printed(browser: Browser) -> None:
    payload = packed.encode(a_state(), 1_790_000_000_000_000_000)
    frame = packed.decode(payload)
    browser.call("Page.navigate", url="about:blank")

    said = browser.evaluate(
        f"{program('packed')}; JSON.stringify(unpack(new Uint8Array({list(payload)}).buffer), "
        "(_, value) => typeof value === 'bigint' ? String(value) : value)"
    )

    read = json.loads(said)
    assert (read["state"], read["session"], read["seq"], read["speaking"]) == ("tracking", "k3f9q2", 1, True)
    assert (int(read["captured_ns"]), int(read["captured_utc_ns"])) == (frame.captured_ns, frame.captured_utc_ns)
    assert read["head"]["rotation"] == pytest.approx(frame.head.rotation)
    assert read["head"]["position"] == pytest.approx(frame.head.position_m)
    assert read["gaze"]["left"] == pytest.approx(frame.gaze.left_deg)
    assert read["gaze"]["right"] == pytest.approx(frame.gaze.right_deg)
    for name, weights in (("blendshapes", frame.blendshapes), ("visemes", frame.visemes), ("mood", frame.mood)):
        assert read[name] == pytest.approx(weights.tolist(), abs=1e-6)
    assert read["voice"] == pytest.approx({"level": frame.voice_level, "arousal": frame.voice_arousal})
    assert browser.evaluate("unpack(new ArrayBuffer(255)) ?? 'none'") == "none"


@pytest.mark.parametrize("name", ["python-paho", "browser", "unity", "godot"])
def test_every_subscriber_asks_for_the_topic_of_frames(name: str) -> None:
    example = wire.Topics("lobby", "orin-07").frame("cam0", 0)
    wanted, given = FRAME_TOPIC.split("/"), example.split("/")

    assert f'"{FRAME_TOPIC}"' in program(name)
    assert len(wanted) == len(given)
    assert all(want in ("+", have) for want, have in zip(wanted, given, strict=True))


def test_the_unity_component_has_every_field_by_its_name() -> None:
    code = program("unity")
    classes = dict(re.findall(r"public class (\w+) \{(.*?)\}", code, re.DOTALL))
    fields = {
        name: set(re.findall(r"\w+(?=[,;])", re.sub(r"public [\w\[\]]+ ", "", body))) for name, body in classes.items()
    }
    frame = wire.schema("frame")["properties"]

    assert fields["Blendshapes"] == set(BLENDSHAPES)
    assert fields["Frame"] <= set(frame)
    assert fields["Head"] == set(frame["head"]["properties"])
    assert fields["Gaze"] == set(frame["gaze"]["properties"])


@pytest.mark.parametrize("name", ["godot", "python-paho"])
def test_what_is_read_of_a_frame_is_in_its_schema(name: str) -> None:
    frame = wire.schema("frame")["properties"]
    used = re.findall(r'frame\["(\w+)"\](?:\["(\w+)"\])?', program(name))

    assert used
    for field, part in used:
        assert field in frame
        assert not part or part in frame[field]["properties"]


def test_the_frame_that_is_shown_is_one_but_for_its_shortened_tables() -> None:
    (text,) = re.findall(r'```json\n(\{"v": 1.*?)\n```', GUIDE, re.DOTALL)
    example, schema = json.loads(text), wire.schema("frame")

    assert set(example) == set(schema["required"])
    for table in ("blendshapes", "visemes", "mood"):
        assert set(example[table]) < set(schema["properties"][table]["properties"])
    whole = json.loads(wire.encode(a_state(), 0))
    assert wire.decode(
        json.dumps({**example, **{name: whole[name] for name in ("blendshapes", "visemes", "mood")}}).encode()
    )


# Of each engine: where its avatar looks, where its left and up are, and whether its axes are right-handed.
ENGINES = {
    "three.js, Godot, glTF, VRM 1": (Z, X, Y),
    "Unity": (Z, -X, Y),
    "Unreal (centimetres: times 100)": (X, -Y, Z),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_axes_of_an_engine_move_its_avatar_as_the_person_moves(engine: str) -> None:
    """A quaternion turns vectors by one formula, whatever hand the axes are of."""
    axes = GUIDE[GUIDE.index("### Axes") :]
    row = next(line for line in axes.splitlines() if line.startswith(f"| {engine} |"))
    _, _, rotation, position = (cell.strip() for cell in row.strip("|").split("|"))
    ahead, left, up = ENGINES[engine]

    def turned(axis: np.ndarray, angle_deg: float) -> np.ndarray:
        names = dict(zip("xyzw", turn(axis, angle_deg), strict=True))
        return matrix(tuple(eval(rotation, {}, names)))

    assert turned(Y, 30) @ ahead @ left == pytest.approx(0.5), "turns to its left"
    assert turned(X, 30) @ ahead @ up == pytest.approx(-0.5), "looks down"
    assert turned(Z, 30) @ up @ left == pytest.approx(-0.5), "tilts to its right"
    moved = np.array(eval(position, {}, {"x": 1.0, "y": 10.0, "z": 100.0}))
    assert (moved @ left, moved @ up, moved @ ahead) == (1.0, 10.0, 100.0)


def test_the_bridges_ports_and_options_are_those_of_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    ports = dict(re.findall(r"^\| `(\w+)` \| (?:UDP|TCP) (\d+) \|", GUIDE, re.MULTILINE))
    with pytest.raises(SystemExit):
        main(["bridge", "--help"])
    known = capfd.readouterr().out

    assert {name: int(port) for name, port in ports.items()} == {name: port for name, (port, _) in PROTOCOLS.items()}
    section = GUIDE[GUIDE.index("## Bridges") :]
    assert set(re.findall(r"`(--[\w-]+)", section)) <= set(re.findall(r"--[\w-]+", known))


def test_every_topic_is_told() -> None:
    told = GUIDE[GUIDE.index("## What comes") :]

    for leaf in (*wire.DEVICE_LEAVES, *wire.STREAM_LEAVES, "frame.bin", "cmd/NAME", "resp/NAME"):
        assert f"/{leaf}`" in told
