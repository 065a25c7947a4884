"""Commands of operators: what is refused, what is answered. Payloads in, payloads out; no network here."""

import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.errors import ACTIONABLE
from appliance.publish import wire

NAMES = ("recalibrate", "neutral", "reload", "identify")
MOST_BYTES = 1024
MOST_SLOT = 7
BURST, PER_S = 5, 0.5
ANSWERED_BURST, ANSWERED_PER_S = 20, 4.0
"""Even refusals are not given without end: whoever asks more often hears nothing."""

_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_MOST_TRANSACTION = 64


@dataclass(frozen=True, slots=True)
class Command:
    """A command that is valid; where it names no stream or slot, all are meant."""

    name: str
    transaction: str | None = None
    stream: str = ""
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What a command came to, and what is still to do once the answer has left."""

    data: Mapping[str, object]
    then: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The payload for ``resp/<name>``, and what is to do after it."""

    payload: bytes
    then: Callable[[], None] | None = None


class RefusedError(Exception):
    """A command that nothing is tried for; the message says why."""


Acts = Mapping[str, Callable[[Command], Done]]
"""What each command does. An error that an operator can act on makes it a failed one."""


class Commands:
    """Judges commands and has them done. One thread asks."""

    def __init__(
        self,
        allowed: bool,
        streams: Collection[str],
        acts: Acts,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = allowed
        self._streams = streams
        self._acts = acts
        self._tried = _Bucket(BURST, PER_S, clock_s)
        self._answered = _Bucket(ANSWERED_BURST, ANSWERED_PER_S, clock_s)

    def answer(self, name: str, payload: bytes, refusal: str = "") -> Answer | None:
        """Do a command, or say why not; ``None`` where too many came to answer them all.

        ``refusal`` is what is wrong with the message around the payload, if anything is.
        """
        if not self._answered.take():
            return None
        transaction = None
        try:
            if not self._allowed:
                raise RefusedError("commands are off on this device; [broker] commands = true allows them")
            if refusal:
                raise RefusedError(refusal)
            command = parse(name, payload, self._streams)
            transaction = command.transaction
            if not self._tried.take():
                raise RefusedError(f"too many commands: one each {1 / PER_S:.0f} s, at most {BURST} at once")
            done = self._acts[name](command)
        except RefusedError as refused:
            return Answer(wire.encode_answer("refused", {}, str(refused), transaction))
        except ACTIONABLE as error:
            return Answer(wire.encode_answer("failed", {}, str(error), transaction))
        return Answer(wire.encode_answer("done", done.data, None, transaction), done.then)


def parse(name: str, payload: bytes, streams: Collection[str]) -> Command:
    """Return a valid command; ``RefusedError`` says what is wrong. An empty payload is an empty object."""
    if name not in NAMES:
        raise RefusedError(f"a command is one of {', '.join(NAMES)}")
    if len(payload) > MOST_BYTES:
        raise RefusedError(f"a command takes {MOST_BYTES} bytes at most, got {len(payload)}")
    try:
        fields = wire.decode_json(payload) if payload else {}
    except wire.PayloadError as error:
        raise RefusedError(str(error)) from None
    unknown = sorted(set(fields) - {"transaction", "stream", "slot"})
    if unknown:
        raise RefusedError(f"{unknown[0][:32]!r} is no field of a command; transaction, stream and slot are")
    _check_text(fields, "transaction", lambda text: 1 <= len(text) <= _MOST_TRANSACTION, "1 to 64 characters")
    _check_text(fields, "stream", lambda text: _STREAM.fullmatch(text) and text in streams, "a camera or microphone")
    slot = fields.get("slot")
    if "slot" in fields and (type(slot) is not int or not 0 <= slot <= MOST_SLOT):
        raise RefusedError(f"slot must be a whole number from 0 to {MOST_SLOT}")
    return Command(name, fields.get("transaction"), fields.get("stream", ""), slot)


def _check_text(fields: Mapping[str, Any], key: str, holds: Callable[[str], object], meaning: str) -> None:
    if key in fields and not (isinstance(fields[key], str) and _is_sound(fields[key]) and holds(fields[key])):
        raise RefusedError(f"{key} must be text: {meaning}")


def _is_sound(text: str) -> bool:
    """Whether a text can be written as UTF-8: JSON may escape half a character."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


class _Bucket:
    """Lets through so many at once, and so many a second."""

    def __init__(self, burst: int, per_s: float, clock_s: Callable[[], float]) -> None:
        self._burst, self._per_s, self._clock_s = burst, per_s, clock_s
        self._left, self._at_s = float(burst), clock_s()

    def take(self) -> bool:
        now_s = self._clock_s()
        self._left = min(self._left + (now_s - self._at_s) * self._per_s, float(self._burst))
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
