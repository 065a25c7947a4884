"""Whether there is room for models and recordings."""

import os
import shutil
from pathlib import Path

from appliance.checks.finding import Finding, Verdict

_LEAST_DISK_MB = 500


def disk(directory: Path) -> Finding:
    """Whether there is room for models and recordings, and whether we may write."""
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free_mb = shutil.disk_usage(place).free // 2**20
    if free_mb < _LEAST_DISK_MB:
        text = f"{place} has {free_mb} MB free, {_LEAST_DISK_MB} MB are needed"
        return Finding("disk", Verdict.STOP, text, "delete recordings, or set storage.directory elsewhere")
    if not os.access(place, os.W_OK):
        return Finding("disk", Verdict.STOP, f"{place} cannot be written", "run check as the appliance's user")
    return Finding("disk", Verdict.FINE, f"{place} has {free_mb} MB free")
