"""A stand-in for the appliance that takes a moment to install: it reads the settings, says READY, publishes health.

Its version says how it behaves: ``+crash`` ends after two seconds, ``+mute`` publishes nothing, ``+slow`` has a
latency of 900 ms, ``+wrong`` takes no settings.
"""

import base64
import hashlib
import shutil
import tempfile
import zipfile
from pathlib import Path

import provisioning
from provisioning.bundle import write

_PROGRAM = """
import json, os, socket, sys, time, tomllib
from stand_in_listener import PUBLISH, Listener, packed, worded

VERSION = "{version}"

def notify(text):
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        link.sendto(text.encode(), chr(0) + address[1:] if address[0] == "@" else address)

def main():
    if sys.argv[1:2] != ["run"]:
        return 0
    with open("/etc/avatar-appliance/appliance.toml", "rb") as file:
        settings = tomllib.load(file)
    if "wrong" in VERSION:
        return 78
    secrets = os.environ["CREDENTIALS_DIRECTORY"]
    host, port = settings["broker"]["url"].split("//")[1].split(":")
    root = "avatar/v1/" + settings["device"]["site"] + "/" + settings["device"]["name"]
    broker = {{"host": host, "port": int(port), "topic": "", "ca_file": settings["broker"]["ca_file"],
              "cert_file": secrets + "/client.pem", "key_file": secrets + "/client.key"}}
    notify("READY=1")
    began, link = time.monotonic(), None
    latency_ms = 900.0 if "slow" in VERSION else 9.0
    while True:
        notify("WATCHDOG=1")
        if "crash" in VERSION and time.monotonic() - began > 2:
            return 1
        stages = {{"total": {{"p99_ms": latency_ms}}}}
        health = {{"fps": {{"cam0/0": 30.0}}, "stages": stages, "rss_mb": 20.0, "release": VERSION}}
        try:
            link = link or Listener(broker).connect(3)
            if "mute" not in VERSION:
                for topic, message in (("health", health), ("cam0/0/frame", {{"v": 1, "release": VERSION}})):
                    link.sendall(packed(PUBLISH, worded(root + "/" + topic) + json.dumps(message).encode()))
        except OSError:
            link = None
        time.sleep(0.3)
"""


def bundle(folder: Path, version: str, key: Path, pip: Path, systemd: Path, debs: Path | None = None) -> Path:
    """A signed bundle of a stand-in of this version, for the Python of the booths."""
    path = folder / f"{version}.bundle"
    with tempfile.TemporaryDirectory() as name:
        inside = Path(name)
        (inside / "wheels").mkdir()
        shutil.copy(pip, inside / "wheels")
        wheel = _wheel(inside / "wheels", version)
        shutil.copytree(systemd, inside / "systemd", ignore=shutil.ignore_patterns("install"))
        target = {"name": "debian12", "arch": "x86_64", "python": "3.11"}
        packages = ["openssl"]
        if debs is not None:
            shutil.copytree(debs, inside / "packages")
            packages += [deb.name.split("_")[0] for deb in debs.glob("*.deb")]
        about = {"version": version, "target": target, "packages": packages, "install": [f"wheels/{wheel.name}"]}
        write(inside, path, key, about)
    return path


def _wheel(folder: Path, version: str) -> Path:
    stem = f"avatar_appliance-{version}"
    listener = Path(provisioning.__file__).parent / "keeper/listener.py"
    files = {
        "stand_in.py": _PROGRAM.format(version=version),
        "stand_in_listener.py": listener.read_text(encoding="utf-8"),
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: avatar-appliance\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/entry_points.txt": "[console_scripts]\nappliance=stand_in:main\n",
    }
    lines = [f"{name},sha256={_digest(text)},{len(text.encode())}" for name, text in files.items()]
    files[f"{stem}.dist-info/RECORD"] = "\n".join([*lines, f"{stem}.dist-info/RECORD,,"]) + "\n"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
