"""Where calibration samples lie: what the networks were shown at this site, and for how long it may be kept.

    set.json                            since when samples lie here, and when all of them must be gone
    <network>/samples/001-004-cam.npz   recording, block of time, stream: one array an input, float32, samples first
    <network>/held_out.npz              some samples that no range was taken from, to verify engines on
    <network>/ranges.json               numbers; they stay when the samples go

Samples show and hold people, so folders are 0700 and files 0600. Every file is written aside and renamed: a kill at
any instant leaves whole blocks, and what is left aside goes at the next command.
"""

import fcntl
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import numpy as np

from engines.errors import EngineError
from engines.keys import HELD_OUT_FILE, RANGES_FILE
from engines.runners import Tensors

RECORD_COMMAND = "appliance calibrate record"
FORGET_COMMAND = "appliance calibrate forget"
DAYS = 30
DAY_S = 86_400

_STAMP, _LOCK, _SAMPLES, _ASIDE = "set.json", ".lock", "samples", ".aside-"
_FILES = {HELD_OUT_FILE, RANGES_FILE, _SAMPLES}
_HELD_OUT_EACH = 4  # one block of time in so many gives no range; the second is the first of them


@dataclass(frozen=True, slots=True)
class Stamp:
    """How long samples may lie: from the first recording on, whatever was added later."""

    made_utc_s: float
    expires_utc_s: float

    def is_over(self, now_utc_s: float) -> bool:
        """Whether the samples must be gone."""
        return now_utc_s >= self.expires_utc_s

    @property
    def expires(self) -> str:
        """The day on which they go."""
        return f"{datetime.fromtimestamp(self.expires_utc_s, timezone.utc):%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was deleted."""

    files: int
    bytes: int
    ranges: int = 0  # files of ranges among them

    def __str__(self) -> str:
        ranges = f" and the ranges of {self.ranges} networks" if self.ranges else ""
        return f"{self.files - self.ranges} files of pictures and sound{ranges}, {self.bytes / 1e6:.1f} MB"


def is_held_out(block: int) -> bool:
    """Whether a block of time is for reports alone. Whole blocks are, for neighbouring pictures are alike."""
    return block % _HELD_OUT_EACH == 1


