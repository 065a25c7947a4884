"""Avatars of the user's own, in a real browser: what drives them, what is refused, and how they look."""

import base64
import json
import math
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from appliance.avatar.channels import BLENDSHAPES
from appliance.errors import ApplianceError
from appliance.renderers import avatar_file

from . import heads
from .chromium import TOOLS, Browser
from .conftest import STREAM, Mosquitto, Publisher, Viewer, frame

SESSION = Path(__file__).parent.parent / "sessions" / "demo.jsonl"
PICTURES = Path(__file__).parent / "pictures"
PICTURE_PX = 160
VISIBLE_PIXELS = 60
SMILING = {
    **dict.fromkeys(("mouthSmileLeft", "mouthSmileRight"), 0.9),
    **dict.fromkeys(("mouthUpperUpLeft", "mouthUpperUpRight"), 0.4),
    "jawOpen": 0.5,
}
FROWNING = dict.fromkeys(("mouthFrownLeft", "mouthFrownRight", "browDownLeft", "browDownRight"), 0.8)


@pytest.fixture(scope="module")
def dressed(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """A viewer with an avatar whose targets are called as some exporters call them."""
    file = tmp_path_factory.mktemp("avatar") / "ball.glb"
    file.write_bytes(heads.head(called="Head.ARKIT_{}"))
    process = Viewer(mosquitto.url, "--avatar", str(file))
    yield process
    process.end()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    page = Browser(tmp_path_factory.mktemp("chromium"))
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    yield page
    page.close()


@pytest.fixture
def page(browser: Browser, dressed: Viewer) -> Browser:
    """The page, with the viewer's avatar on."""
    browser.open(dressed.url)
    browser.evaluate(TOOLS)
    browser.wait("avatar.model?.name === 'ball.glb'")
    return browser


def weights(page: Browser, shown: str) -> dict[str, float]:
    """What the avatar's targets come to for a frame."""
    page.evaluate(f"settle({shown}).then(() => null)")
    return dict(page.evaluate("avatar.picture().then(({ weights }) => weights)"))


def still(**parts: Any) -> str:
    return json.dumps(frame(captured_ns=1, **parts))


def difference(page: Browser, one: str, other: str) -> int:
    return int(page.evaluate(f"(async () => changed(await settle({one}), await settle({other})))()"))


def test_the_targets_follow_a_known_session(page: Browser, publisher: Publisher) -> None:
    session = [json.loads(line) for line in SESSION.read_text().splitlines()]
    expressive = sorted(session, key=lambda said: -sum(said["blendshapes"].values()))[:3]

    for said in expressive:
        publisher.send(f"{STREAM}/frame", {**frame(said["seq"]), **said})
        page.wait(f"avatar.latest?.seq === {said['seq']}")

        assert max(said["blendshapes"].values()) > 0.3
        assert weights(page, "avatar.latest") == pytest.approx(said["blendshapes"], abs=0.001)


def test_head_eyes_and_shapes_move_it(page: Browser) -> None:
    turned = {"rotation": [0.0, math.sin(0.1), 0.0, math.cos(0.1)], "position": [0.0, 0.0, -0.6]}

    assert difference(page, still(), still()) == 0
    assert difference(page, still(), still(head=turned)) > VISIBLE_PIXELS
    assert difference(page, still(), still(blendshapes={"jawOpen": 1.0})) > VISIBLE_PIXELS
    assert difference(page, still(), still(head={**turned, "position": [0.1, 0.0, -0.6]})) > VISIBLE_PIXELS


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("jawOpen", "jawOpen"),
        ("JAWOPEN", "jawOpen"),
        ("eyeBlink_L", "eyeBlinkLeft"),
        ("mouthSmile.R", "mouthSmileRight"),
        ("Face.M_F00_000_Mouth_Left", "mouthLeft"),
        ("blendShape1.browInnerUp_R", "browInnerUp"),
        ("head_cheekPuff_L", "cheekPuff"),
        ("Fcl_MTH_A", None),
        ("viseme_PP", None),
        ("", None),
    ],
)
def test_names_of_targets_are_known_as_exporters_write_them(page: Browser, name: str, shape: str | None) -> None:
    assert page.evaluate(f"import('/names.js').then(({{ shapeOf }}) => shapeOf({json.dumps(name)}))") == shape


