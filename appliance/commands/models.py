"""Fetch, verify and convert the third-party models, or list them."""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from appliance.settings import Settings
from engines import fetch, manifest
from engines.bundle import read_bundle, write_bundle

EXAMPLE = """\
appliance models fetch
appliance models fetch --bundle models.tar
appliance models list --json"""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list."""

    name: str
    state: str  # ready, absent or corrupt
    bytes: int
    source: str
    licence: str
    sha256: str  # of the file as published


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``appliance models``."""
    parser.add_argument("action", choices=("fetch", "list"), help="fetch what is missing, or list what there is")
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE",
        help="fetch: take the models from this tar file; where there is none, fetch from the network and write it",
    )
    parser.add_argument("--json", action="store_true", help="list: print JSON instead of a table")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Do what the arguments say in the models folder of the settings."""
    directory = settings.storage.models
    if arguments.action == "list":
        _print(rows(directory), as_json=arguments.json)
        return 0
    names = manifest.names()
    if arguments.bundle is not None and arguments.bundle.exists():
        names = read_bundle(directory, arguments.bundle, _say)
    else:
        fetch.ensure(directory, names, _say)
        if arguments.bundle is not None:
            write_bundle(directory, names, arguments.bundle, _say)
            _say(f"wrote {arguments.bundle}")
    _say(f"ready in {directory}: {', '.join(names)}")
    return 0


def rows(directory: Path) -> list[Row]:
    """What lies in a models folder."""
    return [_row(directory, name) for name in manifest.names()]


def _row(directory: Path, name: str) -> Row:
    entry = manifest.load(name)
    path = fetch.file_path(directory, entry)
    present = path.is_file()
    state = "ready" if fetch.is_ready(directory, name) else "corrupt" if present else "absent"
    size = path.stat().st_size if present else 0
    return Row(name, state, size, str(entry.source.wheel), entry.licence, entry.source.sha256)


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
