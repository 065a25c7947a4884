from pathlib import Path

import pytest

from engines import manifest
from engines.errors import EngineError
from engines.manifest import MODELS, Model


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = (MODELS / "face_landmarks/model.toml").read_text()
    assert old in text
    path = tmp_path / "model.toml"
    path.write_text(text.replace(old, new))
    return path


def test_every_manifest_in_the_package_can_be_read() -> None:
    entries = [manifest.load(name) for name in manifest.names()]

    assert [entry.name for entry in entries] == ["astronaut", "face_detector", "face_landmarks"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('licence = "Apache-2.0"', "", "missing or unknown: licence"),
        ('licence = "Apache-2.0"', 'licence = "Apache-2.0"\nlicense = "x"', "missing or unknown: license"),
        ("size_px = 192", 'size_px = "192"', "preprocessing: size_px must be int, got '192'"),
        ("low = 0.0", "low = 0", "preprocessing: low must be float, got 0"),
        ('outside = "edge"', 'outside = "white"', "outside must be one of black, edge, got 'white'"),
        ('["batch", 3, 192, 192]', "[1, 3, 192, 192]", r"inputs\.image must be a shape such as"),
        ("landmarks = 0.4", "landmarks = true", r"tolerance\.landmarks must be float, got True"),
        ("[source.wheel]", "[source.wheels]", "missing or unknown: wheel, wheels"),
        ("low = 0.0", "low = ", "is not TOML"),
    ],
)
def test_a_wrong_manifest_is_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = changed(tmp_path, old, new)

    with pytest.raises(EngineError, match=message):
        manifest.read(path, Model)


def test_an_unknown_name_lists_those_that_are_known() -> None:
    with pytest.raises(EngineError, match="no model or asset is named 'faces'; there are: astronaut, face_detector"):
        manifest.load("faces")


def test_an_asset_is_no_network() -> None:
    with pytest.raises(EngineError, match="'astronaut' is a file used as it is, not a network"):
        manifest.load_model("astronaut")
