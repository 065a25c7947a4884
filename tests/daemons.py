"""The real daemon, for the length of a test."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENDS_S = 20


@contextmanager
def running(settings_file: Path, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run ``appliance run`` with these settings; end it in order, whatever the test does."""
    command = [sys.executable, "-m", "appliance", "run", "--quiet", "--config", str(settings_file), *words]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(ENDS_S)