def test_the_page_knows_the_same_shapes_as_the_contract(page: Browser) -> None:
    assert sorted(page.evaluate("import('/names.js').then(({ SHAPES }) => SHAPES)")) == sorted(BLENDSHAPES)


@pytest.mark.parametrize("kind", ["vrm0", "vrm1"])
def test_presets_of_vrm_stand_in_for_shapes_and_bones_for_looks(page: Browser, kind: heads.Kind) -> None:
    page.drop(f"{kind}.vrm", heads.head(kind))
    page.wait(f"avatar.model?.name === '{kind}.vrm'")

    said = weights(page, still(blendshapes={"jawOpen": 0.6, "eyeBlinkLeft": 1.0}, mood={"happy": 0.4}))

    assert said["vrm aa"] == pytest.approx(0.6, abs=0.001)
    assert said["vrm blinkLeft"] == pytest.approx(1.0, abs=0.001)
    assert said["vrm blinkRight"] == pytest.approx(0.0, abs=0.001)
    assert said["vrm happy"] == pytest.approx(0.4, abs=0.001)
    aside = {"left": [15.0, 0.0], "right": [15.0, 0.0]}
    assert difference(page, still(), still(gaze=aside)) > VISIBLE_PIXELS


@pytest.mark.parametrize("kind", ["arkit", "vrm0", "vrm1"])
def test_every_kind_of_file_looks_at_the_visitor(page: Browser, kind: heads.Kind) -> None:
    page.drop(f"{kind}.vrm", heads.head(kind))
    page.wait(f"avatar.model?.name === '{kind}.vrm'")

    # Pupils are seen from the front alone: as many dark pixels left of the middle as right of it, and some.
    dark = """
    const count = [0, 0];
    for (let i = 0; i < data.length; i += 4) {
      const bright = data[i] + data[i + 1] + data[i + 2];
      if (data[i + 3] > 200 && bright < 150) count[(i / 4) % 640 > 320 ? 1 : 0] += 1;
    }
    return count;
    """
    left, right = page.evaluate(f"settle({still()}).then((data) => {{ {dark} }})")

    assert left > VISIBLE_PIXELS
    assert right == pytest.approx(left, rel=0.1)


def test_a_file_without_bones_turns_as_a_whole(page: Browser) -> None:
    page.drop("stiff.glb", heads.head(bones=False))
    page.wait("avatar.model?.name === 'stiff.glb'")
    turned = {"rotation": [0.0, math.sin(0.1), 0.0, math.cos(0.1)], "position": [0.0, 0.0, -0.6]}

    assert difference(page, still(), still(head=turned)) > VISIBLE_PIXELS


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"GIF89a", "no glTF file"),
        (heads.head()[:5000], "ends too early"),
        (heads.head().replace(b'"2.0"', b'"1.0"', 1), "not glTF 2.0"),
        (
            b'{"asset":{"version":"2.0"},"extensionsRequired":["KHR_draco_mesh_compression"]}',
            "needs KHR_draco_mesh_compression; export it without compression",
        ),
        (b'{"asset":{"version":"2.0"},"buffers":[{"uri":"face.bin","byteLength":4}]}', "refers to other files"),
    ],
    ids=["a picture", "half a copy", "an old version", "compressed", "in pieces"],
)
def test_what_cannot_be_shown_is_refused_with_the_cure(page: Browser, content: bytes, reason: str) -> None:
    page.drop("mine.glb", content)

    page.wait("document.getElementById('told').textContent.includes('cannot be shown')")
    assert reason in page.evaluate("document.getElementById('told').textContent")
    assert page.evaluate("avatar.model.name") == "ball.glb"


