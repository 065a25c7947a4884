"""The user's own avatar: a glTF or VRM file that the page draws in place of our head."""

import json
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceError

KINDS = (".glb", ".vrm", ".gltf")
MOST_MB = 300
"""No avatar for a browser is as large; a wrong path to a film is."""
_MAGIC, _VERSION = b"glTF", 2
_HEADER = struct.Struct("<4sII")


@dataclass(frozen=True, slots=True)
class AvatarFile:
    """A file that looks like glTF 2.0; browsers read the rest of it and say what they think."""

    path: Path
    version: str
    """Changes with the file, so that a page knows whether it has it."""

    @property
    def name(self) -> str:
        """What the page calls it."""
        return self.path.name


def find(path: Path) -> AvatarFile:
    """Look at a file before it is served. Raises ``ApplianceError`` with the cure."""
    if path.suffix.lower() not in KINDS:
        raise ApplianceError(f"--avatar takes a {', '.join(KINDS)} file, got {path.name}")
    try:
        about = path.stat()
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            whole = path.suffix.lower() == ".gltf" and header + file.read(MOST_MB * 1_000_000)
    except OSError as error:
        raise ApplianceError(f"cannot read --avatar {path}: {error.strerror}") from None
    if not stat.S_ISREG(about.st_mode):
        raise ApplianceError(f"--avatar takes a file, and {path} is none")
    if about.st_size > MOST_MB * 1_000_000:
        raise ApplianceError(f"--avatar takes files up to {MOST_MB} MB; {path} has {about.st_size / 1e6:.0f} MB")
    if whole is False:
        _must_be_binary(path, header, about.st_size)
    else:
        _must_be_text(path, whole)
    return AvatarFile(path, f"{about.st_size:x}-{about.st_mtime_ns:x}")


def _must_be_binary(path: Path, header: bytes, size: int) -> None:
    if len(header) < _HEADER.size or header[:4] != _MAGIC:
        raise ApplianceError(f"{path} is no binary glTF file; export the avatar as .glb or .vrm")
    _, version, length = _HEADER.unpack(header)
    if version != _VERSION:
        raise ApplianceError(f"{path} is glTF version {version}; export the avatar as glTF 2.0")
    if length > size:
        raise ApplianceError(f"{path} ends after {size} of {length} bytes; copy it again")


def _must_be_text(path: Path, text: bytes) -> None:
    try:
        asset = json.loads(text)["asset"]["version"]
    except (ValueError, KeyError, TypeError):
        raise ApplianceError(f"{path} is no glTF file; export the avatar as .glb or .vrm") from None
    if not str(asset).startswith(str(_VERSION)):
        raise ApplianceError(f"{path} is glTF version {asset}; export the avatar as glTF 2.0")
