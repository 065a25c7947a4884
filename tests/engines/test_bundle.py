import io
import tarfile
from pathlib import Path

import pytest

from engines import bundle, manifest
from engines.bundle import read_bundle, write_bundle
from engines.errors import EngineError
from engines.fetch import is_ready


def hostile(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def plain(name: str, size: int = 10) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.usefixtures("without_network")
def test_a_bundle_carries_every_model_to_a_machine_without_a_network(models: Path, tmp_path: Path) -> None:
    write_bundle(models, manifest.names(), tmp_path / "models.tar", print)

    taken = read_bundle(tmp_path / "device", tmp_path / "models.tar", print)

    assert taken == manifest.names()
    assert all(is_ready(tmp_path / "device", name) for name in manifest.names())


def test_the_same_models_make_the_same_bundle(models: Path, tmp_path: Path) -> None:
    for name in ("first.tar", "second.tar"):
        write_bundle(models, ["face_detector", "astronaut"], tmp_path / name, print)

    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (plain("../face_detector.tflite"), "must hold plain files named"),
        (plain("/etc/passwd"), "must hold plain files named"),
        (plain("sources/face_detector.tflite"), "must hold plain files named"),
        (link("face_detector.tflite", "/etc/passwd"), "must hold plain files named"),
        (plain("face_detector.tflite"), "face_detector from .* must have SHA-256"),
        (plain("face_detector.tflite", bundle.MEMBER_LIMIT_BYTES + 1), "must be at most"),
    ],
    ids=["parent", "absolute", "nested", "link", "other content", "oversize"],
)
def test_a_hostile_bundle_is_refused_and_leaves_nothing(tmp_path: Path, member: tarfile.TarInfo, message: str) -> None:
    file = hostile(tmp_path / "hostile.tar", member)

    with pytest.raises(EngineError, match=message):
        read_bundle(tmp_path / "device", file, print)

    assert [path.name for path in (tmp_path / "device").rglob("*") if path.is_file()] == [".lock"]


def test_a_truncated_bundle_is_one_clear_line(models: Path, tmp_path: Path) -> None:
    write_bundle(models, ["face_landmarks"], tmp_path / "models.tar", print)
    whole = (tmp_path / "models.tar").read_bytes()
    (tmp_path / "models.tar").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(EngineError, match=r"the bundle .*models\.tar cannot be read: "):
        read_bundle(tmp_path / "device", tmp_path / "models.tar", print)


@pytest.mark.parametrize("content", [b"", b"not a tar file" * 100, bytes(10240)])
def test_what_is_no_bundle_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "models.tar").write_bytes(content)

    with pytest.raises(EngineError, match="the bundle"):
        read_bundle(tmp_path / "device", tmp_path / "models.tar", print)


def test_a_bundle_that_cannot_be_written_is_one_clear_line(models: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="nowhere must be a writable folder with room left"):
        write_bundle(models, ["astronaut"], tmp_path / "nowhere" / "models.tar", print)
