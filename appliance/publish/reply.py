"""Where the answer to a command goes: what MQTT 5 says beside the payload."""

from dataclasses import dataclass
from typing import Any

MOST_BYTES = 256


@dataclass(frozen=True, slots=True)
class Place:
    """Topic and correlation data of an answer; ``refusal`` is why the command may not be carried out, or empty."""

    topic: str
    correlation: bytes | None
    refusal: str = ""


def place(message: Any, usual: str, allowed: str) -> Place:
    """Return where a message wants its answer: on ``usual``, or the response topic that it names.

    That must begin with ``allowed``, or an operator could have the device say anything anywhere in its own name.
    """
    asked = message.properties
    topic = getattr(asked, "ResponseTopic", "") or usual
    correlation = getattr(asked, "CorrelationData", None)
    refusal = "a retained command would be carried out at every connection" if message.retain else ""
    if not topic.startswith(allowed) or topic == allowed or any(sign in topic for sign in "+#\0"):
        topic, refusal = usual, f"the response topic must lie below {allowed}"
    if len(topic.encode(errors="replace")) > MOST_BYTES or len(correlation or b"") > MOST_BYTES:
        topic, correlation = usual, None
        refusal = f"response topic and correlation data take {MOST_BYTES} bytes at most"
    return Place(topic, correlation, refusal)
