import json
import random
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from appliance.errors import ApplianceError
from appliance.publish import wire
from appliance.publish.commands import ANSWERED_BURST, BURST, NAMES, Command, Commands, Done

FUZZED = 10_000
COMMAND = jsonschema.Draft202012Validator(wire.schema("command"))
ANSWER = jsonschema.Draft202012Validator(wire.schema("answer"))


class Clock:
    s = 100.0

    def __call__(self) -> float:
        return self.s


class Booth:
    """Commands that keep what they were asked to do."""

    def __init__(self, allowed: bool = True, act: Callable[[Command], Done] | None = None) -> None:
        self.clock = Clock()
        self.acted: list[Command] = []
        keep = act or self._keep
        self.commands = Commands(allowed, {"cam0", "mic0"}, dict.fromkeys(NAMES, keep), self.clock)

    def _keep(self, command: Command) -> Done:
        self.acted.append(command)
        return Done({"found": 1})

    def ask(self, name: str, payload: bytes, refusal: str = "") -> dict[str, Any]:
        self.clock.s += 10
        answer = self.commands.answer(name, payload, refusal)
        assert answer is not None
        fields: dict[str, Any] = json.loads(answer.payload)
        ANSWER.validate(fields)
        return fields


@pytest.mark.parametrize("name", NAMES)
def test_a_command_is_done_and_answered(name: str) -> None:
    booth = Booth()

    answer = booth.ask(name, b'{"transaction": "t-1", "stream": "cam0", "slot": 0}')

    assert answer == {"status": "done", "data": {"found": 1}, "error": None, "transaction": "t-1"}
    assert booth.acted == [Command(name, "t-1", "cam0", 0)]


def test_an_empty_payload_means_everybody() -> None:
    booth = Booth()

    booth.ask("neutral", b"")

    assert booth.acted == [Command("neutral", None, "", None)]


def test_nothing_is_done_where_commands_are_not_allowed() -> None:
    booth = Booth(allowed=False)

    answer = booth.ask("neutral", b'{"transaction": "t-1"}')

    assert answer["status"] == "refused"
    assert "[broker] commands = true" in answer["error"]
    assert booth.acted == []


@pytest.mark.parametrize(
    ("name", "payload", "rule"),
    [
        ("reboot", b"{}", "one of recalibrate, neutral, reload, identify"),
        ("neutral/more", b"{}", "one of"),
        ("neutral", b"[]", "JSON object was expected"),
        ("neutral", b"{", "not JSON"),
        ("neutral", b"\xff", "not JSON"),
        ("neutral", b"[" * 1024, "not JSON"),
        ("neutral", b" " * 1025, "1024 bytes at most"),
        ("neutral", b'{"shell": "rm -rf /"}', "'shell' is no field"),
        ("neutral", b'{"slot": true}', "whole number from 0 to 7"),
        ("neutral", b'{"slot": -1}', "whole number from 0 to 7"),
        ("neutral", b'{"slot": 1e999}', "whole number from 0 to 7"),
        ("neutral", b'{"stream": "cam9"}', "a camera or microphone"),
        ("neutral", b'{"stream": ""}', "a camera or microphone"),
        ("neutral", b'{"stream": "cam0\\n"}', "a camera or microphone"),
        ("neutral", b'{"transaction": ""}', "1 to 64 characters"),
        ("neutral", b'{"transaction": 7}', "1 to 64 characters"),
        ("neutral", b'{"transaction": "\\ud800"}', "1 to 64 characters"),
        ("neutral", b'{"transaction": "%s"}' % (b"x" * 65), "1 to 64 characters"),
    ],
)
def test_what_is_not_valid_is_refused_with_its_rule(name: str, payload: bytes, rule: str) -> None:
    booth = Booth()

    answer = booth.ask(name, payload)

    assert answer["status"] == "refused"
    assert rule in answer["error"]
    assert booth.acted == []


def test_what_cannot_be_done_is_said_to_have_failed() -> None:
    def fail(_command: Command) -> Done:
        raise ApplianceError("camera.fps must be between 1 and 120, got 0")

    answer = Booth(act=fail).ask("reload", b'{"transaction": "t-2"}')

    assert answer["status"] == "failed"
    assert answer["error"] == "camera.fps must be between 1 and 120, got 0"
    assert answer["transaction"] == "t-2"


def test_commands_in_a_hurry_are_refused_then_not_even_answered() -> None:
    booth = Booth()

    answers = [booth.commands.answer("neutral", b"", "") for _ in range(100)]

    said = [json.loads(answer.payload)["status"] for answer in answers if answer is not None]
    assert said == ["done"] * BURST + ["refused"] * (ANSWERED_BURST - BURST)
    assert len(booth.acted) == BURST
    booth.clock.s += 60
    assert booth.ask("neutral", b"")["status"] == "done"


def test_refusals_do_not_use_up_what_operators_may_do() -> None:
    booth = Booth()
    for _ in range(ANSWERED_BURST - 1):
        booth.commands.answer("neutral", b"?", "")

    assert booth.ask("neutral", b"")["status"] == "done"


SEEDS = (
    b"{}",
    b'{"transaction": "t-1"}',
    b'{"transaction": "t-1", "stream": "cam0", "slot": 0}',
    b'{"slot": 7, "stream": "mic0"}',
)
PIECES = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\\u0000",
    b"\\ud800",
    b"1e999",
    b"-0",
    b"NaN",
    b"null",
    b"true",
) + (
    b'"slot"',
    b'"stream"',
    b'"__proto__"',
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"9" * 400,
)


def fuzzed(rng: random.Random) -> bytes:
    """Bytes at random, or a valid command with bytes changed, cut, doubled or put in."""
    if rng.random() < 0.2:
        return rng.randbytes(rng.randrange(0, 200))
    payload = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(payload) + 1)
        match rng.randrange(4):
            case 0:
                payload[at : at + 1] = rng.randbytes(1)
            case 1:
                del payload[at : at + rng.randrange(1, 8)]
            case 2:
                payload[at:at] = rng.choice(PIECES)
            case _:
                payload[at:at] = payload[: rng.randrange(len(payload) + 1)] * rng.randrange(1, 4)
    return bytes(payload)


def is_valid(payload: bytes) -> bool:
    """What the published schema says of a payload, read by another's rules than the device's."""
    try:
        return not payload or COMMAND.is_valid(json.loads(payload))
    except (ValueError, RecursionError):
        return False


def test_ten_thousand_fuzzed_payloads_crash_nothing_and_none_acts() -> None:
    rng = random.Random(7)
    booth = Booth()
    tried = 0
    while tried < FUZZED:
        payload = fuzzed(rng)
        name = rng.choice(NAMES)
        if is_valid(payload):
            continue
        tried += 1

        answer = booth.ask(name, payload)

        assert answer["status"] == "refused", payload
    assert booth.acted == []


def test_ten_thousand_fuzzed_names_crash_nothing_and_none_acts() -> None:
    rng = random.Random(8)
    booth = Booth()
    for _ in range(FUZZED):
        name = "".join(chr(rng.randrange(1, 0x300)) for _ in range(rng.randrange(0, 12)))
        assert booth.ask(name, b"")["status"] == "refused"
    assert booth.acted == []
