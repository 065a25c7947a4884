import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from engines import fetch, manifest
from engines.errors import EngineError
from engines.fetch import asset_path, ensure, is_ready, locked, model_path

ENSURE = """
import sys
from pathlib import Path
from engines.fetch import ensure
ensure(Path(sys.argv[1]), sys.argv[2:], lambda line: print(line, flush=True))
"""


def fetching(directory: Path, *names: str) -> subprocess.Popen[str]:
    """Fetch in another process, whose lines can be read as they come."""
    return subprocess.Popen(
        [sys.executable, "-c", ENSURE, str(directory), *names],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def spoil(path: Path) -> None:
    """Flip one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def mediapipe_wheel(shelf: Path) -> Path:
    (path,) = shelf.glob("mediapipe*.whl")
    return path


def test_everything_is_fetched_verified_and_converted_once(shelf: Path, tmp_path: Path) -> None:
    said: list[str] = []

    ensure(tmp_path / "models", manifest.names(), said.append)
    ensure(tmp_path / "models", manifest.names(), said.append)

    assert said == [
        "downloading scikit-image 0.25.2",
        "downloading mediapipe 0.10.21",
        "converting face_detector",
        "converting face_landmarks",
    ]
    assert model_path(tmp_path / "models", "face_detector").name == "face_detector.onnx"
    assert asset_path(tmp_path / "models", "astronaut").suffix == ".png"
    assert not list((tmp_path / "models").glob(".aside-*"))


@pytest.mark.parametrize("damage", ["spoilt", "truncated", "no record", "older converter"])
def test_a_damaged_model_is_not_loaded_and_is_made_again_without_a_network(
    shelf: Path, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure(tmp_path, ["face_detector"], print)
    path = model_path(tmp_path, "face_detector")
    record = path.with_name("face_detector.onnx.json")
    if damage == "spoilt":
        spoil(path)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "no record":
        record.unlink()
    else:
        record.write_text(json.dumps(json.loads(record.read_text()) | {"converter": 0}))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))

    with pytest.raises(EngineError, match=r"face_detector is corrupt at .*appliance models fetch"):
        model_path(tmp_path, "face_detector")
    ensure(tmp_path, ["face_detector"], print)

    assert model_path(tmp_path, "face_detector") == path


def test_a_spoilt_source_is_fetched_again(shelf: Path, tmp_path: Path) -> None:
    ensure(tmp_path, ["astronaut"], print)
    spoil(asset_path(tmp_path, "astronaut"))

    assert not is_ready(tmp_path, "astronaut")
    ensure(tmp_path, ["astronaut"], print)

    assert is_ready(tmp_path, "astronaut")


def test_what_is_absent_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"face_landmarks is absent at .*fetch it with: appliance models fetch"):
        model_path(tmp_path, "face_landmarks")


def test_a_wheel_with_other_content_is_refused_and_nothing_is_kept(shelf: Path, tmp_path: Path) -> None:
    member = manifest.load("face_detector").source.member
    wheel = mediapipe_wheel(shelf)
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, b"another" if name == member else content)

    with pytest.raises(EngineError, match=r"face_detector from mediapipe 0\.10\.21 must have SHA-256 bbff11.*, got "):
        ensure(tmp_path / "models", ["face_detector"], print)

    assert not list((tmp_path / "models").rglob("*.tflite"))


def test_a_wheel_without_the_file_is_one_clear_line(shelf: Path, tmp_path: Path) -> None:
    member = manifest.load("face_detector").source.member
    wheel = mediapipe_wheel(shelf)
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist() if name != member}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)

    with pytest.raises(EngineError, match=r"must contain .*short_range\.tflite and does not"):
        ensure(tmp_path / "models", ["face_detector"], print)


def test_a_truncated_download_is_one_clear_line(shelf: Path, tmp_path: Path) -> None:
    wheel = mediapipe_wheel(shelf)
    wheel.write_bytes(wheel.read_bytes()[:100_000])

    with pytest.raises(EngineError, match=r"mediapipe.0\.10\.21.* --bundle FILE"):
        ensure(tmp_path / "models", ["face_detector"], print)

    assert not list((tmp_path / "models").rglob("*.tflite"))


@pytest.mark.usefixtures("without_network")
def test_without_a_network_the_error_names_the_bundle(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        ensure(tmp_path, ["face_detector"], print)

    message = str(caught.value)
    assert message.startswith("pip cannot download mediapipe 0.10.21: ")
    assert message.endswith("appliance models fetch --bundle FILE")
    assert "\n" not in message


def test_without_pip_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(EngineError, match=r"needs pip, which .* has not; install it with: .* -m ensurepip"):
        ensure(tmp_path, ["face_detector"], print)


@pytest.mark.parametrize("blocked", ["models", "models/sources"])
def test_a_folder_that_cannot_be_written_is_one_clear_line(shelf: Path, tmp_path: Path, blocked: str) -> None:
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).touch()

    with pytest.raises(EngineError, match="models must be a writable folder with room left"):
        ensure(tmp_path / "models", ["face_detector"], print)


def test_a_second_process_waits_for_the_first_and_then_finds_all_done(shelf: Path, tmp_path: Path) -> None:
    with locked(tmp_path, print):
        waiting = fetching(tmp_path, "face_detector")
        assert waiting.stdout is not None
        first_line = waiting.stdout.readline()
        fetch.keep_source(
            tmp_path,
            manifest.load("face_detector"),
            zipfile.ZipFile(mediapipe_wheel(shelf)).read(manifest.load("face_detector").source.member),
            "the shelf",
        )
        fetch.convert_missing(tmp_path, [manifest.load("face_detector")], print)
    rest, errors = waiting.communicate(timeout=60)

    assert first_line == "waiting for another process that is fetching models\n"
    assert (waiting.returncode, rest, errors) == (0, "", "")


@pytest.mark.parametrize("line", ["downloading mediapipe 0.10.21\n", "converting face_detector\n"])
def test_a_kill_at_any_step_leaves_nothing_half(shelf: Path, tmp_path: Path, line: str) -> None:
    models = tmp_path / "models"
    killed = fetching(models, "face_detector")
    assert killed.stdout is not None
    while killed.stdout.readline() != line:
        assert killed.poll() is None
    killed.kill()
    killed.communicate(timeout=60)

    with pytest.raises(EngineError, match="is absent"):
        model_path(models, "face_detector")
    ensure(models, ["face_detector"], print)

    assert is_ready(models, "face_detector")
    assert not list(models.glob(".aside-*"))
