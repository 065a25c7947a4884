"""Whether the service manager will start the appliance, and what it last made of it."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from appliance.checks.finding import Finding, Verdict

UNIT = "avatar-appliance.service"

_PROPERTIES = ("LoadState", "UnitFileState", "ActiveState", "Result", "ExecMainStatus", "NRestarts", "StatusText")
_WAIT_S = 4.0
_INSTALL = "/opt/avatar-appliance/current/share/avatar-appliance/systemd/install"
_LOG = f"journalctl -u {UNIT} -n 20"


def service(root: Path = Path("/")) -> Finding:
    """What systemd says of the unit; a machine that systemd does not run needs none."""
    properties = ask_systemd(root)
    if properties is None:
        return Finding("service", Verdict.FINE, "no systemd runs here: appliance run starts it by hand")
    return judge(properties)


def ask_systemd(root: Path) -> Mapping[str, str] | None:
    """The properties of the unit; ``None`` where no systemd runs."""
    tool = shutil.which("systemctl")
    if tool is None or not (root / "run/systemd/system").exists():
        return None
    command = [tool, "show", UNIT, *(f"--property={name}" for name in _PROPERTIES)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT_S, check=False).stdout
    return dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)


def judge(unit: Mapping[str, str]) -> Finding:
    """What the properties of the unit mean, as ``systemctl show`` names them."""
    if unit.get("LoadState") != "loaded":
        return Finding("service", Verdict.WEAK, f"{UNIT} is not installed", f"{_INSTALL}; systemctl enable {UNIT}")
    if unit.get("ActiveState") == "failed":
        text = f"{UNIT} has failed: {unit.get('Result')}, status {unit.get('ExecMainStatus')}"
        return Finding("service", Verdict.STOP, text, f"{_LOG}; then: systemctl restart {UNIT}")
    if unit.get("UnitFileState") != "enabled" and unit.get("ActiveState") == "inactive":
        text = f"{UNIT} is neither running nor enabled: nothing starts it"
        return Finding("service", Verdict.WEAK, text, f"systemctl enable --now {UNIT}")
    said = f": {unit['StatusText']}" if unit.get("StatusText") else ""
    if int(unit.get("NRestarts") or 0):
        text = f"{UNIT} is {unit['ActiveState']} after {unit['NRestarts']} restarts{said}"
        return Finding("service", Verdict.WEAK, text, _LOG)
    return Finding("service", Verdict.FINE, f"{UNIT} is {unit.get('ActiveState')}{said}")
