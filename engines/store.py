"""Where built engines lie. A stale engine cannot be loaded: there is only present or absent.

The file name of an engine carries a hash of everything it depends on. Beside each plan lies a record that names it
and its SHA-256: TensorRT itself loads and runs a plan with a flipped bit. Every file is written aside and renamed, the
record last, so that a kill at any instant leaves the engine before or the engine after; what is left aside goes at the
next build.
"""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from engines.board import Board
from engines.download import Say
from engines.durable import sync
from engines.errors import EngineError

BUILD_COMMAND = "appliance engines build"
AGAINST = "against fp16"
"""What stands in a record that tells of this comparison."""

_ASIDE = ".aside-"
_SHOWN_OF_HASH = 8


@dataclass(frozen=True, slots=True)
class Key:
    """Everything an engine depends on."""

    model: str
    precision: str
    onnx_sha256: str
    manifest_sha256: str
    calibration_sha256: str  # empty where the precision needs no ranges
    build: str  # profiles, optimisation level and what else the builder was told
    board: Board

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.model}-{self.precision}-{digest[:16]}"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one built engine."""

    key: Key
    plan: str  # the plan's file name
    sha256: str  # of the plan
    bytes: int
    built_utc_s: float
    build_s: float
    form: str  # the rewrites that it was built from
    verified_on: str  # which inputs it was held against the FP32 reference on
    errors: Mapping[str, float]  # per output: mean absolute difference from the reference
    timed: str = ""  # what was timed here before this one was chosen; empty where nothing was

    @property
    def is_settled(self) -> bool:
        """Whether the engine has shown here that it is the one to use: INT8 must have been held against FP16."""
        return self.key.precision != "int8" or AGAINST in self.timed


class Store:
    """The engines of one folder. Whoever writes holds ``locked``; reading needs no lock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def locked(self, say: Say) -> Iterator[None]:
        """Hold the folder alone, another process waits; what killed builds left behind goes."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            lock = (self._directory / ".lock").open("w")
        except OSError as error:
            raise EngineError(f"{self._directory} must be a writable folder with room left: {error}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another process that is building engines")
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._sweep()
            yield

    def read(self, key: Key) -> bytes:
        """The plan of an engine; ``EngineError`` if it is absent, damaged or was refused."""
        record = self.record(key)
        try:
            plan = (self._directory / record.plan).read_bytes()
        except OSError as error:
            raise EngineError(f"the engine {record.plan} cannot be read: {error}; {_CURE}") from None
        found = hashlib.sha256(plan).hexdigest()
        if found != record.sha256:
            raise EngineError(f"the engine {record.plan} must have SHA-256 {record.sha256}, got {found}; {_CURE}")
        return plan

    def is_whole(self, key: Key) -> bool:
        """Whether the engine is there and every byte of it is right."""
        with suppress(EngineError):
            self.read(key)
            return True
        return False

    def record(self, key: Key) -> Record:
        """What is known of an engine; ``EngineError`` if it is absent."""
        record = self.find(key)
        if record is None:
            raise EngineError(f"no {key.precision} engine of {key.model} ({self.why_absent(key)}); {_CURE}")
        return record

    def find(self, key: Key) -> Record | None:
        """What is known of an engine; ``None`` where it was not built."""
        record = _read_record(self._directory / f"{key.stem}.json")
        return record if record is not None and record.key == key else None

    def records(self) -> list[Record]:
        """Every built engine, of whatever board, newest first."""
        found = [_read_record(path) for path in self._directory.glob("*.json")]
        return sorted((record for record in found if record), key=lambda record: -record.built_utc_s)

    def refusal(self, key: Key) -> str:
        """Why this engine was built and not taken; empty where it was not refused."""
        with suppress(OSError):
            return (self._directory / f"{key.stem}.refused").read_text(encoding="utf-8").strip()
        return ""

    def why_absent(self, key: Key) -> str:
        """What differs from the nearest engine that is there, as ``TensorRT 10.3 -> 10.16``."""
        if refused := self.refusal(key):
            return f"refused: {refused}"
        known = [changes(record.key, key) for record in self.records() if record.key.model == key.model]
        nearest: list[str] = min(known, key=lambda differing: len(differing), default=["never built here"])
        return ", ".join(nearest)

    def put(self, record: Record, plan: bytes) -> None:
        """Take a verified engine in; the one before it of the same key stays until it has been replaced."""
        before = self.find(record.key)
        self._write(record.plan, plan)
        self._write(f"{record.key.stem}.json", json.dumps(asdict(record), indent=1).encode())
        self._remove(f"{record.key.stem}.refused")
        if before is not None and before.plan != record.plan:
            self._remove(before.plan)

    def refuse(self, key: Key, why: str) -> None:
        """Note that an engine was built and is unfit, so that nobody builds it again to the same end."""
        self._write(f"{key.stem}.refused", why.encode())
        self._remove(f"{key.stem}.json")

    def forget_refusal(self, key: Key) -> None:
        """Let an engine that was refused be built again."""
        self._remove(f"{key.stem}.refused")

    def prune(self, wanted: Collection[Key]) -> list[str]:
        """Remove what nobody will load; the last good engine of each model and precision stays, for a way back."""
        seen: set[tuple[str, str]] = set()
        removed = []
        for record in self.records():
            kind = (record.key.model, record.key.precision)
            if record.key not in wanted and kind in seen:
                self._remove(f"{record.key.stem}.json")
                removed.append(record.plan)
            elif record.key not in wanted:
                seen.add(kind)
        kept = {f"{key.stem}.refused" for key in wanted}
        for path in self._directory.glob("*.refused"):
            if path.name not in kept:
                self._remove(path.name)
        self._sweep()
        return removed

    def timing_cache(self, board: Board) -> bytes:
        """What TensorRT measured in earlier builds on this board; empty before the first."""
        with suppress(OSError):
            return (self._directory / _timing_name(board)).read_bytes()
        return b""

    def keep_timing_cache(self, board: Board, content: bytes) -> None:
        """Remember what TensorRT measured, for the next build."""
        self._write(_timing_name(board), content)

    def _write(self, name: str, content: bytes) -> None:
        """Write aside, to the disk itself, and rename."""
        try:
            with tempfile.NamedTemporaryFile(prefix=_ASIDE, dir=self._directory, delete=False) as file:
                aside = Path(file.name)
                try:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                    aside.replace(self._directory / name)
                except BaseException:
                    aside.unlink(missing_ok=True)
                    raise
            sync(self._directory)
        except OSError as error:
            size_mb = len(content) / 1e6
            raise EngineError(
                f"{self._directory} must have room for {name} ({size_mb:.1f} MB): {error}; "
                "free some (appliance engines prune); what was there is as it was"
            ) from None

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            (self._directory / name).unlink()

    def _sweep(self) -> None:
        """Remove files of builds that were killed: those aside, and plans that no record names."""
        named = {record.plan for record in self.records()}
        for path in [*self._directory.glob(f"{_ASIDE}*"), *self._directory.glob("*.plan")]:
            if path.name not in named:
                path.unlink(missing_ok=True)


