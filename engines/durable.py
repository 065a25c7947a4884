"""How a file is replaced on a device whose plug is pulled."""

import os
from pathlib import Path


def settle(aside: Path, path: Path) -> None:
    """Put a file that was written aside in its place: a power cut leaves the one before or this one, whole.

    A rename alone may reach the disk before what the file holds.
    """
    sync(aside)
    aside.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
