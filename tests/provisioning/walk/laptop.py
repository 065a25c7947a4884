"""The technician's side: a folder with a site file, and the command that is installed there."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .booth import Booth

WINDOW_S = 5


@dataclass(frozen=True)
class Done:
    """What a command did."""

    status: int
    output: str
    took_s: float


class Laptop:
    """Holds keys and the site file, and runs ``appliance-provision``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        for name in ("login", "release", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)

    def key(self, name: str) -> str:
        return (self.folder / f"{name}.pub").read_text()

    def write_site(self, booths: Sequence[Booth], bundle: Path, source: str = "file:/srv/films/clip.mp4") -> None:
        """A site whose first booth is the broker."""
        lines = [
            '[site]\nname = "lobby"',
            f'[release]\nbundle = "{bundle}"\nsigner = "release.pub"',
            f"window_s = {WINDOW_S}\nstart_s = 20\nlatency_ms = 500",
            f'[broker]\nhost = "{booths[0].address}"\ndevice = "{booths[0].name}"',
            '[ssh]\nuser = "tech"\nkey_file = "login"',
            "[settings.memory]\nhigh_mb = 200\ncritical_mb = 100",
            '[[renderer]]\nname = "wall"',
        ]
        for booth in booths:
            camera = f'[[device.camera]]\nname = "cam0"\nsource = "{source}"\nloop = true'
            lines.append(f'[[device]]\nname = "{booth.name}"\nhost = "{booth.address}"\n{camera}')
        (self.folder / "site.toml").write_text("\n".join(lines) + "\n")

    def trust(self, signer: Path) -> None:
        """Trust the key that signed the product's bundle."""
        (self.folder / "release.pub").write_text(signer.read_text())

    def start(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "provisioning", words[0], "site.toml", *words[1:]]
        root = Path(__file__).parents[3]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={"PYTHONPATH": str(root), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> Done:
        began_s = time.monotonic()
        process = self.start(*words)
        output, _ = process.communicate(timeout=600)
        return Done(process.returncode, output, time.monotonic() - began_s)

    def statuses(self) -> dict[str, dict[str, Any]]:
        output = self.run("status", "--json").output
        return {row["device"]: row["result"] or {} for row in json.loads(output[output.index("[") :])}