_CURE = f"build what is missing with: {BUILD_COMMAND}"


def plan_name(key: Key, sha256: str) -> str:
    """A plan's file name: builds are not repeatable byte for byte, so two plans of one key have two names."""
    return f"{key.stem}-{sha256[:_SHOWN_OF_HASH]}.plan"


def changes(before: Key, after: Key) -> list[str]:
    """What differs between two keys, each as ``name before -> after``."""
    old, new = _labelled(before), _labelled(after)
    return [f"{name} {old[name] or 'none'} -> {new[name] or 'none'}" for name in old if old[name] != new[name]]


def _labelled(key: Key) -> dict[str, str]:
    board = key.board
    return {
        "precision": key.precision,
        "ONNX": key.onnx_sha256[:_SHOWN_OF_HASH],
        "manifest": key.manifest_sha256[:_SHOWN_OF_HASH],
        "calibration": key.calibration_sha256[:_SHOWN_OF_HASH],
        "build": key.build,
        "TensorRT": board.tensorrt,
        "GPU": board.gpu,
        "compute capability": board.compute_capability,
        "L4T": board.l4t,
        "power mode": board.power_mode,
    }


def _read_record(path: Path) -> Record | None:
    """One record; ``None`` where it is absent or damaged: then its engine is absent."""
    try:
        table: Any = json.loads(path.read_text(encoding="utf-8"))
        board = Board(**table["key"]["board"])
        record = Record(**{**table, "key": Key(**{**table["key"], "board": board})})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if all(getattr(record, field.name) is not None for field in fields(record)) else None


def _timing_name(board: Board) -> str:
    digest = hashlib.sha256(json.dumps(asdict(board), sort_keys=True).encode()).hexdigest()
    return f"timing-{digest[:16]}.cache"
