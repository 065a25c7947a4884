"""Fetch, verify and convert the third-party models, or list them."""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from appliance.settings import Settings
from engines import fetch, manifest, task_file
from engines.bundle import read_bundle, write_bundle

EXAMPLE = """\
appliance models fetch
appliance models fetch --bundle models.tar
appliance models fetch --task face_landmarker.task
appliance models list --json"""

_OPTIONAL = "optional: fetch --task FILE"
_BROUGHT = {"ready": "your task file", "absent": _OPTIONAL, "corrupt": _OPTIONAL}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list."""

    name: str
    state: str  # ready, absent or corrupt
    bytes: int
    source: str
    licence: str
    sha256: str  # of the file as published; empty where its owner has not brought it


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``appliance models``."""
    parser.add_argument("action", choices=("fetch", "list"), help="fetch what is missing, or list what there is")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE",
        help="fetch: take the models from this tar file; where there is none, fetch from the network and write it",
    )
    source.add_argument(
        "--task",
        type=Path,
        metavar="FILE",
        help="fetch: take the second model set from your own copy of MediaPipe's face_landmarker.task",
    )
    parser.add_argument("--json", action="store_true", help="list: print JSON instead of a table")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Do what the arguments say in the models folder of the settings."""
    directory = settings.storage.models
    if arguments.action == "list":
        _print(rows(directory), as_json=arguments.json)
        return 0
    _say(f"ready in {directory}: {', '.join(_fetch(arguments, directory))}")
    return 0


def _fetch(arguments: argparse.Namespace, directory: Path) -> list[str]:
    if arguments.task is not None:
        return task_file.take(directory, arguments.task, _say)
    names = manifest.names()
    if arguments.bundle is not None and arguments.bundle.exists():
        return read_bundle(directory, arguments.bundle, _say)
    fetch.ensure(directory, names, _say)
    if arguments.bundle is not None:
        write_bundle(directory, names, arguments.bundle, _say)
        _say(f"wrote {arguments.bundle}")
    return names


def rows(directory: Path) -> list[Row]:
    """What lies in a models folder."""
    return [_row(directory, name) for name in manifest.names() + manifest.task_names()]


def _row(directory: Path, name: str) -> Row:
    entry = manifest.find(name)
    path = fetch.file_path(directory, entry)
    present = path.is_file()
    state = "ready" if fetch.is_ready(directory, name) else "corrupt" if present else "absent"
    size = path.stat().st_size if present else 0
    source = _BROUGHT[state] if isinstance(entry, manifest.TaskModel) else str(entry.source.wheel)
    return Row(name, state, size, source, entry.licence, fetch.published_sha256(directory, entry))


def _print(listed: list[Row], as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(row) for row in listed], indent=2))
        return
    table = Table(Column("name", no_wrap=True), "state", Column("size", justify="right"), "source", "sha256")
    for row in listed:
        size = f"{row.bytes / 1e6:.1f} MB" if row.bytes else ""
        table.add_row(row.name, row.state, size, row.source, row.sha256[:12])
    Console().print(table)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
