"""The releases of a device: which runs, which ran before, and how one becomes the other.

One file, ``state.json``, is the truth: which deployment is active, which was before, whether it is on trial.
It changes by one rename. A deployment is a release and the files in /etc that go with it (settings, units);
``settle`` makes the link and the files those of the active deployment. Whatever is cut, at whatever instant,
``guard`` finds at the next boot what the truth is and settles it before the appliance starts:

- cut before the rename: the old deployment, nothing has happened;
- cut after it: the new one on trial; the second boot within a trial goes back.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SERVICE = "avatar-appliance.service"
WATCH = "appliance-keeper.service"
SETTINGS = "/etc/avatar-appliance/appliance.toml"
BOOTS_ON_TRIAL = 2  # the second boot within a trial goes back

Run = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


class KeeperError(Exception):
    """Something that an operator can mend."""


@dataclass
class State:
    """The truth about what runs here."""

    active: int = 0  # 0: nothing was ever deployed
    previous: int = 0
    settled: bool = True
    boots: int = -1  # boots within the trial; -1: no trial
    last: str = ""  # how the last change ended

    @property
    def on_trial(self) -> bool:
        """Whether the active deployment has yet to prove itself."""
        return self.boots >= 0


class Disk:
    """Every change of a file goes through here: aside, to the disk, then renamed."""

    def write(self, path: Path, text: str, mode: int = 0o644, owner: str = "", group: str = "") -> None:
        """Replace a file whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.aside")
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if owner:
            shutil.chown(aside, owner, group or owner)
        aside.chmod(mode)
        aside.replace(path)
        _sync_folder(path.parent)

    def link(self, path: Path, target: str) -> None:
        """Point a link elsewhere, in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.aside")
        aside.unlink(missing_ok=True)
        aside.symlink_to(target)
        aside.replace(path)
        _sync_folder(path.parent)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder, if it is there; a release first stops to count as whole."""
        if path.is_dir() and not path.is_symlink():
            (path / "release.json").unlink(missing_ok=True)
            _sync_folder(path)
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Keeper:
    """The releases of one device; ``root`` is / except in tests."""

    def __init__(self, root: Path, disk: Disk, run: Run) -> None:
        self.root = root
        self.home = root / "opt/avatar-appliance"
        self.disk = disk
        self.run = run

    def state(self) -> State:
        """The truth; nothing was ever deployed where there is none."""
        path = self.home / "state.json"
        return State(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else State()

    def _put(self, state: State) -> None:
        self.disk.write(self.home / "state.json", json.dumps(asdict(state)))

    def deployment(self, number: int) -> dict[str, Any]:
        """A deployment: ``release``, ``files``, ``limits``, ``broker``."""
        text = (self.home / f"deployments/{number}.json").read_text(encoding="utf-8")
        deployment: dict[str, Any] = json.loads(text)
        return deployment

    def deploy(self, deployment: dict[str, Any]) -> int:
        """Switch to a deployment, on trial; answer its number. The release must be installed."""
        release = self.home / "releases" / str(deployment["release"])
        if not (release / "release.json").exists():
            raise KeeperError(f"release {deployment['release']} is not installed in {release.parent}")
        self._build_engines(release, deployment)
        before = self.state()
        if not before.settled:
            self._stop()
            self.settle()
        old = before.active
        if before.on_trial:  # it never proved itself: the one before it stays the way back
            old = before.previous
        number = max([before.active, before.previous, *self._numbers()], default=0) + 1
        self.disk.write(self.home / f"deployments/{number}.json", json.dumps(deployment), 0o600)
        # it waits for our lock: were we killed from here on, it mends what we left
        self.run(["systemctl", "restart", "--no-block", WATCH])
        self._put(State(number, old, settled=False, boots=0, last=f"deployment {number} is on trial"))
        self._stop()
        self.settle()
        self.start()
        self._prune(number, old)
        return number

    def _build_engines(self, release: Path, deployment: dict[str, Any]) -> None:
        """On a board: build what this release lacks while the old one still runs; the old engines stay beside."""
        if not (self.root / "etc/nv_tegra_release").exists():
            return
        storage, state = release / "storage", "/var/lib/avatar-appliance"
        for name, target in (
            ("models", "../models"),
            ("engines", f"{state}/engines"),
            ("calibration", f"{state}/calibration"),
        ):
            self.disk.link(storage / name, target)
        text = next(entry["text"] for entry in deployment["files"] if entry["path"] == SETTINGS)
        self.disk.write(
            storage / "appliance.toml", text, 0o640, *(("root", "avatar") if self.root == Path("/") else ())
        )
        command = [str(release / "bin/appliance"), "engines", "prepare", "--config", str(storage / "appliance.toml")]
        done = self.run(["runuser", "-u", "avatar", "--", *command, "--set", f"storage.directory={storage}"])
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise KeeperError(
                f"the engines of release {deployment['release']} cannot be built: {reason}; nothing changed"
            )

    def settle(self) -> None:
        """Make link and files those of the active deployment; the appliance stands still meanwhile."""
        state = self.state()
        deployment = self.deployment(state.active)
        for entry in deployment["files"]:
            path = self.root / entry["path"].lstrip("/")
            self.disk.write(path, entry["text"], int(entry["mode"], 8), entry.get("owner", ""), entry.get("group", ""))
        for path in self._left_over(state, deployment):
            self.disk.remove(path)
        self.disk.link(self.home / "current", f"releases/{deployment['release']}")
        self.run(["systemctl", "daemon-reload"])
        state.settled = True
        self._put(state)

    def _left_over(self, state: State, deployment: dict[str, Any]) -> list[Path]:
        """Files that only other deployments have."""
        kept = {entry["path"] for entry in deployment["files"]}
        others = {
            entry["path"]
            for number in self._numbers()
            if number != state.active
            for entry in self.deployment(number)["files"]
        }
        return [self.root / path.lstrip("/") for path in sorted(others - kept)]

    def start(self) -> None:
        """Start the active deployment."""
        self.run(["systemctl", "reset-failed", SERVICE])
        # its networks first: the last release's are "done" for systemd
        self.run(["systemctl", "restart", "--no-block", "avatar-engines.service"])
        self.run(["systemctl", "restart", "--no-block", SERVICE])

    def mend(self) -> None:
        """Finish what a keeper that was killed left behind, on a device that runs."""
        if not self.state().settled:
            self._stop()
            self.settle()
            self.start()

    def guard(self) -> None:
        """At boot, before the appliance starts: finish what was cut; go back where the trial boots again.

        It stops nothing: the appliance's start is waiting for us.
        """
        state = self.state()
        if not state.active:
            return
        if state.on_trial:
            state.boots += 1
            self._put(state)
            if state.boots >= BOOTS_ON_TRIAL and state.previous:
                self._back(f"the device booted {state.boots} times during the trial")
        if not self.state().settled:
            self.settle()

    def commit(self) -> None:
        """End a trial well."""
        state = self.state()
        state.boots, state.last = -1, f"deployment {state.active} proved itself"
        self._put(state)

    def back(self, why: str) -> bool:
        """Go back to the deployment before; ``False`` where there is none."""
        state = self.state()
        if not state.previous:
            state.boots, state.last = -1, f"deployment {state.active} is not well, and none was before it: {why}"
            self._put(state)
            return False
        self._back(why)
        self._stop()
        self.settle()
        self.start()
        return True

    def _stop(self) -> None:
        self.run(["systemctl", "stop", SERVICE])

    def _back(self, why: str) -> None:
        state = self.state()
        last = f"went back from deployment {state.active} to {state.previous}: {why}"
        self._put(State(state.previous, 0, settled=False, boots=-1, last=last))

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in (self.home / "deployments").glob("[0-9]*.json"))

    def _prune(self, *kept: int) -> None:
        """Keep what is active and the way back, and nothing else."""
        for number in self._numbers():
            if number not in kept:
                self.disk.remove(self.home / f"deployments/{number}.json")
        releases = {str(self.deployment(number)["release"]) for number in kept if number}
        for folder in (self.home / "releases").iterdir():
            if folder.name not in releases:
                self.disk.remove(folder)

    def status(self) -> dict[str, Any]:
        """The state in words a laptop can read."""
        state = self.state()
        deployment = self.deployment(state.active) if state.active else {}
        previous = self.deployment(state.previous) if state.previous else {}
        return {
            **asdict(state),
            "on_trial": state.on_trial,
            "release": deployment.get("release", ""),
            "previous_release": previous.get("release", ""),
            "installed": self.installed(),
            "deployment": deployment,
        }

    def installed(self) -> dict[str, str]:
        """The releases that are whole, each with the SHA-256 of its bundle's manifest."""
        return {
            path.parent.name: json.loads(path.read_text(encoding="utf-8"))["manifest_sha256"]
            for path in sorted((self.home / "releases").glob("*/release.json"))
        }

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let no two keepers change things at once."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
