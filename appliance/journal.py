"""What the journal is told beside the text of a line: fields, by which ``journalctl`` finds lines again.

``journalctl -t avatar-appliance CAMERA=cam0 EVENT=camera_lost``; see systemd.journal-fields(7).
"""

import logging
import os
import sys
from collections.abc import Mapping

from appliance.values import Event

IDENTIFIER = "avatar-appliance"

_NAMED = ("camera", "microphone", "stream", "slot", "session", "level", "model")
"""Details of an event that are fields of their own."""

_CALM = (
    *("face_found", "face_lost", "camera_back", "camera_well", "microphone_restarted", "microphone_well"),
    *("readings_back", "load_restored", "identify"),
)
"""Events that nobody need look into; all others are warnings."""

log = logging.getLogger(__name__)


def handler() -> logging.Handler | None:
    """Return what writes to the journal with fields; ``None`` where standard error does not lead there.

    Also ``None`` without systemd-python: then the journal has the lines alone.
    """
    if not _leads_to_journal(sys.stderr.fileno(), os.environ.get("JOURNAL_STREAM", "")):
        return None
    try:
        from systemd import journal
    except ImportError:
        return None
    made: logging.Handler = journal.JournalHandler(SYSLOG_IDENTIFIER=IDENTIFIER)
    return made


def note(event: Event) -> None:
    """Log an event, with its name and what it is about as fields."""
    details = ", ".join(f"{key} {value}" for key, value in event.details.items())
    level = logging.INFO if event.name in _CALM else logging.WARNING
    log.log(level, "%s", f"{event.name}: {details}" if details else event.name, extra=fields(event))


def fields(event: Event) -> Mapping[str, str]:
    """The journal's fields of an event."""
    named = {key.upper(): str(event.details[key]) for key in _NAMED if key in event.details}
    return {"EVENT": event.name, **named}


def _leads_to_journal(descriptor: int, stream: str) -> bool:
    """Whether a descriptor is the one that systemd connected to the journal, as ``device:inode`` says."""
    status = os.fstat(descriptor)
    return stream == f"{status.st_dev}:{status.st_ino}"
