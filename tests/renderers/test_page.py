"""The page in a real browser: what it draws, and what it says when nothing comes."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.avatar.channels import BLENDSHAPES

from .chromium import TOOLS, Browser
from .conftest import STREAM, Mosquitto, Publisher, Viewer, frame

VISIBLE_PIXELS = 60  # of 640 x 640: a quarter of a percent of the face, less than its nostrils


@pytest.fixture(scope="module")
def browser(viewer: Viewer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    page = Browser(tmp_path_factory.mktemp("chromium"))
    # Breath and swaying hair stand still, so that a picture depends on the frame alone.
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    yield page
    page.close()


@pytest.fixture
def page(browser: Browser, viewer: Viewer) -> Browser:
    """The page, which shows what a test gives it."""
    browser.complaints.clear()
    browser.show(viewer.url + "?mirror=1")
    browser.evaluate(TOOLS)
    return browser


def still(**parts: Any) -> str:
    """A frame whose drawing is reached at once, as a script."""
    return json.dumps(frame(captured_ns=1, **parts))


def difference(page: Browser, one: str, other: str, span: str = "0, 640") -> int:
    """How many pixels two frames' drawings differ in."""
    return int(page.evaluate(f"(async () => changed(await settle({one}), await settle({other}), {span}))()"))


def inside(page: Browser, **shapes: float) -> int:
    """How many pixels of teeth or of the dark between them a mouth shows."""
    count = """
    let count = 0;
    for (let y = 330; y < 470; y++) for (let x = 240; x < 400; x++) {
      const [r, g, b] = data.subarray(4 * (640 * y + x));
      const most = Math.max(r, g, b), least = Math.min(r, g, b);
      if (most < 80 || (most > 100 && most - least < 30)) count += 1;
    }
    return count;
    """
    return int(page.evaluate(f"(async () => {{ const data = await settle({still(blendshapes=shapes)}); {count} }})()"))


def turned(axis: int, angle_deg: float) -> dict[str, list[float]]:
    rotation = [0.0, 0.0, 0.0, math.cos(math.radians(angle_deg) / 2)]
    rotation[axis] = math.sin(math.radians(angle_deg) / 2)
    return {"rotation": rotation, "position": [0.0, 0.0, -0.6]}


def test_the_page_shows_a_published_frame_without_complaint(
    page: Browser, viewer: Viewer, publisher: Publisher
) -> None:
    page.open(viewer.url)
    page.wait("document.getElementById('link').textContent === 'live'")

    publisher.send(f"{STREAM}/frame", frame(41, blendshapes={"jawOpen": 0.5}))

    page.wait("avatar.latest?.seq === 41")
    page.wait("document.getElementById('state').textContent === 'Tracking'")
    page.wait("document.getElementById('shapes').textContent.includes('jaw open')")
    assert float(page.evaluate("document.getElementById('latency').textContent")) > 0
    assert page.complaints == []


def test_every_shape_changes_the_drawing(page: Browser) -> None:
    rest = page.evaluate(f"(async () => {{ window.rest = await settle({still()}); return rest.length; }})()")
    assert rest == 640 * 640 * 4
    assert page.evaluate(f"(async () => changed(rest, await settle({still()})))()") == 0

    seen = {
        shape: page.evaluate(f"(async () => changed(rest, await settle({still(blendshapes={shape: 1.0})})))()")
        for shape in BLENDSHAPES
    }

    assert {shape: pixels for shape, pixels in seen.items() if pixels < VISIBLE_PIXELS} == {}
    assert page.complaints == []


@pytest.mark.parametrize(
    "parts",
    [
        {"head": turned(0, 10)},
        {"head": turned(1, 10)},
        {"head": turned(2, 10)},
        {"head": {"rotation": [0, 0, 0, 1], "position": [0.05, 0.0, -0.6]}},
        {"head": {"rotation": [0, 0, 0, 1], "position": [0.0, 0.05, -0.6]}},
        {"head": {"rotation": [0, 0, 0, 1], "position": [0.0, 0.0, -0.4]}},
        {"gaze": {"left": [12.0, 0.0], "right": [0.0, 0.0]}},
        {"gaze": {"left": [0.0, 0.0], "right": [0.0, 8.0]}},
        {"voice": {"active": True, "level": 0.8, "arousal": 0.5}},
    ],
    ids=["nod", "shake", "tilt", "aside", "up", "near", "left eye", "right eye", "voice"],
)
def test_head_gaze_and_voice_change_the_drawing(page: Browser, parts: dict[str, Any]) -> None:
    assert difference(page, still(), still(**parts)) > VISIBLE_PIXELS


def test_gaze_told_twice_moves_the_eyes_once(page: Browser) -> None:
    gaze = {"left": [15.0, 0.0], "right": [15.0, 0.0]}
    shapes = {"eyeLookOutLeft": 0.4, "eyeLookInRight": 0.4}

    assert difference(page, still(gaze=gaze), still(gaze=gaze, blendshapes=shapes)) == 0


def test_the_avatar_is_a_mirror_until_told_otherwise(page: Browser) -> None:
    wink = still(blendshapes={"eyeBlinkLeft": 1.0})
    left, right = "0, 320", "320, 640"

    assert difference(page, still(), wink, left) > VISIBLE_PIXELS
    assert difference(page, still(), wink, right) == 0
    page.press("m")
    assert difference(page, still(), wink, left) == 0
    assert difference(page, still(), wink, right) > VISIBLE_PIXELS
    page.press("m")