class CalibrationFolder:
    """One device's calibration folder. It need not be there before something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stamp(self) -> Stamp | None:
        """How long what lies here may stay; ``None`` where no samples lie. ``EngineError`` for no folder of ours."""
        if not self.path.exists():
            return None
        self._check_ours()
        try:
            table = json.loads((self.path / _STAMP).read_text(encoding="utf-8"))
            return Stamp(float(table["made_utc_s"]), float(table["expires_utc_s"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EngineError(
                f"{self.path / _STAMP} must say when the samples expire, and cannot be read ({error}); "
                f"delete them with: {FORGET_COMMAND}"
            ) from None

    def expire(self, now_utc_s: float) -> Deleted | None:
        """Delete samples whose time is over; ``None`` where none are."""
        stamp = self.stamp()
        return self.forget() if stamp is not None and stamp.is_over(now_utc_s) else None

    @contextmanager
    def recording(self, now_utc_s: float, days: int) -> Iterator[int]:
        """Prepare the folder for one recording at a time; yields its number."""
        with self._locked():
            self._sweep()
            if self.stamp() is None:
                stamp = Stamp(now_utc_s, now_utc_s + days * DAY_S)
                self._write(self.path / _STAMP, lambda file: file.write(json.dumps(asdict(stamp)).encode()))
            numbers = [int(path.name[:3]) for path in self.path.glob(f"*/{_SAMPLES}/*.npz")]
            yield max(numbers, default=0) + 1

    def write(self, name: str, recording: int, block: int, stream: str, samples: Tensors) -> None:
        """Keep samples of one network from one block of time."""
        folder = self.path / name / _SAMPLES
        self._make(folder)
        path = folder / f"{recording:03d}-{block:03d}-{stream}.npz"
        self._write_arrays(path, samples)

    def write_held_out(self, name: str, samples: Tensors) -> None:
        """Keep what engines are verified on."""
        self._make(self.path / name)
        path = self.path / name / HELD_OUT_FILE
        self._write_arrays(path, samples)

    def _write_arrays(self, path: Path, arrays: Mapping[str, Any]) -> None:
        self._write(path, lambda file: np.savez_compressed(file, **arrays))

    def ranges_path(self, name: str) -> Path:
        """Where the ranges of a network belong; the folder is there."""
        self._make(self.path / name)
        return self.path / name / RANGES_FILE

    def drop(self, recording: int) -> None:
        """Delete one recording, as if it had not been."""
        for path in self.path.glob(f"*/{_SAMPLES}/{recording:03d}-*.npz"):
            path.unlink()
        if not self.counts():
            (self.path / _STAMP).unlink(missing_ok=True)

    def networks(self) -> list[str]:
        """The networks of which samples lie here."""
        return sorted({path.parent.parent.name for path in self.path.glob(f"*/{_SAMPLES}/*.npz")})

    def blocks(self, name: str, held_out: bool, recording: int | None = None) -> Iterator[Tensors]:
        """Yield the samples of one network, block by block: those held out, or the others; of one recording, or all."""
        chosen = "*.npz" if recording is None else f"{recording:03d}-*.npz"
        for path in sorted((self.path / name / _SAMPLES).glob(chosen)):
            if is_held_out(int(path.name[4:7])) == held_out:
                yield _read(path)

    def counts(self) -> dict[str, int]:
        """How many samples there are of each network."""
        paths = {name: (self.path / name / _SAMPLES).glob("*.npz") for name in self.networks()}
        return {name: sum(_length(path) for path in found) for name, found in paths.items()}

    def size_bytes(self) -> int:
        """What the samples take of the disk."""
        return sum(path.stat().st_size for path in self.path.glob(f"*/{_SAMPLES}/*.npz"))

    def forget(self, ranges: bool = False) -> Deleted:
        """Delete every sample, and with ``ranges`` the numbers made of them; not while a recording runs."""
        if not self.path.exists():
            return Deleted(0, 0)
        with self._locked():
            kept = set() if ranges else {RANGES_FILE}
            gone = [path for path in self.path.rglob("*") if path.is_file() and path.name not in {*kept, _LOCK, _STAMP}]
            size = sum(path.stat().st_size for path in gone)
            try:
                for path in gone:
                    path.unlink()
                for folder in sorted((path for path in self.path.rglob("*") if path.is_dir()), reverse=True):
                    if not any(folder.iterdir()):
                        folder.rmdir()
                (self.path / _STAMP).unlink(missing_ok=True)
            except OSError as error:
                raise EngineError(f"{error}; delete as the owner of {self.path}, or as root") from None
            return Deleted(len(gone), size, sum(path.name == RANGES_FILE for path in gone))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._make(self.path)
        self._check_ours()
        try:
            lock = (self.path / _LOCK).open("w")
        except OSError as error:
            raise EngineError(f"{self.path} must be writable: {error}; run this as the appliance's user") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EngineError(f"a recording into {self.path} is running; end it first, with Ctrl-C") from None
            yield

    def _check_ours(self) -> None:
        """Refuse a folder that holds anything else, before something in it is deleted."""
        try:
            inside = [path for path in self.path.iterdir() if path.name not in (_STAMP, _LOCK)]
            strange = [path for path in inside if not _is_ours(path)]
        except OSError as error:
            raise EngineError(f"{self.path} must be a folder that this user can read: {error}") from None
        if strange:
            raise EngineError(
                f"{self.path} must hold calibration samples alone, and holds {strange[0].name}; "
                "name another storage.directory, or move it away"
            )

    def _make(self, folder: Path) -> None:
        try:
            for each in (*reversed(folder.relative_to(self.path).parents), folder.relative_to(self.path)):
                (self.path / each).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(f"{folder} must be a folder we can write: {error}; see storage.directory") from None

    def _write(self, path: Path, fill: Callable[[IO[bytes]], object]) -> None:
        """Write aside, to the disk itself, and rename; mode 0600."""
        aside = Path()
        try:
            with tempfile.NamedTemporaryFile(prefix=_ASIDE, dir=path.parent, delete=False) as file:
                aside = Path(file.name)
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            free_mb = shutil.disk_usage(path.parent).free // 2**20
            raise EngineError(
                f"{path} cannot be written: {error}; {free_mb} MB are free; free some, or lower --mb; "
                "what was kept before is as it was"
            ) from None

    def _sweep(self) -> None:
        """Remove what a killed recording left aside."""
        for path in self.path.rglob(f"{_ASIDE}*"):
            path.unlink(missing_ok=True)


def _is_ours(path: Path) -> bool:
    if path.name.startswith(_ASIDE):
        return True
    return (
        path.is_dir()
        and not path.is_symlink()
        and all(inner.name in _FILES or inner.name.startswith((_ASIDE, f"{RANGES_FILE}.")) for inner in path.iterdir())
    )


def _read(path: Path) -> Tensors:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise EngineError(f"the samples {path} cannot be read: {error}; delete them, or: {FORGET_COMMAND}") from None


def _length(path: Path) -> int:
    """How many samples a file holds."""
    return len(next(iter(_read(path).values())))
