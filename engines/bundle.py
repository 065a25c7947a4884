"""Offline bundles: the files as published in one tar, for machines without a network.

Each file's SHA-256 is in the program itself, so a bundle is trusted for nothing but transport.
"""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from engines import manifest
from engines.download import Say
from engines.durable import settle
from engines.errors import EngineError
from engines.fetch import aside, convert_missing, ensure_sources, keep_source, locked, source_path

MEMBER_LIMIT_BYTES = 64 * 1024 * 1024


def write_bundle(directory: Path, names: Sequence[str], file: Path, say: Say) -> None:
    """Write the named models and assets, fetched first where they are missing, into one tar file."""
    ensure_sources(directory, names, say)
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name in names:
            path = source_path(directory, manifest.load(name))
            entry = tarfile.TarInfo(path.name)  # no owner, no time: the same models make the same bundle
            content = path.read_bytes()
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with aside(file.parent) as folder:
        (folder / file.name).write_bytes(written.getvalue())
        settle(folder / file.name, file)


def read_bundle(directory: Path, file: Path, say: Say) -> list[str]:
    """Take every model and asset of a bundle into the models folder; return their names."""
    taken = []
    with locked(directory, say):
        for name, content in _contents(file):
            keep_source(directory, manifest.load(name), content, str(file))
            taken.append(name)
        convert_missing(directory, [manifest.load(name) for name in taken], say)
    return taken


def _contents(file: Path) -> list[tuple[str, bytes]]:
    """Read every member, none by a path of its own; nothing is written before all of it is read."""
    known = {source_path(Path(), manifest.load(name)).name: name for name in manifest.names()}
    contents = []
    try:
        with tarfile.open(file, mode="r:") as archive:
            for member in archive:
                if member.name not in known or not member.isfile():
                    raise EngineError(f"{file} must hold plain files named {', '.join(known)}; got {member.name!r}")
                if member.size > MEMBER_LIMIT_BYTES:
                    raise EngineError(
                        f"{file}: {member.name} must be at most {MEMBER_LIMIT_BYTES} bytes, got {member.size}"
                    )
                if (stream := archive.extractfile(member)) is not None:
                    contents.append((known[member.name], stream.read()))
    except (OSError, tarfile.TarError) as error:
        raise EngineError(f"the bundle {file} cannot be read: {error}") from None
    if not contents:
        raise EngineError(f"the bundle {file} is empty; write one with: appliance models fetch --bundle FILE")
    return contents
