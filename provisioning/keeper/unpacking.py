"""Install a release from a bundle: nothing of it is used before its signature and hashes were checked.

A bundle is a tar file: ``manifest.json``, its signature, then the files that the manifest names. A release is
the virtual environment in ``releases/<version>``; it counts as installed when ``release.json`` is in it, which
is written last. What a cut left behind is removed and begun again.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any

from .releases import Keeper, KeeperError

SIGNERS = "etc/avatar-appliance/bundle.signers"
NAMESPACE = "avatar-bundle"
IDENTITY = "release"
_LARGEST_MANIFEST = 4 << 20
_ROOM = 4  # an installed release takes about this many times its bundle

Say = Callable[[str], None]
Manifest = dict[str, Any]


def install(bundle: Path, keeper: Keeper, say: Say) -> None:
    """Check a bundle and install its release beside the others."""
    with _opened(bundle) as archive:
        manifest, manifest_sha256 = checked_manifest(archive, keeper.root / SIGNERS)
        release = keeper.home / "releases" / manifest["version"]
        if keeper.installed().get(manifest["version"]) == manifest_sha256:
            say(f"release {manifest['version']} is there")
            return
        _refuse_to_replace(keeper, manifest["version"])
        _check_target(manifest)
        _check_room(bundle, keeper.home)
        keeper.disk.remove(release)
        with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=keeper.home) as folder:
            say("checking and unpacking the bundle")
            unpack(archive, manifest, Path(folder))
            _keep_packages(Path(folder), keeper)
            _build(Path(folder), release, manifest, say)
    record = {"version": manifest["version"], "manifest_sha256": manifest_sha256}
    os.sync()  # all of the release is on the disk before it counts as whole
    keeper.disk.write(release / "release.json", json.dumps(record))
    say(f"installed release {manifest['version']}")


def _keep_packages(bundle: Path, keeper: Keeper) -> None:
    """System packages are installed after us, by whoever asked for the release."""
    keeper.disk.remove(keeper.home / "packages")
    if (bundle / "packages").is_dir():
        (bundle / "packages").rename(keeper.home / "packages")


def _opened(bundle: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(bundle, "r:")
    except (tarfile.TarError, OSError) as error:
        raise KeeperError(f"{bundle} is not a bundle: {error}") from None


def checked_manifest(archive: tarfile.TarFile, signers: Path) -> tuple[Manifest, str]:
    """The manifest and its SHA-256; refused unless one of the signers signed it."""
    try:
        text, signature = (_first_bytes(archive, name) for name in ("manifest.json", "manifest.json.sig"))
    except tarfile.TarError as error:
        raise KeeperError(f"the bundle is damaged: {error}; copy it again") from None
    _check_signature(text, signature, signers)
    manifest: Manifest = json.loads(text)
    if manifest.get("format") != 1:
        raise KeeperError(f"the bundle must be of format 1, got {manifest.get('format')}; use a laptop of its version")
    return manifest, hashlib.sha256(text).hexdigest()


def _first_bytes(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.next()
    if member is None or member.name != name or not member.isfile() or member.size > _LARGEST_MANIFEST:
        raise KeeperError(f"the bundle must begin with manifest.json and manifest.json.sig: {name} is missing")
    file = archive.extractfile(member)
    return file.read() if file else b""


def _check_signature(text: bytes, signature: bytes, signers: Path) -> None:
    if not signers.is_file():
        raise KeeperError(f"nobody may sign bundles for this device: {signers} is missing; apply the site file")
    with tempfile.NamedTemporaryFile(suffix=".sig") as file:
        file.write(signature)
        file.flush()
        command = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", IDENTITY, "-n", NAMESPACE, "-s", file.name]
        done = subprocess.run(command, input=text, capture_output=True, check=False)
    if done.returncode:
        raise KeeperError("the bundle's signature is not of a signer that this device trusts, or it was changed")


def unpack(archive: tarfile.TarFile, manifest: Manifest, folder: Path) -> None:
    """Write each file that the manifest names, if its bytes are those; anything else is refused."""
    missing = dict(manifest["files"])
    for member in archive:
        if member.name in ("manifest.json", "manifest.json.sig"):
            continue
        expected = missing.pop(member.name, None)
        path = PurePosixPath(member.name)
        if expected is None or not member.isfile() or path.is_absolute() or ".." in path.parts:
            raise KeeperError(f"the bundle holds {member.name!r}, which its manifest does not name as a file")
        source = archive.extractfile(member)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source is None or member.size != expected["size"] or _copy(source, target) != expected["sha256"]:
            raise KeeperError(f"{member.name} in the bundle is damaged or was changed; copy the bundle again")
    if missing:
        raise KeeperError(f"the bundle lacks {', '.join(sorted(missing))}; copy it again")


def _copy(source: IO[bytes], target: Path) -> str:
    digest = hashlib.sha256()
    with target.open("wb") as file:
        while block := source.read(1 << 20):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _refuse_to_replace(keeper: Keeper, version: str) -> None:
    """A release that runs, or is the way back, is never changed under its own feet."""
    status = keeper.status()
    if version in keeper.installed() and version in (status["release"], status["previous_release"]):
        raise KeeperError(f"another bundle of release {version} is in use here; give the new one a version of its own")


def _check_target(manifest: Manifest) -> None:
    target = manifest["target"]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if (target["arch"], target["python"]) != (platform.machine(), python):
        here = f"{platform.machine()} with Python {python}"
        raise KeeperError(f"the bundle is for {target['arch']} with Python {target['python']}, this device is {here}")


def _check_room(bundle: Path, home: Path) -> None:
    wanted, free = _ROOM * bundle.stat().st_size, shutil.disk_usage(home).free
    if free < wanted:
        raise KeeperError(f"{home} needs {wanted // 1_000_000} MB for the release, {free // 1_000_000} MB are free")


def _build(bundle: Path, release: Path, manifest: Manifest, say: Say) -> None:
    """Make the environment, the models and, where there is a GPU of a board, its engines."""
    say("making the environment")
    _do([sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", str(release)])
    pip = next((bundle / "wheels").glob("pip-*.whl"))
    python = release / "bin/python"
    options = ["--no-index", "--no-deps", "--no-cache-dir", "--no-compile", "--disable-pip-version-check", "--quiet"]
    wheels = [str(bundle / name) for name in manifest["install"]]
    _do([str(python), str(pip / "pip"), "install", *options, *wheels])
    if "models.tar" in manifest["files"]:
        say("unpacking the models")
        where = f"storage.directory={release}"
        fetch = [str(release / "bin/appliance"), "models", "fetch", "--bundle", str(bundle / "models.tar")]
        nothing = bundle / "nothing.toml"
        nothing.touch()
        _do([*fetch, "--config", str(nothing), "--set", where])  # not the settings of another release
    _do(["chmod", "-R", "go=u-w", str(release)])


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise KeeperError(f"{' '.join(command[:3])} failed: {lines[-1] if lines else done.returncode}")
