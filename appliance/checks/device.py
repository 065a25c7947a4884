"""Which board this is."""

import os
from pathlib import Path

from appliance.checks.finding import Finding, Verdict


def platform(root: Path) -> Finding:
    """Which board this is, and its L4T release."""
    model, release = _text(root / "proc/device-tree/model"), _text(root / "etc/nv_tegra_release")
    if release:
        return Finding("platform", Verdict.FINE, f"{model or 'Jetson'}, {release.splitlines()[0].lstrip('# ')}")
    return Finding("platform", Verdict.FINE, f"{os.uname().machine}, no Jetson: networks run on the processor")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""
