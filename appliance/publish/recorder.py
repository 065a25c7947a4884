"""The output to a file: what a session should yield, and how far another run is from it."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from appliance.publish import wire
from appliance.values import AvatarState

CLOCKED = ("captured_utc_ns", "latency_ms")
"""What differs in every run, and is left out."""
REPORTED = 20
GAZE_DEG = 30.0
"""Degrees of gaze that count as much as a whole weight."""


class Recorder:
    """Writes each state as one JSON line: the frame of the wire, with stream and slot, without ``CLOCKED``.

    Has the publisher's ``send``; close it, or use it in a ``with``, to have the last lines on disk.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def send(self, state: AvatarState) -> bool:
        """Write one state; always ``True``."""
        self._file.write(json.dumps(line_of(state), separators=(",", ":")) + "\n")
        return True

    def close(self) -> None:
        """Write what is buffered and close the file."""
        self._file.close()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def line_of(state: AvatarState) -> dict[str, Any]:
    """Return what is recorded of a state."""
    fields = wire.decode_json(wire.encode(state, 0))
    kept = {name: value for name, value in fields.items() if name not in CLOCKED}
    return {"stream": state.stream, "slot": state.slot, **kept}


def compare(expected: Path, states: Iterable[AvatarState], tolerance: float) -> list[str]:
    """Return what differs between a recording and a run, one readable line each, the first ``REPORTED``.

    Numbers may differ by ``tolerance`` (of weights and metres; of degrees by ``GAZE_DEG`` as much); text,
    counters and clock readings must be equal. An empty list: they agree, to the last state.
    """
    differences: list[str] = []
    with expected.open(encoding="utf-8") as lines:
        wanted = (json.loads(line) for line in lines if line.strip())
        for number, (want, state) in enumerate(zip_longest(wanted, states), start=1):
            if state is None or want is None:
                differences.append(
                    f"line {number}: {'the run ended here' if state is None else 'the recording ended here'}"
                )
                break
            differences += (f"line {number}: {text}" for text in _differences("", want, line_of(state), tolerance))
            if len(differences) >= REPORTED:
                break
    return differences[:REPORTED]


def _differences(where: str, want: Any, got: Any, tolerance: float) -> Iterator[str]:
    if isinstance(want, Mapping) and isinstance(got, Mapping):
        for name in sorted(want.keys() | got.keys()):
            allowed = tolerance * GAZE_DEG if name == "gaze" else tolerance
            yield from _differences(f"{where}.{name}".lstrip("."), want.get(name), got.get(name), allowed)
    elif isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        for index, (one, other) in enumerate(zip(want, got, strict=True)):
            yield from _differences(f"{where}[{index}]", one, other, tolerance)
    elif not _agree(want, got, tolerance):
        yield f"{where}: expected {want!r}, got {got!r}"


def _agree(want: Any, got: Any, tolerance: float) -> bool:
    if isinstance(want, float) or isinstance(got, float):
        numbers = isinstance(want, (int, float)) and isinstance(got, (int, float))
        return numbers and math.isclose(want, got, rel_tol=0.0, abs_tol=tolerance)
    return bool(want == got)
