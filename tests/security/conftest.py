"""One session of the real daemon with a real face and its voice, watched from every side."""

import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from brokers import Message, Mosquitto, Reader, wait_until

from appliance.demo.household import to_toml
from appliance.demo.scene import DESK, film
from appliance.health.processes import tree
from appliance.settings import Settings, from_table

from .looking import Opened, Socket, opened, sockets, written_bytes

ROOT = "avatar/v1/demo/desk"
CAMERA = f"watched-{os.getpid()}"
FRAMES = 90
ENDS_S = 20.0


@dataclass
class Watched:
    """What a session of the daemon did."""

    broker_port: int
    messages: list[Message]
    files: dict[Path, bytes]  # what is new or changed wherever it may write
    opened: set[Opened] = field(default_factory=set)  # for writing, at some moment
    sockets: set[Socket] = field(default_factory=set)
    written_bytes: int = 0  # to files and pipes, by all its processes


@pytest.fixture(scope="package")
def watched(desk: Settings, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder = tmp_path_factory.mktemp("watched")
    home = folder / "home"
    home.mkdir()
    broker = Mosquitto(folder)
    reader = Reader(broker.port, topics="#")
    table = asdict(film(from_table(DESK), clip, f"mqtt://127.0.0.1:{broker.port}"))
    settings_file = folder / "appliance.toml"
    settings_file.write_text(to_toml(table | {"camera": [table["camera"][0] | {"name": CAMERA}]}))
    kept = Path(desk.storage.directory).expanduser()
    before = {place: contents(place) for place in (home, kept)}
    result = Watched(broker.port, reader.messages, {})
    environment = {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home), "PATH": "/usr/bin:/bin"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # else a first run writes down the program itself
    # The models are where the desk has them; all else that a home is for goes to this one.
    settings_file.write_text(settings_file.read_text().replace(table["storage"]["directory"], str(kept)))
    command = [sys.executable, "-m", "appliance", "run", "--config", str(settings_file)]
    with (home / "log").open("wb") as log, subprocess.Popen(command, cwd=home, env=environment, stderr=log) as daemon:
        try:
            assert wait_until(lambda: watch(daemon.pid, result) >= FRAMES, 60), (home / "log").read_text()
        finally:
            daemon.terminate()
            daemon.wait(ENDS_S)
            broker.stop()
    for place, old in before.items():
        result.files |= {path: path.read_bytes() for path, mark in contents(place).items() if old.get(path) != mark}
    reader.close()
    return result


def contents(place: Path) -> dict[Path, tuple[int, int]]:
    """Every file in a folder, with when it was changed and how long it is."""
    files = [path for path in place.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def watch(pid: int, result: Watched) -> int:
    """Look at all its processes once; return how many frames it has published."""
    pids = [use.pid for use in tree(pid)]
    for process in pids:
        result.opened |= opened(process)
        result.sockets |= sockets(process)
    result.written_bytes = max(result.written_bytes, sum(map(written_bytes, pids)))
    time.sleep(0.1)
    return sum(message.topic.endswith("/frame") for message in list(result.messages))


def evidence(watched: Watched) -> dict[str, bytes]:
    """Everything that left, by where to."""
    found: dict[str, Any] = {
        f"{index} {message.topic}": message.payload for index, message in enumerate(watched.messages)
    }
    return found | {str(path): content for path, content in watched.files.items()}
