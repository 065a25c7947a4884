"""Which board this is, and the power mode that it runs in."""

import os
import shutil
import subprocess
from pathlib import Path

from appliance.checks.finding import Finding, Verdict

_WAIT_S = 4.0


def platform(root: Path) -> Finding:
    """Which board this is, and its L4T release."""
    model, release = _text(root / "proc/device-tree/model"), _text(root / "etc/nv_tegra_release")
    if release:
        return Finding("platform", Verdict.FINE, f"{model or 'Jetson'}, {release.splitlines()[0].lstrip('# ')}")
    return Finding("platform", Verdict.FINE, f"{os.uname().machine}, no Jetson: networks run on the processor")


def power_mode() -> Finding:
    """The board's power mode, where it has any."""
    tool = shutil.which("nvpmodel")
    if tool is None:
        return Finding("power mode", Verdict.FINE, "this machine has none")
    answer = subprocess.run([tool, "-q"], capture_output=True, text=True, timeout=_WAIT_S, check=False).stdout
    mode = next((line.split(":", 1)[1].strip() for line in answer.splitlines() if "Power Mode:" in line), "")
    if not mode:
        return Finding("power mode", Verdict.WEAK, "nvpmodel -q says nothing", "run check as root")
    return Finding("power mode", Verdict.FINE, mode)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""