def test_damaged_files_never_end_the_painter(page: Browser) -> None:
    whole, chance = heads.head(), random.Random(7)
    body = whole.index(b"BIN\0")

    for number in range(20):
        damaged = bytearray(whole)
        for _ in range(40):
            damaged[chance.randrange(12, body if number % 2 else len(whole))] = chance.randrange(256)
        page.evaluate("avatar.model = 'old'; document.getElementById('told').textContent = ''; null")
        page.drop("damaged.glb", bytes(damaged))
        page.wait("avatar.model !== 'old' || told.textContent.includes('cannot be shown')")

    drawn = page.evaluate("avatar.drawn")
    page.wait(f"avatar.drawn > {drawn} + 2")


def test_our_own_head_comes_back_at_a_click(page: Browser) -> None:
    page.evaluate("document.getElementById('own').click()")

    page.wait("avatar.model === null && !document.body.classList.contains('modelled')")
    assert page.evaluate("document.getElementById('own').hidden") is True


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.fbx", b"", r"--avatar takes a \.glb, \.vrm, \.gltf file, got a.fbx"),
        ("a.glb", None, "cannot read --avatar .*: No such file"),
        ("a.glb", b"GIF89a", "no binary glTF file; export the avatar"),
        ("a.glb", struct.pack("<4sII", b"glTF", 1, 12), "glTF version 1; export the avatar as glTF 2.0"),
        ("a.vrm", heads.head()[:1000], "ends after 1000 of .* bytes; copy it again"),
        ("a.gltf", b"{}", "no glTF file"),
        ("a.gltf", b'{"asset":{"version":"1.0"}}', "glTF version 1.0"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_served(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(ApplianceError, match=message):
        avatar_file.find(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "shapes", "own"),
    [("rest", {}, True), ("smile", SMILING, True), ("frown", FROWNING, True), ("ball", SMILING, False)],
    ids=["rest", "smile", "frown", "a file"],
)
def test_faces_look_as_they_did(
    page: Browser, name: str, shapes: dict[str, float], own: bool, request: pytest.FixtureRequest
) -> None:
    if own:
        page.evaluate("document.getElementById('own').click()")
        page.wait("avatar.model === null")

    seen = picture(page, still(blendshapes=shapes))

    assert (seen[..., 3] > 200).mean() > 0.2
    golden = PICTURES / f"{name}.png"
    if request.config.getoption("--update-golden"):
        golden.write_bytes(cv2.imencode(".png", seen)[1].tobytes())
    apart = np.abs(seen.astype(int) - decoded(golden.read_bytes()).astype(int)).max(axis=2)
    # Browsers differ at edges, by less than a stroke's width: a few pixels of a hundred, and little on the whole.
    assert (apart > 64).mean() < 0.02
    assert apart.mean() < 4


def picture(page: Browser, shown: str) -> npt.NDArray[np.uint8]:
    """The drawing of a frame: PICTURE_PX squared, BGRA."""
    script = f"""(async () => {{
      await settle({shown});
      const {{ picture }} = await avatar.picture();
      const {{ width, height }} = picture, small = new OffscreenCanvas({PICTURE_PX}, {PICTURE_PX});
      const look = small.getContext("2d");
      look.imageSmoothingQuality = "high";
      look.drawImage(picture, (width - height) / 2, 0, height, height, 0, 0, {PICTURE_PX}, {PICTURE_PX});
      const bytes = new Uint8Array(await (await small.convertToBlob()).arrayBuffer());
      return btoa(String.fromCharCode(...bytes));
    }})()"""
    return decoded(base64.b64decode(page.evaluate(script)))


def decoded(png: bytes) -> npt.NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.asarray(image, np.uint8)