def test_without_frames_the_avatar_dims_and_says_so_until_they_return(page: Browser) -> None:
    page.evaluate(f"avatar.apply({still()})")
    page.wait("!document.body.classList.contains('stale')")
    assert page.evaluate("document.getElementById('notice').hidden") is True

    page.wait("document.body.classList.contains('stale')")

    assert page.evaluate("document.getElementById('notice').offsetHeight") > 0
    assert page.evaluate("document.getElementById('notice').textContent").strip()
    assert page.evaluate("document.getElementById('state').textContent") == "No frames"
    page.evaluate(f"avatar.apply({still()})")
    page.wait("!document.body.classList.contains('stale') && document.getElementById('notice').hidden")


def test_a_voice_alone_is_drawn(page: Browser, viewer: Viewer, publisher: Publisher) -> None:
    said = frame(5, state="voice", blendshapes={"jawOpen": 0.7}, voice={"active": True, "level": 0.5, "arousal": 0.5})
    spoken = {key: value for key, value in said.items() if key not in ("head", "gaze", "mood")}
    page.open(viewer.url + "?stream=lobby/orin-07/mic0/0")

    publisher.send("avatar/v1/lobby/orin-07/mic0/0/frame", spoken)

    page.wait("document.getElementById('state').textContent === 'Voice only'")
    page.evaluate(TOOLS)
    assert difference(page, still(), json.dumps(spoken)) > VISIBLE_PIXELS
    assert page.complaints == []


def test_one_of_several_devices_is_chosen_from_a_list(page: Browser, viewer: Viewer, publisher: Publisher) -> None:
    page.open(viewer.url)
    devices = ("lobby/orin-21", "hall/orin-22")
    for device in devices:
        publisher.send(f"avatar/v1/{device}/cam0/0/frame", frame(1, session=device[-2:]))
    page.wait("[...chooser.options].filter((option) => option.value.includes('orin-2')).length === 2")

    page.evaluate("chooser.value = 'hall/orin-22/cam0/0'; chooser.dispatchEvent(new Event('change')); null")
    for seq in (2, 3):
        for device in devices:
            publisher.send(f"avatar/v1/{device}/cam0/0/frame", frame(seq, session=device[-2:]))

    page.wait("avatar.latest.session === '22' && avatar.latest.seq === 3")
    page.wait("chooser.selectedOptions[0].textContent === 'hall/orin-22 · cam0/0'")


def test_the_panel_hides_on_a_key(page: Browser) -> None:
    assert page.evaluate("document.getElementById('panel').offsetWidth") > 0
    page.press("h")
    assert page.evaluate("document.getElementById('panel').offsetWidth") == 0
    page.press("h")
    assert page.evaluate("document.getElementById('panel').offsetWidth") > 0


def test_a_kiosk_shows_the_avatar_alone_without_a_cursor_and_numbers_on_a_key(page: Browser, viewer: Viewer) -> None:
    page.open(viewer.url + "?kiosk=1")

    assert page.evaluate("[innerWidth, innerHeight].join()") == page.evaluate(
        "[stage.clientWidth, stage.clientHeight].join()"
    )
    assert page.evaluate("getComputedStyle(stage).cursor") == "none"
    assert (
        page.evaluate("[...document.querySelectorAll('.panel, .tools, .numbers')].map((e) => e.offsetWidth)") == [0] * 3
    )
    page.press("n")
    page.evaluate(f"avatar.apply({still(blendshapes={'jawOpen': 0.5})})")
    page.wait("document.getElementById('numbers').textContent.includes('0.50 jawOpen')")


@pytest.mark.parametrize("size", [(390, 844), (844, 390)], ids=["phone", "phone on its side"])
def test_everything_fits_on_a_screen(page: Browser, viewer: Viewer, size: tuple[int, int]) -> None:
    width, height = size
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
    try:
        page.open(viewer.url)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("stage.clientHeight") >= 0.45 * height
        outside = f"""[...document.querySelectorAll('.card, .tools button, #stage')].filter((element) => {{
          const {{ left, right }} = element.getBoundingClientRect();
          return left < 0 || right > {width};
        }}).length"""
        assert page.evaluate(outside) == 0
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")


def test_a_kiosk_finds_its_viewer_and_its_broker_again(browser: Browser, tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    viewer = Viewer(broker.url)
    try:
        browser.open(viewer.url + "?kiosk=1")
        browser.wait("document.getElementById('link').textContent === 'live'")

        broker.stop()
        browser.wait("document.getElementById('notice-title').textContent === 'Waiting for the broker'")
        broker.start()
        browser.wait("document.getElementById('link').textContent === 'live'")

        viewer.end()
        browser.wait("document.getElementById('notice-title').textContent === 'Reconnecting'")
        viewer = Viewer(broker.url, "--port", viewer.url.rstrip("/").rpartition(":")[2])
        browser.wait("document.getElementById('link').textContent === 'live'")
        device = Publisher(broker.port)
        device.send(f"{STREAM}/frame", frame(77))
        device.close()
        browser.wait("avatar.latest?.seq === 77")
    finally:
        viewer.end()
        broker.stop()


@pytest.mark.parametrize("jaw", [0.3, 0.6])
def test_lips_meet_over_an_open_jaw_at_as_much_mouth_close(page: Browser, jaw: float) -> None:
    opened, half, closed = (inside(page, jawOpen=jaw, mouthClose=part * jaw) for part in (0, 0.5, 1))

    assert opened > half > closed
    assert closed <= inside(page)
