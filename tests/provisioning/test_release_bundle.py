"""Bundles: what is signed is what is installed, and nothing else is."""

import io
import json
import platform
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioning.bundle import BundleError, lacking, read, sign, write
from provisioning.keeper.releases import Disk, Keeper, KeeperError
from provisioning.keeper.unpacking import SIGNERS, checked_manifest, install, unpack

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
TARGET = {"name": "here", "arch": platform.machine(), "python": HERE}


def read_member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return made_key(tmp_path / "release")


def made_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


@pytest.fixture
def bundle(tmp_path: Path, key: Path) -> Path:
    folder = tmp_path / "inside"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels/a.whl").write_bytes(b"wheel " * 100)
    (folder / "systemd/mosquitto").mkdir(parents=True)
    (folder / "systemd/mosquitto/acl").write_text("user operator\n")
    about = {"version": "1.0", "target": TARGET, "packages": ["openssl"], "install": ["wheels/a.whl"]}
    write(folder, tmp_path / "a.bundle", key, about)
    return tmp_path / "a.bundle"


@pytest.fixture
def signers(tmp_path: Path, key: Path) -> Path:
    path = tmp_path / "device" / SIGNERS
    path.parent.mkdir(parents=True)
    path.write_text(f'release namespaces="avatar-bundle" {key.with_suffix(".pub").read_text()}')
    return path


def taken(bundle: Path, signers: Path, folder: Path) -> list[str]:
    with tarfile.open(bundle, "r:") as archive:
        manifest, _ = checked_manifest(archive, signers)
        unpack(archive, manifest, folder)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def rewritten(bundle: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    """The bundle with each member passed through ``change``; ``None`` leaves it out."""
    with tarfile.open(bundle) as archive:
        members = [(member.name, read_member(archive, member.name)) for member in archive]
    with tarfile.open(bundle, "w") as archive:
        for name, content in filter(None, (change(*member) for member in members)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return bundle


def test_what_was_signed_is_unpacked(bundle: Path, signers: Path, tmp_path: Path) -> None:
    assert taken(bundle, signers, tmp_path / "out") == ["systemd/mosquitto/acl", "wheels/a.whl"]
    assert read(bundle).system == {"mosquitto/acl": "user operator\n"}


def test_a_strangers_signature_is_refused(bundle: Path, signers: Path, tmp_path: Path) -> None:
    stranger = made_key(tmp_path / "stranger")
    manifest = b""

    def signed_anew(name: str, content: bytes) -> tuple[str, bytes]:
        nonlocal manifest
        manifest = content if name == "manifest.json" else manifest
        return (name, sign(manifest, stranger)) if name.endswith(".sig") else (name, content)

    with pytest.raises(KeeperError, match="not of a signer that this device trusts"):
        taken(rewritten(bundle, signed_anew), signers, tmp_path / "out")


def test_a_signature_for_another_purpose_is_refused(bundle: Path, signers: Path, key: Path, tmp_path: Path) -> None:
    with tarfile.open(bundle) as archive:
        manifest = read_member(archive, "manifest.json")
    (tmp_path / "m").write_bytes(manifest)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", "git", str(tmp_path / "m")], check=True)
    other = (tmp_path / "m.sig").read_bytes()

    with pytest.raises(KeeperError, match="not of a signer"):
        taken(rewritten(bundle, lambda n, c: (n, other if n.endswith(".sig") else c)), signers, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda n, c: (n, c.replace(b"1.0", b"9.9") if n == "manifest.json" else c), "not of a signer"),
        (lambda n, c: None if n.endswith(".sig") else (n, c), "manifest.json.sig is missing"),
        (lambda n, c: None if n == "manifest.json" else (n, c), "manifest.json is missing"),
        (lambda n, c: (n, c.replace(b"wheel", b"Wheel") if n.endswith(".whl") else c), "was changed"),
        (lambda n, c: (n, c[:-1] if n.endswith(".whl") else c), "was changed"),
        (lambda n, c: None if n.endswith(".whl") else (n, c), "lacks wheels/a.whl"),
        (lambda n, c: ("../../evil" if n.endswith(".whl") else n, c), "does not name as a file"),
        (lambda n, c: ("/etc/passwd" if n.endswith(".whl") else n, c), "does not name as a file"),
    ],
)
def test_whatever_was_changed_is_refused(
    bundle: Path, signers: Path, tmp_path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None], told: str
) -> None:
    with pytest.raises(KeeperError, match=told):
        taken(rewritten(bundle, change), signers, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_a_link_in_place_of_a_file_is_refused(bundle: Path, signers: Path, tmp_path: Path) -> None:
    rewritten(bundle, lambda n, c: None if n.endswith(".whl") else (n, c))
    with tarfile.open(bundle, "a") as archive:
        info = tarfile.TarInfo("wheels/a.whl")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/shadow"
        archive.addfile(info)

    with pytest.raises(KeeperError, match="does not name as a file"):
        taken(bundle, signers, tmp_path / "out")


def test_a_manifest_that_names_a_way_out_is_refused_though_it_is_signed(
    key: Path, signers: Path, tmp_path: Path
) -> None:
    described = {"sha256": "0" * 64, "size": 1}
    manifest = json.dumps({"format": 1, "files": {"../out-of-here": described}}).encode()
    with tarfile.open(tmp_path / "x.bundle", "w") as archive:
        for name, content in (
            ("manifest.json", manifest),
            ("manifest.json.sig", sign(manifest, key)),
            ("../out-of-here", b"x"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

    with pytest.raises(KeeperError, match="does not name as a file"):
        taken(tmp_path / "x.bundle", signers, tmp_path / "out")
    assert not (tmp_path / "out-of-here").exists()


def test_half_a_bundle_is_refused(bundle: Path, signers: Path, tmp_path: Path) -> None:
    bundle.write_bytes(bundle.read_bytes()[:3000])

    with pytest.raises((KeeperError, tarfile.TarError)):
        taken(bundle, signers, tmp_path / "out")
    with pytest.raises(BundleError):
        read(tmp_path / "nothing.bundle")


def test_a_bundle_for_another_board_is_refused(tmp_path: Path, key: Path, signers: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    other = {"name": "jetpack6", "arch": "riscv64", "python": "3.10"}
    write(folder, tmp_path / "b.bundle", key, {"version": "1.0", "target": other, "packages": [], "install": []})
    device = Keeper(signers.parents[2], Disk(), lambda command: subprocess.CompletedProcess(command, 0, "", ""))
    device.home.mkdir(parents=True)

    with pytest.raises(KeeperError, match=f"is for riscv64 with Python 3.10, this device is {platform.machine()}"):
        install(tmp_path / "b.bundle", device, lambda _: None)
    assert device.installed() == {}


def test_without_signers_nothing_is_trusted(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(KeeperError, match="nobody may sign"):
        taken(bundle, tmp_path / "none", tmp_path / "out")


def test_what_another_python_needs_is_missed_though_this_one_does_not_need_it(tmp_path: Path) -> None:
    needs = ("tomli>=2; python_version < '3.11'", "b; extra == 'x'")
    metadata = "Metadata-Version: 2.1\nName: a\n" + "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(tmp_path / "a-1-py3-none-any.whl", "w") as archive:
        archive.writestr("a-1.dist-info/METADATA", metadata)

    assert lacking(tmp_path, {"python_version": "3.10", "extra": ""}) == ["tomli>=2"]
    assert lacking(tmp_path, {"python_version": "3.12", "extra": ""}) == []
