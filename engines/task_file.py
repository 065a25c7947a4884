"""The second model set: two networks of MediaPipe's ``face_landmarker.task``, a file that its owner brings.

We publish no address of that file and ship nothing of it. Its networks lie in the models folder as fetched ones
do: the member in ``sources/``, its ONNX file with a record of what it was made from.
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from engines import manifest
from engines.download import Say
from engines.durable import settle
from engines.errors import EngineError
from engines.fetch import aside, convert_aside, locked, put, source_path
from engines.manifest import TaskModel

KNOWN_FILES: Mapping[str, str] = {
    "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff": "face_landmarker.task, float16, version 1",
}
"""SHA-256 of the files that our agreement with the original was measured on."""

FILE_LIMIT_BYTES = 64 * 1024 * 1024
MEMBER_LIMIT_BYTES = 16 * 1024 * 1024
_ENCRYPTED = 1  # bit of a member's flags
_PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def take(directory: Path, file: Path, say: Say) -> list[str]:
    """Verify a task file and convert its networks into the models folder; return their names.

    A file whose SHA-256 is not known is taken where its networks have the expected shapes, and said to be
    unknown. Nothing is kept of one that is refused.
    """
    content = _content(file)
    models = [entry for entry in map(manifest.find, manifest.task_names()) if isinstance(entry, TaskModel)]
    members = _members(file, content, [model.member for model in models])
    found = hashlib.sha256(content).hexdigest()
    say(f"{file} is {KNOWN_FILES.get(found, f'of no version that we know, SHA-256 {found}')}")
    with locked(directory, say), aside(directory) as folder:
        made = []
        for model in models:
            source = folder / model.member  # the name that the converter's errors tell
            source.write_bytes(members[model.member])
            say(f"converting {model.name}")
            made.append((source, source_path(directory, model), _convert(folder, model, source, file)))
        for source, kept, converted in made:
            kept.parent.mkdir(exist_ok=True)
            settle(source, kept)
            put(converted, directory)
    return [model.name for model in models]


def _convert(folder: Path, model: TaskModel, source: Path, file: Path) -> Path:
    try:
        return convert_aside(folder, model.name, source)
    except EngineError as error:
        raise EngineError(f"{file} must be a whole face_landmarker.task: {error}") from None


def _content(file: Path) -> bytes:
    try:
        size = file.stat().st_size
        if size > FILE_LIMIT_BYTES:
            raise EngineError(f"{file} must be at most {FILE_LIMIT_BYTES} bytes, got {size}")
        return file.read_bytes()
    except OSError as error:
        raise EngineError(f"the task file {file} cannot be read: {error}") from None


def _members(file: Path, content: bytes, names: list[str]) -> dict[str, bytes]:
    """Read the networks by their exact names; nothing is unpacked, so no name leads anywhere."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: _member(archive, file, name) for name in names}
    # Beside BadZipFile: zlib.error and EOFError of damaged data, NotImplementedError of a zip too new.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise EngineError(f"{file} must be a task file, which is a zip file: {error}") from None


def _member(archive: zipfile.ZipFile, file: Path, name: str) -> bytes:
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise EngineError(f"{file} must hold {name}, as face_landmarker.task does") from None
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _PLAIN_METHODS:
        raise EngineError(f"{file}: {name} must be stored or deflated, and not encrypted")
    if member.file_size > MEMBER_LIMIT_BYTES:
        raise EngineError(f"{file}: {name} must be at most {MEMBER_LIMIT_BYTES} bytes, got {member.file_size}")
    return archive.read(member)  # never more than the size it declares, whatever it is packed into
