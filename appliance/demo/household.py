"""The processes of a demonstration: each the real program, started as a device would start it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from appliance.errors import ApplianceError, BrokerError
from appliance.renderers.viewer import listen
from appliance.settings import Broker, Settings
from appliance.signals import handled

_PATIENCE_S = 10.0

Process = subprocess.Popen[bytes]


@contextmanager
def orderly() -> Iterator[None]:
    """Let SIGTERM, and the SIGHUP of a terminal that is closed, end what is inside as Ctrl-C does.

    Otherwise the processes, each in a session of its own, would outlive us and keep camera and port.
    """

    def interrupt(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # what is ending is not to be interrupted
        raise KeyboardInterrupt

    heeded = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    with handled(interrupt, *heeded):  # nohup's stays as it is
        yield


def page_port(port: int) -> int:
    """Return the page's port, a free one for 0; raise when it cannot be had, before anything else is done."""
    with listen("127.0.0.1", port) as server:
        return int(server.getsockname()[1])


@contextmanager
def broker(port: int = 0) -> Iterator[str]:
    """Run the embedded broker; give its URL."""
    command = [sys.executable, "-m", "appliance.demo.broker", "--port", str(port)]
    with _running(command, stdout=subprocess.PIPE) as process:
        line = process.stdout.readline().strip() if process.stdout else b""
        if not line.isdigit():
            raise BrokerError(
                f"the embedded broker did not start (exit {process.wait(_PATIENCE_S)}); its reason is above"
            )
        yield f"mqtt://127.0.0.1:{int(line)}"


@contextmanager
def daemon(settings: Settings, verbose: bool) -> Iterator[Process]:
    """Run ``appliance run`` with these settings, as a process of its own."""
    with tempfile.TemporaryDirectory(prefix="avatar-demo-") as folder:
        path = Path(folder) / "appliance.toml"
        path.write_text(to_toml(asdict(settings)), encoding="utf-8")
        command = [sys.executable, "-m", "appliance", "run", "--config", str(path)]
        with _running([*command, "--verbose" if verbose else "--quiet"]) as process:
            yield process


@contextmanager
def viewer(port: int, broker: Broker) -> Iterator[str]:
    """Run the web renderer; give the page's URL."""
    command = [sys.executable, "-m", "appliance", "viewer", "--port", str(port)]
    command += [
        word for key, value in asdict(broker).items() for word in ("--set", f"broker.{key}={json.dumps(value)}")
    ]
    with _running(command, stdout=subprocess.DEVNULL) as process:
        yield f"http://127.0.0.1:{port}/"
        check_running(process, "the viewer")


def check_running(process: Process, what: str) -> None:
    """Raise when a process of the demonstration has ended by itself."""
    status = process.poll()
    if status is not None:
        raise ApplianceError(f"{what} ended by itself with exit status {status}; its reason is above")


def to_toml(settings: Mapping[str, Any]) -> str:
    """Write settings as TOML; a JSON text or number is one in TOML too."""
    lines: list[str] = []
    for section, content in settings.items():
        for table in content if isinstance(content, (list, tuple)) else [content]:
            lines.append(f"[[{section}]]" if isinstance(content, (list, tuple)) else f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


@contextmanager
def _running(command: list[str], **options: Any) -> Iterator[Process]:
    """A process that a Ctrl-C at the terminal does not reach: it is ended, in order, by us."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        _end(process)


def _end(process: Process) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout:
        process.stdout.close()
