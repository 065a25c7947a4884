"""The bundle: one file with everything a release needs, hashed and signed, made where there is a network.

A tar file: ``manifest.json``, its signature by ``ssh-keygen -Y`` (so that a device with OpenSSH can check it,
and a security key or an agent can sign), then the files that the manifest names. ``keeper/unpacking.py`` reads it.
"""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from provisioning.desired import Content
from provisioning.errors import ProvisioningError

NAMESPACE = "avatar-bundle"
_LARGEST_MANIFEST = 4 << 20
_PROJECT = ("setup.py", "MANIFEST.in", "README.md", "appliance", "calibration", "engines", "provisioning", "systemd")

Say = Callable[[str], None]


class BundleError(ProvisioningError):
    """A bundle cannot be made or read."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What a technician adds to a bundle."""

    models: Path | None = None  # what `appliance models fetch --bundle FILE` wrote
    packages: Path | None = None  # folder of .deb files
    wheels: Path | None = None  # folder of wheels that had to be built on a device


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of device: which wheels run there, and which system packages it lacks as it comes."""

    arch: str
    python: str
    glibc: tuple[int, int]
    packages: tuple[str, ...]


TARGETS = {
    "jetpack6": Target("aarch64", "3.10", (2, 35), ("libasound2", "openssl")),
    "jetpack7": Target("aarch64", "3.12", (2, 39), ("libasound2t64", "openssl")),
    "debian12": Target("x86_64", "3.11", (2, 36), ("libasound2", "openssl")),
    "debian12-arm": Target("aarch64", "3.11", (2, 36), ("libasound2", "openssl")),
    "ubuntu2404": Target("x86_64", "3.12", (2, 39), ("libasound2t64", "openssl")),
}


def make(source: Path, target_name: str, output: Path, key: Path, brought: Brought, say: Say) -> Path:
    """Gather everything for a kind of device and write the signed bundle; answer its path."""
    target = TARGETS[target_name]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheels = folder / "wheels"
        say("building the wheel")
        _pip("wheel", "--no-deps", "--wheel-dir", str(wheels), str(_copied(source, folder / "source")))
        shutil.rmtree(folder / "source")
        project = next(wheels.glob("avatar_appliance-*.whl"))
        say(f"fetching wheels for {target.arch}, Python {target.python}")
        _pip("download", "--dest", str(wheels), *_platform(target), str(project))
        _complete(wheels, target)
        for wheel in _files(brought.wheels, "*.whl"):
            shutil.copy(wheel, wheels)
        installed = sorted(f"wheels/{path.name}" for path in wheels.glob("*.whl"))
        _pip("download", "--dest", str(wheels), "--no-deps", *_platform(target), "pip")
        if brought.models is not None:
            shutil.copy(brought.models, folder / "models.tar")
        _copy_texts(source / "systemd", folder / "systemd")
        for deb in _files(brought.packages, "*.deb"):
            (folder / "packages").mkdir(exist_ok=True)
            (folder / "packages" / deb.name).write_bytes(deb.read_bytes())
        version = project.name.split("-")[1]
        path = output / f"avatar-appliance-{version}-{target_name}.bundle"
        about = {"target": {"name": target_name, "arch": target.arch, "python": target.python}}
        write(folder, path, key, {**about, "version": version, "packages": target.packages, "install": installed})
    say(f"wrote {path}, {path.stat().st_size / 1e6:.0f} MB")
    return path


def _files(folder: Path | None, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern)) if folder else []


def _complete(wheels: Path, target: Target) -> None:
    """Fetch what the target's Python needs and this laptop's does not: pip judges conditions by its own Python."""
    environment = {"python_version": target.python, "python_full_version": f"{target.python}.0"}
    environment |= {"platform_machine": target.arch, "sys_platform": "linux", "extra": ""}
    while missing := lacking(wheels, environment):
        _pip("download", "--dest", str(wheels), "--no-deps", *_platform(target), *missing)


def lacking(wheels: Path, environment: dict[str, str]) -> list[str]:
    """What the wheels of a folder need in an environment (PEP 508) and none of them is."""
    found = {canonicalize_name(path.name.split("-")[0]) for path in wheels.glob("*.whl")}
    wanted = {}
    for path in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            lines = Parser().parsestr(archive.read(name).decode("utf-8")).get_all("Requires-Dist") or []
        for needed in map(Requirement, lines):
            if needed.marker is None or needed.marker.evaluate(environment):
                wanted[canonicalize_name(needed.name)] = f"{needed.name}{needed.specifier}"
    return [text for name, text in wanted.items() if name not in found]


def write(folder: Path, path: Path, key: Path, about: dict[str, Any]) -> None:
    """Write the files of a folder as a signed bundle; ``about`` is the rest of its manifest."""
    files = sorted(entry for entry in folder.rglob("*") if entry.is_file())
    named = {str(entry.relative_to(folder)): _described(entry) for entry in files}
    manifest = json.dumps({"format": 1, **about, "files": named}, indent=1, sort_keys=True).encode()
    aside = path.with_name(f".{path.name}.aside")
    with tarfile.open(aside, "w") as archive:
        for name, content in (("manifest.json", manifest), ("manifest.json.sig", sign(manifest, key))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name in named:
            archive.add(folder / name, name)
    aside.replace(path)


def sign(content: bytes, key: Path) -> bytes:
    """An SSH signature of some bytes; a passphrase is asked for by ssh-keygen itself."""
    with tempfile.TemporaryDirectory() as folder:
        signed = Path(folder) / "content"
        signed.write_bytes(content)
        done = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(signed)], check=False
        )
        if done.returncode:
            raise BundleError(
                f"{key} cannot sign; it must be a private key of ssh-keygen: ssh-keygen -t ed25519 -f {key}"
            )
        return signed.with_name("content.sig").read_bytes()


def read(path: Path) -> Content:
    """What a bundle holds, without unpacking it. The device checks the signature; here nothing is run."""
    try:
        with tarfile.open(path, "r:") as archive:
            text = _member(archive, archive.next(), "manifest.json")
            manifest = json.loads(text)
            if manifest.get("format") != 1:
                raise BundleError(f"{path} must be a bundle of format 1, got {manifest.get('format')!r}")
            system = {
                member.name.removeprefix("systemd/"): _member(archive, member, member.name).decode()
                for member in archive
                if member.name.startswith("systemd/") and member.name in manifest["files"]
            }
    except (tarfile.TarError, OSError, ValueError, KeyError) as error:
        raise BundleError(f"{path} is not a whole bundle: {error}; make it with: appliance-provision bundle") from None
    sha256 = hashlib.sha256(text).hexdigest()
    return Content(manifest["version"], manifest["target"], tuple(manifest["packages"]), sha256, system)


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo | None, name: str) -> bytes:
    file = archive.extractfile(member) if member is not None and member.name == name else None
    if member is None or file is None or member.size > _LARGEST_MANIFEST:
        raise BundleError(f"the bundle has no {name} where it belongs")
    return file.read()


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return {"sha256": digest.hexdigest(), "size": path.stat().st_size}


def _copied(source: Path, target: Path) -> Path:
    """The project's own files, aside: building leaves traces where it is done."""
    if not (source / "setup.py").is_file():
        raise BundleError(f"--source must be the folder of the project, with its setup.py, got {source}")
    target.mkdir()
    for name in _PROJECT:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source / name, target / name)
    return target


def _copy_texts(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")


def _platform(target: Target) -> Iterable[str]:
    """pip's options for wheels of another machine: every glibc up to the target's."""
    major, newest = target.glibc
    tags = [f"manylinux_{major}_{minor}_{target.arch}" for minor in range(newest, 16, -1)]
    tags += [f"manylinux2014_{target.arch}", f"linux_{target.arch}"]
    yield from ("--only-binary=:all:", "--implementation=cp", f"--python-version={target.python}")
    yield from (f"--platform={tag}" for tag in tags)
    yield from (f"--abi={abi}" for abi in (f"cp{target.python.replace('.', '')}", "abi3", "none"))


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", words[0], "--quiet", "--disable-pip-version-check", *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise BundleError(f"pip {words[0]} failed: {lines[-1]}")
