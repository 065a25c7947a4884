"""What a technician reads to whoever is on the telephone: which device this is, and how it is."""

import json
from collections.abc import Mapping
from pathlib import Path

from appliance import __version__
from appliance.checks.finding import Finding, Verdict
from appliance.checks.service import ask_systemd
from appliance.errors import ConfigError
from appliance.publish import certificate
from appliance.settings import Settings

_RELEASES = "opt/avatar-appliance/state.json"


def tell(settings: Settings, root: Path = Path("/")) -> Finding:
    """Name, fingerprint, release and state in one line."""
    device = f"{settings.device.site}/{settings.device.name}"
    try:
        ours = certificate.own(settings.broker)
    except ConfigError as error:
        return Finding("device", Verdict.WEAK, line(device, "not readable", _state(root)), str(error))
    if ours is None:
        return Finding("device", Verdict.FINE, line(device, "none", _state(root)))
    text = line(device, ours.fingerprint, _state(root))
    if ours.user != device:
        cure = "enrol this device anew, or correct [device] in the settings"
        return Finding("device", Verdict.STOP, f"{text}; its certificate is of {ours.user}", cure)
    return Finding("device", Verdict.FINE, text)


def line(device: str, fingerprint: str, state: str) -> str:
    """Put the parts in the order that they are asked for."""
    return f"{device}, fingerprint {fingerprint}, release {__version__}, {state}"


def _state(root: Path) -> str:
    state = (ask_systemd(root) or {}).get("ActiveState", "not run by systemd")
    told = _of_releases(root / _RELEASES)
    return ", ".join(part for part in (state, told) if part)


def _of_releases(path: Path) -> str:
    """How the last change of the release ended; empty where releases are not kept."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(table.get("last", "")) if isinstance(table, Mapping) else ""
