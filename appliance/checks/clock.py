"""Whether the wall clock can be right; it is part of every frame."""

from datetime import datetime, timezone
from pathlib import Path

from appliance.checks.finding import Finding, Verdict

_BUILT_UTC = datetime(2026, 1, 1, tzinfo=timezone.utc)  # no clock that is right is before this program's writing


def clock(root: Path) -> Finding:
    """Whether the wall clock can be right; it is part of every frame."""
    now = datetime.now(timezone.utc)
    if now < _BUILT_UTC:
        return Finding("clock", Verdict.WEAK, f"says {now:%Y-%m-%d}, which is past", "timedatectl set-ntp true")
    synchronised = (root / "run/systemd/timesync/synchronized").exists()
    source = "synchronised" if synchronised else "no word of time synchronisation"
    return Finding("clock", Verdict.FINE, f"{now:%Y-%m-%d %H:%M} UTC, {source}")
